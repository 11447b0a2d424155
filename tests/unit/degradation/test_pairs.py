import itertools
import json
import shutil

import numpy as np
import pytest
import xarray as xr

from hsipipe.artifacts import DegradedPairs, RawScenes
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation import simulate as module
from hsipipe.degradation.bicubic import downsample
from hsipipe.degradation.pairs import make_pairs
from hsipipe.degradation.psf import Psf, make_psf
from hsipipe.degradation.srf import response
from hsipipe.errors import DataError, IntegrityError, MissingInputError, ParamsError
from hsipipe.formats import open_cube

SPLIT = {"by": "auto", "val": 0.2, "test": 0.2, "guard": 4, "seed": 0}


@pytest.fixture
def make(make_params):
    def run(scenes, out, *, split=None, degradation=None):
        out.mkdir()
        summary = make_pairs(
            scenes,
            out,
            split=make_params("split", **SPLIT | (split or {})),
            degradation=make_params("degradation", **(degradation or {})),
        )
        return DegradedPairs(out), summary

    return run


def test_pairs_of_whole_scenes(tmp_path, make_scenes, make):
    scenes = make_scenes()
    pairs, summary = make(scenes, tmp_path / "pairs")
    names = {part: pairs.names(part) for part in ("train", "val", "test")}
    assert sorted(itertools.chain(*names.values())) == ["synthetic_00", "synthetic_01", "synthetic_02"]
    for part, (name,) in names.items():
        pair = pairs.read(part, name)
        hr = scenes.open(name).values
        np.testing.assert_array_equal(pair.hr, hr)
        np.testing.assert_allclose(pair.lr, downsample(hr, 4), atol=1e-6)
        srf = response("rgb", pair.wavelength_nm)
        np.testing.assert_allclose(pair.msi, np.einsum("cb,byx->cyx", srf, hr), atol=1e-6)
        assert {pair.hr.dtype, pair.lr.dtype, pair.msi.dtype} == {np.dtype(np.float32)}
    assert summary["bands"] == 6
    assert summary["srf"] == "rgb"
    assert summary["train_pixels"] == 48 * 48


def test_the_index(tmp_path, make_scenes, make):
    pairs, _ = make(make_scenes(scenes=1, size=64), tmp_path / "pairs")
    tree = json.loads((pairs.path / "pairs.json").read_text())
    assert (tree["dataset"], tree["scale"], tree["srf"]) == ("synthetic", 4, "rgb")
    assert len(tree["wavelength_nm"]) == 6
    assert tree["splits"] == {
        part: [{"name": "synthetic_00", "scene": "synthetic_00", "region": region, "low": 0.0, "span": 1.0}]
        for part, region in (("train", [0, 36, 0, 64]), ("val", [40, 64, 0, 28]), ("test", [40, 64, 32, 64]))
    }


@pytest.mark.parametrize("srf", ["rgb", None])
def test_the_index_knows_the_response(tmp_path, make_scenes, make, srf):
    pairs, _ = make(make_scenes(), tmp_path / "pairs", degradation={"srf": srf})
    matrix = pairs.response()
    if srf is None:
        assert matrix is None
        return
    pair = pairs.read("val", pairs.names("val")[0])
    np.testing.assert_array_equal(matrix, response(srf, pair.wavelength_nm))
    np.testing.assert_allclose(np.tensordot(matrix, pair.hr, 1), pair.msi, atol=1e-6)


def test_an_older_index_knows_no_response(tmp_path):
    (tmp_path / "pairs.json").write_text('{"splits": {}}')
    assert DegradedPairs(tmp_path).response() is None


def test_a_region_is_degraded_as_if_there_were_nothing_around_it(tmp_path, make_scenes, make):
    scenes = make_scenes(scenes=1, size=64)
    pairs, _ = make(scenes, tmp_path / "pairs")
    val = pairs.read("val", "synthetic_00")
    strip = scenes.open("synthetic_00").values[:, 40:64, :28]
    np.testing.assert_array_equal(val.hr, strip)
    np.testing.assert_allclose(val.lr, downsample(strip, 4), atol=1e-6)


def test_strips_do_not_show(tmp_path, make_scenes, monkeypatch, make):
    scenes = make_scenes()
    whole, _ = make(scenes, tmp_path / "whole")
    monkeypatch.setattr(module, "rows_per_chunk", lambda shape, **options: 8)
    strips, _ = make(scenes, tmp_path / "strips")
    name = whole.names("test")[0]
    a, b = whole.read("test", name), strips.read("test", name)
    np.testing.assert_array_equal(a.hr, b.hr)
    np.testing.assert_allclose(a.lr, b.lr, atol=1e-6)
    np.testing.assert_allclose(a.msi, b.msi, atol=1e-6)


def test_the_same_input_gives_the_same_bytes(tmp_path, make_scenes, make):
    scenes = make_scenes()
    first, _ = make(scenes, tmp_path / "a")
    second, _ = make(scenes, tmp_path / "b")
    files = [
        {path.relative_to(p.path): path.read_bytes() for path in p.path.rglob("*") if path.is_file()}
        for p in (first, second)
    ]
    assert files[0] == files[1]


def test_xarray_opens_a_pair(tmp_path, make_scenes, make):
    pairs, _ = make(make_scenes(), tmp_path / "pairs")
    name = pairs.names("train")[0]
    dataset = xr.open_zarr(pairs.path / "train" / f"{name}.zarr", consolidated=False)
    assert dataset["hr"].dims == ("band", "y", "x")
    assert dataset["lr"].dims == ("band", "y_lr", "x_lr")
    assert dataset["msi"].dims == ("msi_band", "y", "x")


@pytest.mark.parametrize("split", [{}, {"by": "region"}])
def test_open_cube_opens_every_array_of_a_pair(tmp_path, make_scenes, split, make):
    pairs, _ = make(make_scenes(), tmp_path / "pairs", split=split)
    name = pairs.names("val")[0]
    pair = pairs.read("val", name)
    for variable in ("hr", "lr", "msi"):
        cube = open_cube(pairs.path / "val" / f"{name}.zarr", variable=variable)
        np.testing.assert_array_equal(cube, getattr(pair, variable))
        if variable != "msi":
            np.testing.assert_array_equal(cube["wavelength_nm"], pair.wavelength_nm)


def test_the_remainder_is_an_error_or_cut(tmp_path, make_scenes, make):
    scenes = make_scenes(size=50)
    with pytest.raises(DataError, match=r"'synthetic_00' has 50 x 50 pixels, .*remainder of 2 x 2 at scale 4\. Set"):
        make(scenes, tmp_path / "a")
    pairs, _ = make(scenes, tmp_path / "b", degradation={"crop_remainder": True})
    assert pairs.read("test", pairs.names("test")[0]).hr.shape == (6, 48, 48)


def test_a_scene_smaller_than_a_pixel(tmp_path, make_scenes, make):
    with pytest.raises(DataError, match="less than one LR pixel of 16"):
        make(make_scenes(size=12), tmp_path / "a", degradation={"scale": 16, "crop_remainder": True})


def test_changed_raw_data_is_not_used(tmp_path, make_scenes, make):
    scenes = make_scenes()
    file = next(iter(sorted(scenes.path.rglob("c/0/0/0"))))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match="c/0/0/0: sha256"):
        make(scenes, tmp_path / "pairs")


def test_names_that_are_not_there(tmp_path, make_scenes, make):
    with pytest.raises(MissingInputError, match="Run the stage degrade"):
        DegradedPairs(tmp_path).names("test")
    pairs, _ = make(make_scenes(), tmp_path / "pairs")
    with pytest.raises(DataError, match="No split 'tests'; there are train, val, test"):
        pairs.names("tests")
    with pytest.raises(DataError, match="No region 'x' in split 'test'; there are synthetic_"):
        pairs.read("test", "x")


def test_listed_regions_of_one_scene_have_names_of_their_own(tmp_path, make_scenes, make):
    scenes = make_scenes(scenes=1, size=64)
    regions = {
        "train": ["synthetic_00@0:32x0:64"],
        "val": ["synthetic_00@40:64x0:20"],
        "test": ["synthetic_00@40:64x24:40", "synthetic_00@40:64x44:64"],
    }
    pairs, _ = make(scenes, tmp_path / "pairs", split={"by": "listed", "regions": regions})
    assert pairs.names("test") == ["synthetic_00@40_24", "synthetic_00@40_44"]
    hr = scenes.open("synthetic_00").values
    np.testing.assert_array_equal(pairs.read("test", "synthetic_00@40_44").hr, hr[:, 40:64, 44:64])


def test_a_scene_that_does_not_fit_the_scale_may_still_have_listed_regions(tmp_path, make_scenes, make):
    regions = {part: [f"synthetic_0{i}@1:33x2:34"] for i, part in enumerate(("train", "val", "test"))}
    pairs, _ = make(make_scenes(size=50), tmp_path / "pairs", split={"by": "listed", "regions": regions})
    assert pairs.read("test", "synthetic_02").lr.shape == (6, 8, 8)


@pytest.mark.parametrize("psf", [{"kind": "average"}, {"kind": "gaussian", "mtf": 0.3}])
def test_the_psf_of_the_parameters_makes_the_lr_image(tmp_path, make_scenes, make, make_params, psf):
    pairs, summary = make(make_scenes(), tmp_path / "pairs", degradation={"psf": psf})
    pair = pairs.read("test", pairs.names("test")[0])
    used = make_psf(make_params("degradation", psf=psf).psf)
    np.testing.assert_allclose(pair.lr, used.downsample(pair.hr, 4), atol=1e-6)
    assert np.abs(pair.lr - downsample(pair.hr, 4)).max() > 1e-3
    assert summary["psf"] == used.describe(4)


def test_without_a_response_there_is_no_msi(tmp_path, make_scenes, make):
    pairs, _ = make(make_scenes(), tmp_path / "pairs", degradation={"srf": None})
    assert pairs.read("test", pairs.names("test")[0]).msi is None
    with pytest.raises(ParamsError, match=r"snr_db\.msi is 30, but with degradation\.srf null no MSI is simulated"):
        make(RawScenes(tmp_path / "raw"), tmp_path / "b", degradation={"srf": None, "snr_db": {"msi": 30.0}})


def test_noise_has_the_ratio_that_was_asked_for_and_strips_do_not_show_in_it(tmp_path, make_scenes, make, monkeypatch):
    scenes = make_scenes()
    clean, _ = make(scenes, tmp_path / "clean")
    snr = {"snr_db": {"lr": 20.0, "msi": 40.0}}
    noisy, _ = make(scenes, tmp_path / "noisy", degradation=snr)
    monkeypatch.setattr(module, "rows_per_chunk", lambda shape, **options: 8)
    strips, _ = make(scenes, tmp_path / "strips", degradation=snr)
    other, _ = make(scenes, tmp_path / "other", degradation={**snr, "seed": 1})
    name = clean.names("test")[0]
    truth, seen, again, third = (p.read("test", name) for p in (clean, noisy, strips, other))
    np.testing.assert_array_equal(seen.hr, truth.hr)
    for key, expected in (("lr", 20), ("msi", 40)):
        signal, observed = getattr(truth, key), getattr(seen, key)
        ratio = np.square(signal).mean(axis=(1, 2)) / np.square(observed - signal).mean(axis=(1, 2))
        np.testing.assert_allclose(10 * np.log10(ratio), expected, atol=1.5)
        np.testing.assert_allclose(getattr(again, key), observed, atol=1e-6)
        assert not np.array_equal(getattr(third, key), observed)


def test_an_impossible_ratio_is_refused(tmp_path, make_scenes, make):
    with pytest.raises(ParamsError, match=r"degradation\.snr_db\.lr must be a number of decibels from .* got 4000"):
        make(make_scenes(), tmp_path / "pairs", degradation={"snr_db": {"lr": 4000.0}})


def test_what_lies_beyond_the_listed_regions_does_not_count_for_the_maximum(tmp_path, make_scenes, make):
    scenes = make_scenes(scenes=1, size=64)
    whole = scenes.open("synthetic_00").values
    y, x = (int(place) for place in np.unravel_index(whole.max(axis=0).argmax(), (64, 64)))
    top, left = (32 if y < 32 else 0), (32 if x < 32 else 0)
    regions = {
        part: [f"synthetic_00@{top + at}:{top + at + 8}x{left}:{left + 32}"]
        for part, at in (("train", 0), ("val", 12), ("test", 24))
    }
    split = {"by": "listed", "regions": regions}
    pairs, _ = make(scenes, tmp_path / "pairs", split=split, degradation={"normalisation": "scene_max"})
    crop = whole[:, top : top + 32, left : left + 32]
    assert crop.max() < whole.max()
    np.testing.assert_allclose(pairs.read("test", "synthetic_00").hr, crop[:, 24:32] / crop.max(), rtol=1e-6)


def test_the_index_knows_the_content_of_the_user_s_own_files(tmp_path, make, make_params):
    root = tmp_path / "cubes"
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        np.save(root / f"s{number}.npy", rng.random((4, 16, 16), dtype=np.float32))

    def digests(name):
        raw = tmp_path / f"raw_{name}"
        raw.mkdir()
        prepare_scenes(make_params("dataset", name="folder", root=str(root)), raw)
        pairs, _ = make(RawScenes(raw), tmp_path / name, degradation={"srf": None})
        splits = json.loads((pairs.path / "pairs.json").read_text())["splits"]
        return {entry["scene"]: entry["sha256"] for entries in splits.values() for entry in entries}

    before = digests("before")
    assert digests("again") == before
    np.save(root / "s1.npy", rng.random((4, 16, 16), dtype=np.float32))
    after = digests("after")
    assert [name for name in sorted(before) if before[name] != after[name]] == ["s1"]


def test_normalisation_by_the_scene_and_by_the_region(tmp_path, make_scenes, make):
    scenes = make_scenes(scenes=1, size=64)
    whole = scenes.open("synthetic_00").values
    by_scene, _ = make(scenes, tmp_path / "scene", degradation={"normalisation": "scene_max"})
    by_region, _ = make(scenes, tmp_path / "region", degradation={"normalisation": "region_minmax"})
    np.testing.assert_allclose(
        by_scene.read("test", "synthetic_00").hr, whole[:, 40:64, 32:64] / whole.max(), atol=1e-6
    )
    for part in ("train", "val", "test"):
        hr = by_region.read(part, "synthetic_00").hr
        assert (hr.min(), hr.max()) == (0, 1)


def test_to_denoise_the_input_has_the_grid_of_the_truth_and_noise(tmp_path, make_scenes, make):
    noisy = {"task": "denoise", "scale": 1, "psf": {"kind": "none"}, "snr_db": {"lr": 20.0}}
    pairs, summary = make(make_scenes(), tmp_path / "pairs", degradation=noisy)
    assert (summary["scale"], summary["psf"]) == (1, "none")
    pair = pairs.read("train", pairs.names("train")[0])
    assert pair.lr.shape == pair.hr.shape
    snr_db = 10 * np.log10(np.square(pair.hr).mean(axis=(1, 2)) / np.square(pair.lr - pair.hr).mean(axis=(1, 2)))
    np.testing.assert_allclose(snr_db, 20.0, atol=0.5)


def test_to_deblur_the_input_has_the_grid_of_the_truth_and_its_blur(tmp_path, make_scenes, make):
    blur = {"task": "deblur", "scale": 1, "psf": {"kind": "gaussian", "mtf": 0.1}}
    pairs, _ = make(make_scenes(), tmp_path / "pairs", degradation=blur)
    pair = pairs.read("train", pairs.names("train")[0])
    assert pair.lr.shape == pair.hr.shape
    np.testing.assert_allclose(pair.lr, Psf("gaussian", mtf=0.1).downsample(pair.hr, 1), atol=1e-5)
    assert np.abs(pair.lr - pair.hr).max() > 0.01


def test_pairs_that_do_not_fit_on_the_disk_are_refused_before_the_work(tmp_path, make_scenes, make, monkeypatch):
    scenes = make_scenes()  # three of 6 x 48 x 48, with an MSI of 3 bands
    need = 4 * 3 * 48 * 48 * (6 + 3 + 6 / 16)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, int(need) - 1))
    with pytest.raises(
        DataError, match=r"pairs needs up to 259 kB, but the disk of .* has 259 kB free; free some space"
    ):
        make(scenes, tmp_path / "pairs")
    assert list((tmp_path / "pairs").iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, int(need)))
    make(scenes, tmp_path / "fits")
