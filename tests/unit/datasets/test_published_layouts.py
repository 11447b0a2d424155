"""Every data set from a server that serves small files in its published layout, through the real code to the end."""

import dataclasses
import importlib
import io
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io

from hsipipe.artifacts import RawScenes
from hsipipe.datasets.catalogue import DATASETS
from hsipipe.datasets.download import LOCK
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.errors import DataError, MissingInputError


def _values(*shape, top, seed=0):
    """(y, x, band) as published, whole numbers up to `top`."""
    return np.random.default_rng(seed).integers(1, top + 1, size=shape)


def _mat(**variables):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables)
    return buffer.getvalue()


def _tgz(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _zip(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def prepared(server, tmp_path, make_params, monkeypatch):
    """Publish files of a data set on the server and prepare it: name, file name -> content; gives the scenes."""

    def prepare(name, files):
        facts = DATASETS[name]
        archives = []
        for archive in facts.archives:
            server.content[f"/{archive.file_name}"] = files[archive.file_name]
            url = f"{server.url}/{archive.file_name}"
            archives.append(dataclasses.replace(archive, url=url, mirrors=(), sha256=None))
        module = importlib.import_module(f"hsipipe.datasets.{name}")
        monkeypatch.setattr(module, name.upper(), dataclasses.replace(facts, archives=tuple(archives)))
        assert DATASETS[name].presence(tmp_path / "cache") == "not here"
        out = tmp_path / "out"
        out.mkdir()
        prepare_scenes(make_params("dataset", name=name, root=None), out, cache=tmp_path / "cache")
        assert DATASETS[name].presence(tmp_path / "cache") == "cached"
        assert (tmp_path / "cache" / LOCK).is_file()
        for entry in RawScenes(out).index()["scenes"]:
            RawScenes(out).verify(entry["name"])
        return RawScenes(out)

    return prepare


def _check(scenes, scene, values, *, scale):
    """The scene holds `values` (y, x, band) over `scale`, and the data set's wavelengths."""
    cube = scenes.open(scene)
    np.testing.assert_allclose(cube, np.moveaxis(values, -1, 0) / scale, rtol=1e-6)
    facts = DATASETS[scenes.index()["dataset"]]
    np.testing.assert_allclose(cube["wavelength_nm"], facts.wavelength_nm, atol=0.02)
    assert scenes.index()["gsd_m"] == facts.gsd_m


@pytest.mark.parametrize(
    ("name", "file", "variable", "bands"),
    [("pavia_center", "Pavia.mat", "pavia", 102), ("pavia_university", "PaviaU.mat", "paviaU", 103)],
)
def test_pavia(prepared, name, file, variable, bands):
    values = _values(8, 6, bands, top=8000).astype(np.uint16)
    scenes = prepared(name, {file: _mat(**{variable: values})})
    _check(scenes, name, values, scale=8000)
    (entry,) = scenes.index()["scenes"]
    assert entry["wavelength_nm"][::100][:1] == [430.0]
    assert entry["wavelength_nm"][-1] == 860.0
    assert scenes.index()["ground_truth"]


_CHIKUSEI_HEADER = """ENVI
samples = {samples}
lines = {lines}
bands = 128
header offset = 0
file type = ENVI Standard
data type = 2
interleave = bsq
byte order = 0
wavelength units = Micrometers
wavelength = {{{wavelengths}}}
"""


def test_chikusei(prepared):
    values = _values(8, 6, 128, top=15133).astype("<i2")
    wavelengths = ", ".join(f"{0.36258 + 0.00516086 * n:.5f}" for n in range(128))
    stem = "Chikusei_ENVI/HyperspecVNIR_Chikusei_20140729"
    truth = "ENVI\nsamples = 6\nlines = 8\nbands = 1\ndata type = 1\ninterleave = bsq\nbyte order = 0\n"
    files = {
        f"{stem}.hdr": _CHIKUSEI_HEADER.format(samples=6, lines=8, wavelengths=wavelengths),
        f"{stem}.bsq": np.moveaxis(values, -1, 0).tobytes(),
        f"{stem}_Ground_Truth.hdr": truth,
        f"{stem}_Ground_Truth.bsq": bytes(48),
        "Chikusei_ENVI/Readme.txt": "CC BY 3.0",
    }
    scenes = prepared("chikusei", {"Hyperspec_Chikusei_ENVI.zip": _zip(files)})
    _check(scenes, "chikusei", values, scale=15133)
    assert sorted(path.suffix for path in scenes.path.iterdir()) == [".bsq", ".hdr", ".json"]


def test_chikusei_as_matlab_from_a_folder(tmp_path, make_params):
    values = _values(8, 6, 128, top=15133).astype(np.float64)
    root = tmp_path / "root" / "Chikusei_MATLAB"
    root.mkdir(parents=True)
    # MATLAB v7.3 is HDF5 behind 512 bytes of text, its axes reversed.
    with h5py.File(root / "HyperspecVNIR_Chikusei_20140729.mat", "w", userblock_size=512) as file:
        entry = file.create_dataset("chikusei", data=values.T)
        entry.attrs["MATLAB_class"] = np.bytes_("double")
    (root / "HyperspecVNIR_Chikusei_20140729_Ground_Truth.mat").write_bytes(_mat(GT=np.ones((8, 6))))
    out = tmp_path / "out"
    out.mkdir()
    prepare_scenes(make_params("dataset", name="chikusei", root=str(tmp_path / "root")), out)
    _check(RawScenes(out), "chikusei", values, scale=15133)


def test_harvard(prepared):
    cubes = {name: _values(8, 6, 31, top=1000, seed=seed) / 1000 for seed, name in enumerate("ab")}
    mask = np.ones((8, 6))
    scenes = prepared(
        "harvard",
        {
            "CZ_hsdb.tgz": _tgz(
                {
                    "CZ_hsdb/img1.mat": _mat(ref=cubes["a"], lbl=mask),
                    "CZ_hsdb/._img1.mat": b"junk",
                    "CZ_hsdb/calib.txt": b"1 1 1",
                }
            ),
            "CZ_hsdbi.tgz": _tgz({"CZ_hsdbi/img1.mat": _mat(ref=cubes["b"], lbl=mask)}),
        },
    )
    assert [entry["name"] for entry in scenes.index()["scenes"]] == ["img1", "indoor_img1"]
    _check(scenes, "img1", cubes["a"], scale=1)
    _check(scenes, "indoor_img1", cubes["b"], scale=1)


@pytest.fixture
def paris():
    hyperion = _values(6, 6, 128, top=1280) / 1000
    ali = _values(6, 6, 9, top=1450, seed=1) / 1000
    return hyperion, ali


def test_paris(prepared, paris):
    hyperion, ali = paris
    content = _mat(HSim=hyperion, MSim=ali, non_del_bands=np.arange(8, 136))
    scenes = prepared("paris_eo1", {"paris_data_hs_ms.mat": content})
    _check(scenes, "hs_ms", hyperion, scale=1.3)
    msi = scenes.open_msi("hs_ms")
    assert (msi.dims, msi.dtype) == (("band", "y", "x"), np.float32)
    np.testing.assert_allclose(msi, np.moveaxis(ali, -1, 0) / 1.5, rtol=1e-6)
    assert not scenes.index()["ground_truth"]


def test_the_bands_of_hyperion_in_the_files_of_paris():
    wavelengths = DATASETS["paris_eo1"].wavelength_nm
    assert len(wavelengths) == 128
    assert (wavelengths[0], wavelengths[48], wavelengths[49], wavelengths[-1]) == (426.82, 915.23, 972.99, 2345.11)


def test_the_real_files_of_paris(tmp_path, repository, make_params):
    root = repository.parent / "shared" / "data" / "remote_sensing"
    if not root.is_dir():
        pytest.skip("the real scenes are not beside this checkout (../shared/data)")
    out = tmp_path / "out"
    out.mkdir()
    prepare_scenes(make_params("dataset", name="paris_eo1", root=str(root)), out)
    scenes = RawScenes(out)
    assert scenes.open("hs_ms").shape == (128, 72, 72)
    # The other file holds a part of the same pixels: as a scene of its own it would be trained on and tested.
    assert [entry["name"] for entry in scenes.index()["scenes"]] == ["hs_ms"]
    msi = scenes.open_msi("hs_ms")
    assert msi.shape == (9, 72, 72)
    for cube in (scenes.open("hs_ms"), msi):
        assert 0 <= float(cube.min()) < 0.9 < float(cube.max()) <= 1
    # The band of Hyperion that is most like a band of ALI lies inside it: grid and wavelengths are right.
    hyperion = scenes.open("hs_ms")
    for number, (first, last) in {
        0: (433, 460),
        2: (525, 605),
        3: (633, 690),
        6: (1200, 1300),
        7: (1550, 1750),
    }.items():
        likeness = [np.corrcoef(band.values.ravel(), msi[number].values.ravel())[0, 1] for band in hyperion]
        assert first < float(hyperion["wavelength_nm"][int(np.argmax(likeness))]) < last


@pytest.mark.parametrize("name", [name for name in DATASETS if DATASETS[name].archives])
def test_a_folder_without_its_files_says_what_is_expected(tmp_path, make_params, name):
    with pytest.raises(MissingInputError, match=rf"No scene of '{name}' in .*Expected there: "):
        prepare_scenes(make_params("dataset", name=name, root=str(tmp_path)), tmp_path)


def test_another_number_of_bands_is_refused(prepared):
    with pytest.raises(DataError, match="Scene 'pavia_university' has 102 bands, expected 103"):
        prepared("pavia_university", {"PaviaU.mat": _mat(paviaU=_values(8, 6, 102, top=9))})
