"""The user's own cubes."""

import shutil

import numpy as np
import pytest
import scipy.io
import xarray as xr
from affine import Affine

from hsipipe.artifacts import RawScenes
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.errors import DataError, MissingInputError, ParamsError
from hsipipe.formats import save_cube
from hsipipe.formats.georeference import attach

NM = [400.0, 500.0, 600.0, 700.0]


def _cube(bands=4, seed=0, size=(6, 5)):
    values = np.random.default_rng(seed).random((bands, *size), dtype=np.float32)
    cube = xr.DataArray(values, dims=("band", "y", "x"))
    return cube.assign_coords(wavelength_nm=("band", NM)) if bands == 4 else cube


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def prepare(root, tmp_path, make_params):
    """Prepare the folder `root`; keywords are of dataset.folder."""

    def prepare(**folder):
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        prepare_scenes(make_params("dataset", name="folder", root=str(root), folder=folder), out)
        for entry in RawScenes(out).index()["scenes"]:
            RawScenes(out).verify(entry["name"])
        return RawScenes(out)

    return prepare


def test_every_cube_of_the_folder_whatever_its_format(root, prepare):
    cubes = {name: _cube(seed=seed) for seed, name in enumerate("abc")}
    save_cube(cubes["b"], root / "b.nc")
    save_cube(cubes["a"], root / "a.zarr")
    save_cube(cubes["c"], root / "c.npy")
    (root / "notes.txt").write_text("not a cube")
    (root / ".hidden.npy").write_bytes(b"junk")
    (root / "sub").mkdir()
    scenes = prepare(wavelength_nm=NM)
    assert [entry["name"] for entry in scenes.index()["scenes"]] == ["a", "b", "c"]
    for name, cube in cubes.items():
        np.testing.assert_array_equal(scenes.open(name), cube)
        assert scenes.open(name)["wavelength_nm"].values.tolist() == NM
    assert sorted(path.name for path in scenes.path.iterdir()) == ["a.zarr", "b.nc", "c.npy", "scenes.json"]
    assert (scenes.path / "b.nc").read_bytes() == (root / "b.nc").read_bytes()


def test_an_envi_pair_is_one_scene_and_stays_a_pair(root, prepare):
    values = _cube().values
    (root / "a.img").write_bytes(values.astype("<f4").tobytes())
    header = "ENVI\nsamples = 5\nlines = 6\nbands = 4\ndata type = 4\ninterleave = bsq\nbyte order = 0\n"
    (root / "a.hdr").write_text(header)
    scenes = prepare()
    np.testing.assert_array_equal(scenes.open("a"), values)
    assert sorted(path.name for path in scenes.path.iterdir()) == ["a.hdr", "a.img", "scenes.json"]
    (entry,) = scenes.index()["scenes"]
    assert sorted(entry["sha256"]) == ["a.hdr", "a.img"]


def test_full_scale_variable_and_wavelengths(root, prepare):
    values = np.random.default_rng(0).integers(0, 10_000, (6, 5, 4))
    scipy.io.savemat(root / "a.mat", {"cube": values, "other": values[..., :3], "third": values})
    np.save(root / "b.npy", np.moveaxis(values, -1, 0).astype(np.float32))
    scenes = prepare(full_scale=10_000, variable="cube", wavelength_nm=NM)
    for name in "ab":  # .npy knows no variables
        cube = scenes.open(name)
        np.testing.assert_allclose(cube, np.moveaxis(values, -1, 0) / 10_000, rtol=1e-6)
        assert cube["wavelength_nm"].values.tolist() == NM
    assert scenes.index()["scale"] == 10_000


def test_a_folder_of_bands_without_wavelengths_is_fine(root, prepare):
    np.save(root / "a.npy", _cube(bands=3))
    scenes = prepare()
    assert "wavelength_nm" not in scenes.open("a").coords
    assert scenes.index()["wavelength_nm"] == []


def test_dropped_bands_are_gone_and_the_cube_stays_lazy(root, prepare):
    cube = _cube()
    cube[1] = 0
    save_cube(cube, root / "a.zarr")
    with pytest.raises(DataError, match=r"band 2 \(500 nm\) of 4 is dead.*Set dataset\.folder\.drop_bands to \[2\]"):
        prepare()
    scenes = prepare(drop_bands=[4, 2, 2])
    opened = scenes.open("a")
    assert opened.chunks is not None
    np.testing.assert_array_equal(opened, cube[[0, 2]])
    assert opened["wavelength_nm"].values.tolist() == [400.0, 600.0]
    index = scenes.index()
    assert index["drop_bands"] == [2, 4]
    assert (index["wavelength_nm"], index["scenes"][0]["shape"]) == ([400.0, 600.0], [2, 6, 5])


def test_wavelengths_are_counted_before_bands_are_dropped(root, prepare):
    save_cube(_cube(), root / "a.nc")
    scenes = prepare(drop_bands=[1], wavelength_nm=[1.0, 2.0, 3.0, 4.0])
    assert scenes.open("a")["wavelength_nm"].values.tolist() == [2.0, 3.0, 4.0]
    with pytest.raises(ParamsError, match=r"wavelength_nm has 3 values, expected 4: one for each band of .*a\.nc"):
        prepare(drop_bands=[1], wavelength_nm=[1.0, 2.0, 3.0])


@pytest.mark.parametrize(("drop", "named"), [([5, 2], r"\[5\]"), ([1, 2, 3, 4], "every band")])
def test_bands_to_drop_that_are_not_there(root, prepare, drop, named):
    save_cube(_cube(), root / "a.nc")
    with pytest.raises(ParamsError, match=rf"drop_bands names {named}, expected some of the bands 1 to 4 of .*a\.nc"):
        prepare(drop_bands=drop)


def test_two_files_of_one_name(root, prepare):
    save_cube(_cube(), root / "a.nc")
    save_cube(_cube(), root / "a.npy")
    with pytest.raises(DataError, match=r"Scene 'a' is in .*a\.nc and in .*a\.npy; rename one"):
        prepare()


def test_cubes_of_two_sensors(root, prepare):
    save_cube(_cube(), root / "a.nc")
    save_cube(_cube(bands=3), root / "b.nc")
    with pytest.raises(DataError, match=r"Scene 'b' \(3 bands\) and scene 'a' \(4 bands\) have different bands"):
        prepare()


def test_no_root_and_no_cube(root, prepare, make_params, tmp_path):
    with pytest.raises(ParamsError, match=r"dataset\.root is null, but the data set 'folder' reads your own cubes"):
        prepare_scenes(make_params("dataset", name="folder", root=None), tmp_path)
    with pytest.raises(MissingInputError, match=r"No scene of 'folder' in .*root\. Expected there: one file or folder"):
        prepare()


def test_a_measured_msi_beside_the_cube(root, prepare):
    save_cube(_cube() * 100, root / "a.nc")
    msi = _cube(bands=3, seed=1)
    save_cube(msi * 100, root / "a_msi.npy")
    save_cube(_cube(seed=2) * 100, root / "b_msi.nc")  # there is no b: a scene of that name
    scenes = prepare(full_scale=100)
    assert [entry["name"] for entry in scenes.index()["scenes"]] == ["a", "b_msi"]
    np.testing.assert_allclose(scenes.open_msi("a"), msi, rtol=1e-6)
    assert set(scenes.index()["scenes"][0]["sha256"]) == {"a.nc", "a_msi.npy"}
    with pytest.raises(DataError, match="has no co-registered MSI"):
        scenes.open_msi("b_msi")


def test_a_measured_msi_on_another_grid_or_with_infinite_values(root, prepare):
    save_cube(_cube(), root / "a.nc")
    save_cube(_cube(bands=3, size=(12, 10)), root / "a_msi.npy")
    with pytest.raises(DataError, match=r"The MSI of scene 'a', .*a_msi\.npy, has 12 x 10 pixels, expected 6 x 5"):
        prepare()
    broken = _cube(bands=3)
    broken[1, 0, 0] = np.inf
    save_cube(broken, root / "a_msi.npy")
    with pytest.raises(DataError, match=r"Scene 'a \(its MSI\)': band 2 of 3 holds 1 infinite"):
        prepare()


def test_no_data_is_written_down_and_said(root, prepare, caplog):
    cube = _cube()
    cube[:, 0] = np.nan
    save_cube(cube, root / "a.nc")
    broken = _cube(bands=3)
    broken[1, 0, 0] = np.nan
    save_cube(broken, root / "a_msi.npy")
    scenes = prepare()
    (entry,) = scenes.index()["scenes"]
    assert entry["no_data_share"] == pytest.approx(1 / 6)
    assert entry["msi"]["no_data_share"] == pytest.approx(1 / 30)
    assert "scene 'a': 16.7 % of the pixels have no data" in caplog.text
    assert "MSI of scene 'a': 3.3 % of the pixels have no data" in caplog.text
    assert np.isnan(scenes.open("a")[:, 0]).all()


@pytest.mark.parametrize(("crs", "step", "gsd_m"), [(32654, 2.5, 2.5), (2263, 10.0, 3.048), (4326, 0.1, None)])
def test_the_ground_sampling_distance_is_that_of_the_file(root, prepare, crs, step, gsd_m):
    # UTM, feet of New York, degrees.
    cube = attach(_cube(), crs=f"EPSG:{crs}", transform=Affine(step, 0, 100, 0, -step, 200))
    save_cube(cube, root / "a.tif")
    scenes = prepare()
    assert scenes.index()["gsd_m"] == (None if gsd_m is None else pytest.approx(gsd_m, abs=0.001))
    np.testing.assert_array_equal(scenes.open("a"), cube)


def test_the_number_of_wavelengths_tells_the_axis_of_the_bands(tmp_path, make_params):
    """Also when the pipeline opens the copy again."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    values = np.random.default_rng(0).random((8, 6, 10), dtype=np.float32)
    np.save(tmp_path / "in" / "scene.npy", np.moveaxis(values, 0, -1))
    folder = {"wavelength_nm": np.linspace(400, 700, 8).tolist(), "drop_bands": [3]}
    prepare_scenes(make_params("dataset", name="folder", root=str(tmp_path / "in"), folder=folder), tmp_path / "out")
    np.testing.assert_array_equal(RawScenes(tmp_path / "out").open("scene"), np.delete(values, 2, axis=0))


def test_a_scene_may_be_a_link_but_nothing_in_its_folder_may_lead_out_of_it(root, prepare, tmp_path):
    cube = _cube()
    save_cube(cube, tmp_path / "elsewhere.npy")
    (root / "a.npy").symlink_to(tmp_path / "elsewhere.npy")
    save_cube(cube, root / "b.zarr")
    np.testing.assert_array_equal(prepare(wavelength_nm=NM).open("a"), cube)
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (root / "b.zarr/reflectance/notes").symlink_to(secret)
    with pytest.raises(DataError, match=r"b\.zarr/reflectance/notes is a link to .*secret.txt, expected a file"):
        prepare(wavelength_nm=NM)
    assert not list((tmp_path / "out").rglob("notes"))


@pytest.mark.parametrize("target", ["..", "gone"])
def test_a_link_to_a_folder_or_to_nowhere_is_not_passed_over_in_silence(root, prepare, target):
    save_cube(_cube(), root / "b.zarr")
    (root / "b.zarr/reflectance/more").symlink_to(target)
    with pytest.raises(DataError, match=r"b\.zarr/reflectance/more is a link"):
        prepare()
