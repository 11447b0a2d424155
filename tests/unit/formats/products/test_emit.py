"""EMIT L2A against values worked out by hand and against h5py."""

import h5py
import numpy as np
import pytest
from product_files import COLUMNS, EMIT_FWHM, EMIT_NAME, EMIT_NM, ROWS, emit_values, write_emit

from hsipipe.formats import companions, open_cube

VALUES = emit_values()


def test_values_and_bands(tmp_path):
    values = VALUES.copy()
    values[0, 0] = -9999
    values[..., 2] = -0.01  # EMIT's value in a bad band
    cube = open_cube(write_emit(tmp_path / "a", values))
    expected = np.moveaxis(np.where(values == -9999, np.nan, values), 2, 0)
    np.testing.assert_array_equal(cube, expected)
    np.testing.assert_array_equal(cube["wavelength_nm"], EMIT_NM)
    np.testing.assert_array_equal(cube["fwhm_nm"], EMIT_FWHM)
    assert cube["good_band"].values.tolist() == [True, True, False, True]
    np.testing.assert_allclose(cube["lat"][:, 0], np.linspace(48, 47.9, ROWS))
    np.testing.assert_allclose(cube["lon"][0], np.linspace(8, 8.1, COLUMNS))


def test_an_independent_reader_gives_the_same(tmp_path):
    path = write_emit(tmp_path / "a")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(open_cube(path), np.transpose(file["reflectance"][()], (2, 0, 1)))


def test_masks_of_the_file_next_to_it(tmp_path):
    mask, bad = np.zeros((ROWS, COLUMNS, 8)), np.zeros((ROWS, COLUMNS, 4), "u1")
    for band in range(8):  # cloud, cirrus, water, spacecraft, dilated cloud, AOD, water vapour, all
        mask[1, band, band] = 1
    bad[3, 4, 3] = 1
    path = write_emit(tmp_path / "a", mask=mask, band_mask=bad)
    expected = np.zeros((4, ROWS, COLUMNS), bool)
    expected[:, 1, [0, 1, 3, 4]] = True
    expected[3, 3, 4] = True
    np.testing.assert_array_equal(np.isnan(open_cube(path)), expected)
    assert np.argwhere(np.isnan(open_cube(path, masks="defects").values)).tolist() == [[3, 3, 4]]
    assert not np.isnan(open_cube(path, masks="fill")).any()
    assert len(companions(path)) == 2


def test_the_share_without_data_is_told(tmp_path):
    values = VALUES.copy()
    values[0] = -9999
    masked = open_cube(write_emit(tmp_path / "a", values)).encoding["masked"]
    assert masked["no data"].mean().compute() == 1 / ROWS


def test_masks_that_the_file_names_may_be_in_another_order(tmp_path):
    names = [
        "AOD550",
        "Cloud flag",
        "Water flag",
        "Cirrus flag",
        "H2O (g cm-2)",
        "Spacecraft Flag",
        "Dilated Cloud Flag",
        "x",
    ]
    mask = np.zeros((ROWS, COLUMNS, 8))
    mask[0, range(8), range(8)] = 1
    path = write_emit(tmp_path / "a", mask=mask)
    with h5py.File(path.with_name(EMIT_NAME.replace("_RFL_", "_MASK_")), "a") as file:
        file["sensor_band_parameters/mask_bands"] = np.array(names, dtype=h5py.string_dtype())
    cube = open_cube(path)
    assert np.flatnonzero(np.isnan(cube[0, 0])).tolist() == [1, 3, 5, 6]
    assert "cloud flag (mask)" in cube.encoding["masked"]


@pytest.mark.parametrize("damage", ["truncated", "other size"])
def test_masks_that_do_not_fit_are_ignored_with_a_warning(tmp_path, caplog, damage):
    path = write_emit(tmp_path / "a", mask=np.ones((ROWS, COLUMNS, 8)))
    masks = path.with_name(EMIT_NAME.replace("_RFL_", "_MASK_"))
    if damage == "truncated":
        masks.write_bytes(masks.read_bytes()[:500])
    else:
        with h5py.File(masks, "a") as file:
            del file["mask"]
            file["mask"] = np.ones((2, 3, 8), "f4")
    cube = open_cube(path)
    assert not np.isnan(cube).any()
    assert "are ignored" in caplog.text
    assert any("no masks" in told for told in cube.encoding["applied"])


def test_another_variable_is_opened_as_it_is(tmp_path):
    path = write_emit(tmp_path / "a", mask=np.ones((ROWS, COLUMNS, 8)))
    masks = path.with_name(EMIT_NAME.replace("_RFL_", "_MASK_"))
    assert open_cube(masks, variable="mask").shape == (8, ROWS, COLUMNS)
