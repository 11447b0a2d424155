"""An HR-MSI comes to the grid of its LR-HSI: values of a known ground, holes, and what is left as it is."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine

from hsipipe.degradation.psf import Psf
from hsipipe.formats import save_cube
from hsipipe.formats.georeference import attach, crs_of, transform_of
from hsipipe.inference import msi_grid
from hsipipe.inference.msi_grid import on_grid_of, pixel_ratio
from hsipipe.inference.pair import MsiFile, open_msi, read_msi
from hsipipe.inference.plan import Box
from hsipipe.inference.wording import COMMAND
from hsipipe.methods.sfim import Sfim

UTM, NEXT_ZONE = 32632, 32633
SFIM = Sfim(4, Psf("gaussian", mtf=0.3))
LEFT, TOP = 600_000.0, 5_300_000.0


def ground(x, y):
    """Two smooth bands (2, ...) at places in metres from the corner of the LR-HSI."""
    return np.stack([2 + np.sin(x / 90) + 0.3 * np.cos(y / 70), 1 + x * 1e-3 - y * 2e-3]).astype(np.float32)


def image(height, width, transform, crs=UTM, position=True):
    """The ground as seen by pixels of a grid in UTM."""
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y = transform @ (columns, rows)
    cube = xr.DataArray(ground(x - LEFT, TOP - y), dims=("band", "y", "x"))
    cube = cube.assign_coords(wavelength_nm=("band", [550.0, 850.0]))
    return attach(cube, crs=crs, transform=transform) if position else cube


def lr_image(**more):
    return image(20, 24, Affine(30, 0, LEFT, 0, -30, TOP), **more)


def msi_image(pixel, *, border=60.0, **more):
    """An HR-MSI that goes beyond the LR-HSI by a border on all sides."""
    height, width = (round((length + 2 * border) / pixel) for length in (600, 720))
    return image(height, width, Affine(pixel, 0, LEFT - border, 0, -pixel, TOP + border), **more)


def expected(scale):
    return image(20 * scale, 24 * scale, Affine(30 / scale, 0, LEFT, 0, -30 / scale, TOP))


def test_a_larger_image_of_a_whole_ratio_is_cut_exactly(caplog):
    caplog.set_level("INFO", logger="hsipipe")
    found = on_grid_of(lr_image(), msi_image(10), scale=3)
    wanted = expected(3)
    np.testing.assert_array_equal(found, wanted)
    assert transform_of(found) == transform_of(wanted)
    assert crs_of(found) == crs_of(wanted)
    assert found["wavelength_nm"].values.tolist() == [550, 850]
    assert caplog.messages == [
        "The HR-MSI of 72 x 84 pixels has 3 x 3 for each pixel of the LR-HSI; it is resampled to 3 x 3."
    ]


@pytest.mark.parametrize(("pixel", "scale"), [(8, 4), (12, 2), (13, 2), (7, 4)])
@pytest.mark.parametrize("block", [512, 16])
def test_other_ratios_give_the_nearest_whole_one(pixel, scale, block, monkeypatch):
    monkeypatch.setattr(msi_grid, "_BLOCK", block)
    lr, msi = lr_image(), msi_image(pixel)
    assert pixel_ratio(lr, msi) == pytest.approx((30 / pixel, 30 / pixel))
    found = on_grid_of(lr, msi, scale=scale)
    np.testing.assert_allclose(found, expected(scale), atol=4e-3)
    assert found.chunks is not None


def test_images_without_a_position_show_the_same_ground():
    lr, msi = lr_image(position=False), msi_image(12, border=0, position=False)
    found = on_grid_of(lr, msi, scale=2)
    np.testing.assert_allclose(found[:, 2:-2, 2:-2], expected(2)[:, 2:-2, 2:-2], atol=4e-3)
    assert crs_of(found) is None


def test_the_two_may_have_different_crs():
    from rasterio.warp import transform, transform_bounds

    left, bottom, right, top = transform_bounds(UTM, NEXT_ZONE, LEFT - 60, TOP - 660, LEFT + 780, TOP + 60)
    grid = Affine(8, 0, left, 0, -8, top)
    height, width = int((top - bottom) / 8), int((right - left) / 8)
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y = grid @ (columns, rows)
    x, y = (np.reshape(part, x.shape) for part in transform(NEXT_ZONE, UTM, x.ravel(), y.ravel()))
    msi = attach(xr.DataArray(ground(x - LEFT, TOP - y), dims=("band", "y", "x")), crs=NEXT_ZONE, transform=grid)
    found = on_grid_of(lr_image(), msi, scale=4)
    np.testing.assert_allclose(found, expected(4), atol=4e-3)


def test_holes_stay_where_they_are_and_ground_outside_is_one():
    msi = msi_image(12).load()
    msi[:, 30:40, 30:40] = np.nan
    changed = on_grid_of(lr_image(), msi, scale=2).to_numpy()
    plain = on_grid_of(lr_image(), msi_image(12), scale=2).to_numpy()
    hole = np.isnan(changed).any(axis=0)
    # 120 m of 30 x 30 m, from 300 m right and below the corner.
    rows, columns = (np.flatnonzero(hole.any(axis=axis)) for axis in (1, 0))
    assert [*rows[[0, -1]], *columns[[0, -1]]] == [20, 27, 20, 27]
    np.testing.assert_allclose(changed[:, ~hole], plain[:, ~hole], atol=5e-3)
    msi = msi_image(12)[:, :, :40]
    outside = np.isnan(on_grid_of(lr_image(), msi, scale=2).to_numpy())
    assert outside[:, :, 28:].all()
    assert not outside[:, :, :27].any()


@pytest.mark.parametrize(
    ("msi", "scale"),
    [
        (expected(3), 3),
        (msi_image(12), 4),
        (image(40, 48, Affine(15, 0, LEFT + 9000, 0, -15, TOP)), 3),
        (image(50, 48, Affine(15, 0, LEFT, 0, -12, TOP), position=False), 2),
    ],
    ids=["fits", "nearer to another ratio", "other ground", "two ratios"],
)
def test_others_are_left_to_the_checks_of_a_pair(msi, scale):
    assert on_grid_of(lr_image(position=msi.coords.get("spatial_ref") is not None), msi, scale=scale) is msi


def test_windows_and_the_whole_image_have_the_same_values(tmp_path):
    save_cube(msi_image(8), tmp_path / "msi.tif")
    lr, file = lr_image(), MsiFile(tmp_path / "msi.tif", 10.0)
    whole, holes, _ = read_msi(file, lr, lr.to_numpy(), model=SFIM, wording=COMMAND, admit=lambda cube, ratio: None)
    assert holes is None
    windows = open_msi(file, lr, model=SFIM)
    assert windows.shape == whole.shape == (2, 80, 96)
    np.testing.assert_array_equal(windows.read(Box(7, 40, 30, 90)), whole[:, 7:40, 30:90])
