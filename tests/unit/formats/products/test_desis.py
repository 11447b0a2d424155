"""DESIS L2A against values worked out by hand and against rasterio."""

import numpy as np
import rasterio
from product_files import COLUMNS, DESIS_NM, EDGE, ROWS, desis_values, write_desis

from hsipipe.formats import open_cube
from hsipipe.formats.georeference import transform_of

VALUES = desis_values()


def test_scale_and_bands(tmp_path):
    path = write_desis(tmp_path / "a", gain="0.0002")
    cube = open_cube(path)
    with rasterio.open(path) as raster:
        np.testing.assert_array_equal(cube, (raster.read() * 2e-4).astype(np.float32))
    np.testing.assert_array_equal(cube["wavelength_nm"], DESIS_NM)
    np.testing.assert_allclose(cube["fwhm_nm"], [3.1, 3.2, 3.3, 3.4])
    assert cube["detector"].values.tolist() == ["vnir"] * 4
    assert transform_of(cube) == EDGE


def test_without_a_gain_the_usual_one_is_applied_and_told(tmp_path):
    cube = open_cube(write_desis(tmp_path / "a", gain=""))
    np.testing.assert_array_equal(cube, (VALUES * 1e-4).astype(np.float32))
    assert "value x 0.0001" in cube.encoding["applied"][0]


def test_fill_clouds_and_shadows_are_nan(tmp_path):
    values, quality = VALUES.copy(), np.zeros((10, ROWS, COLUMNS))
    values[:, 0, 0] = -32768
    quality[0, 1, 1] = quality[5, 2, 2] = quality[6, 3, 3] = 1  # shadow, cloud over land and over water
    quality[1:5, 4, 4] = quality[7:, 4, 4] = 1  # land, snow, haze, water, AOT and vapour
    path = write_desis(tmp_path / "a", values, quality=quality)
    places = {tuple(map(int, place)) for place in np.argwhere(np.isnan(open_cube(path)[0].values))}
    assert places == {(0, 0), (1, 1), (2, 2), (3, 3)}
    assert np.isnan(open_cube(path, masks="fill")).sum() == 4
