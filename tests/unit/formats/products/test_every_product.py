"""Contract of every sensor product in the catalogue."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from product_files import every_product

from hsipipe.errors import HsipipeError, ParamsError
from hsipipe.formats import FORMATS, companions, is_cube, open_cube, recognise, save_cube
from hsipipe.formats.georeference import transform_of
from hsipipe.formats.products import PRODUCTS

each = pytest.mark.parametrize("name", PRODUCTS)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Path of each product; not to be changed."""
    return every_product(tmp_path_factory.mktemp("products"))


@pytest.fixture
def copy(tmp_path, paths):
    """A function that copies a product and gives the path of the copy."""

    def make(name):
        source = paths[name] if paths[name].is_dir() else paths[name].parent
        shutil.copytree(source, tmp_path / "copy" / source.name)
        return tmp_path / "copy" / source.name / ("" if paths[name].is_dir() else paths[name].name)

    return make


@each
def test_a_product_is_found_by_its_layout_and_its_bands_are_described(paths, name):
    assert recognise(paths[name]) is PRODUCTS[name]
    assert is_cube(paths[name])
    cube = open_cube(paths[name])
    assert (cube.dims, cube.dtype) == (("band", "y", "x"), np.float32)
    assert cube.chunks is not None
    for coordinate in ("wavelength_nm", "fwhm_nm", "good_band", "detector"):
        assert cube[coordinate].dims == ("band",)
    assert (np.diff(cube["wavelength_nm"]) > 0).all()
    assert (cube["fwhm_nm"] > 0).all()
    assert cube.attrs["bad_bands"] == (np.flatnonzero(~cube["good_band"]) + 1).tolist()
    assert cube.encoding["applied"]
    assert cube.encoding["format"] == PRODUCTS[name].title
    assert np.isfinite(cube.sel(band=cube["good_band"].values)).all()


@each
def test_a_product_has_a_position(paths, name):
    cube = open_cube(paths[name])
    if name == "emit":
        assert {"lat", "lon"} <= set(cube.coords)
        assert cube["lat"].dims == ("y", "x")
    else:
        assert cube.rio.crs is not None
        assert abs(transform_of(cube).a) > 0


@each
def test_an_opened_product_can_be_sent_to_another_process(paths, name):
    cube = open_cube(paths[name])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(cube)), cube)


@each
def test_the_companions_are_the_product(tmp_path, paths, name):
    source = paths[name].parent
    for file in companions(paths[name]):
        target = tmp_path / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    copied = open_cube(tmp_path / paths[name].name)
    np.testing.assert_array_equal(copied, open_cube(paths[name]))
    assert copied.encoding["masked"].keys() == open_cube(paths[name]).encoding["masked"].keys()


@each
def test_a_truncated_product_is_a_one_line_error_or_complete(copy, name):
    path = copy(name)
    whole = open_cube(path).values
    files = sorted(companions(path), key=lambda file: file.stat().st_size)
    for file in (files[0], files[-1]):
        content = file.read_bytes()
        for size in range(0, len(content), max(len(content) // 5, 1)):
            file.write_bytes(content[:size])
            try:
                found = open_cube(path).values
            except HsipipeError as error:
                assert "\n" not in str(error)  # noqa: PT017  # either outcome is right
            else:
                assert file == files[0] or np.array_equal(found, whole, equal_nan=True)
        file.write_bytes(content)


@each
@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".tif"])
def test_a_saved_product_keeps_what_is_known_about_its_bands(tmp_path, paths, name, suffix):
    cube = open_cube(paths[name])
    save_cube(cube, tmp_path / f"saved{suffix}")
    found = open_cube(tmp_path / f"saved{suffix}")
    np.testing.assert_array_equal(found, cube)
    for coordinate in ("wavelength_nm", "fwhm_nm"):
        np.testing.assert_allclose(found[coordinate], cube[coordinate], rtol=1e-6)
    for coordinate in ("good_band", "detector"):
        np.testing.assert_array_equal(found[coordinate], cube[coordinate])


@each
def test_an_unknown_choice_names_the_known_ones(paths, name):
    with pytest.raises(ParamsError, match="overlap is 'both', expected one of keep, swir, vnir, average"):
        open_cube(paths[name], overlap="both")
    with pytest.raises(ParamsError, match="masks is 'none', expected one of all, defects, fill"):
        open_cube(paths[name], masks="none")


def test_other_files_are_not_taken_for_a_product(tmp_path):
    for form in FORMATS.values():
        for suffix in form.suffixes:
            (tmp_path / f"a{suffix}").write_bytes(b"\x89HDF\r\n\x1a\n")
    for path in [*tmp_path.iterdir(), tmp_path, Path(tmp_path / "nothing.h5")]:
        assert not any(product.recognises(path) for product in PRODUCTS.values())
