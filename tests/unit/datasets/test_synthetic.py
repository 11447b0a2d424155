import numpy as np
import pytest

from hsipipe.datasets.synthetic import SYNTHETIC
from hsipipe.datasets.synthetic_spectra import MATERIALS, endmembers
from hsipipe.formats import open_cube
from hsipipe.params import SyntheticParams


def _params(**changes):
    return SyntheticParams.model_validate({"scenes": 2, "size": 64, "bands": 12, "seed": 3, **changes})


def _bytes(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    stores = SYNTHETIC.generate(_params(), folder)
    return folder, [open_cube(path) for path in stores.values()]


def test_shape_range_and_wavelengths(scenes):
    _, cubes = scenes
    for cube in cubes:
        assert cube.shape == (12, 64, 64)
        assert cube.dtype == np.float32
        assert 0 <= float(cube.min()) < float(cube.max()) <= 1
        np.testing.assert_allclose(cube["wavelength_nm"], np.linspace(400, 1000, 12))


def test_the_same_seed_gives_the_same_bytes(scenes, tmp_path):
    SYNTHETIC.generate(_params(), tmp_path)
    assert _bytes(tmp_path) == _bytes(scenes[0])


def test_another_seed_gives_other_scenes(scenes, tmp_path):
    SYNTHETIC.generate(_params(seed=4, scenes=1), tmp_path)
    assert not np.array_equal(open_cube(tmp_path / "synthetic_00.zarr"), scenes[1][0])


def test_more_scenes_leave_the_first_ones_as_they_are(scenes, tmp_path):
    SYNTHETIC.generate(_params(scenes=1), tmp_path)
    np.testing.assert_array_equal(open_cube(tmp_path / "synthetic_00.zarr"), scenes[1][0])


def test_scenes_differ_in_layout_and_share_the_materials(scenes):
    first, second = (cube.values.reshape(12, -1) for cube in scenes[1])
    assert not np.array_equal(first, second)
    library = endmembers(np.linspace(400, 1000, 12), 3)
    for pixels in (first, second):
        weights, *_ = np.linalg.lstsq(library.T, pixels, rcond=None)
        assert np.sqrt(np.mean((library.T @ weights - pixels) ** 2)) < 0.002


def test_the_noise_is_slight(scenes):
    for cube in scenes[1]:
        values = cube.values.reshape(12, -1).astype(np.float64)
        noise = np.linalg.svd(values, compute_uv=False)[-1] / np.sqrt(values.shape[1])
        snr_db = 10 * np.log10(np.mean(values**2) / noise**2)
        assert 40 < snr_db < 60


def test_there_are_edges_and_smooth_ground(scenes):
    for cube in scenes[1]:
        step = np.abs(np.diff(cube.values, axis=2)).max(axis=0)
        assert np.quantile(step, 0.98) > 0.1
        assert np.median(step) < 0.03


def test_spectra_look_like_the_materials():
    nm = np.linspace(400, 1000, 121)
    library = dict(zip(MATERIALS, endmembers(nm, 0), strict=True))

    def at(name, wavelength):
        return library[name][np.argmin(abs(nm - wavelength))]

    for plant in ("crop", "grass", "forest"):
        assert at(plant, 860) > 3 * at(plant, 670)
        assert at(plant, 550) > at(plant, 670)
    assert at("water", 860) < 0.03
    assert at("red_tiles", 650) > 2 * at("red_tiles", 500)
    assert np.abs(np.diff(np.stack(list(library.values())), axis=1)).max() < 0.1


@pytest.mark.parametrize(("size", "bands"), [(8, 1), (17, 3), (200, 2)])
def test_any_size(tmp_path, size, bands):
    SYNTHETIC.generate(_params(scenes=1, size=size, bands=bands), tmp_path)
    cube = open_cube(tmp_path / "synthetic_00.zarr")
    assert cube.shape == (bands, size, size)
    assert float(cube.std()) > 0
