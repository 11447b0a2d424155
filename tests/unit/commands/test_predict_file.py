"""A file in, a file out: what becomes of the position; the rest is in test_command_line.py."""

import shutil
from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from samplers import Spreads

import hsipipe.commands.predict_file
import hsipipe.commands.sample_file
import hsipipe.inference.needs
import hsipipe.memory
from hsipipe.commands.predict_file import predict_file
from hsipipe.commands.sample_file import Samples
from hsipipe.errors import DataError, ModelInputError, ParamsError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.georeference import attach, crs_of, transform_of
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.domain import Domain


class Sampler(Spreads, Bicubic):
    """Bicubic interpolation with samples."""


@pytest.fixture
def cube():
    values = np.random.default_rng(0).random((4, 6, 5), dtype=np.float32)
    cube = xr.DataArray(values, dims=("band", "y", "x"), attrs={"gsd_m": 30.0})
    cube = cube.assign_coords(wavelength_nm=("band", [400.0, 500.0, 600.0, 700.0]))
    return attach(cube, crs=32632, transform=Affine(30, 0, 500000, 0, -30, 4649000))


@pytest.fixture
def predict(cube, tmp_path, monkeypatch):
    """``predict(model, "hr.nc")`` super-resolves the cube, stored in units of 1/1000, into tmp_path."""

    def predict(model, target, *, samples=None, quantiles=(), keep=False, **options):
        monkeypatch.setattr(hsipipe.commands.predict_file, "load_model", lambda folder: model)
        monkeypatch.setattr(hsipipe.commands.predict_file, "digest_of", lambda model: "0" * 64)
        save_cube(cube * 1000, tmp_path / "lr.nc")
        return predict_file(
            tmp_path / "lr.nc",
            tmp_path / target,
            model="x",
            tile=8,
            overlap=2,
            full_scale=1000.0,
            samples=Samples(samples, quantiles, keep),
            **options,
        )

    return predict


def trained_on(*centres):
    return Bicubic(2).within(Domain(centres, 0.0, 1.0, 1.0, np.eye(4), 0.0))


def test_a_cube_of_other_wavelengths_is_refused_before_the_work(predict, capsys, tmp_path):
    model = trained_on(400.0, 600.0, 800.0, 1000.0)
    with pytest.raises(ModelInputError, match=r"^2 of 4 bands lie more than half a band step .*--other-wavelengths\.$"):
        predict(model, "hr.nc")
    assert not (tmp_path / "hr.nc").exists()
    predict(model, "hr.nc", other_wavelengths=True)
    assert "note: 2 of 4 bands lie more than half a band step from those of the training" in capsys.readouterr().err


def test_a_scale_given_twice_is_warned_of(predict, capsys, cube):
    model = trained_on(*cube["wavelength_nm"].to_numpy().tolist())
    predict(model, "hr.nc")
    assert "warning" not in capsys.readouterr().err
    cube.values[...] /= 1e4
    predict(model, "hr.nc")
    assert "is a scale applied twice?" in capsys.readouterr().err


@dataclass(frozen=True)
class Checkered(Bicubic):
    """Interpolation under a checkerboard."""

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        up = super().predict(lr)
        rows, columns = np.indices(up.shape[-2:])
        return up + np.where((rows + columns) % 2, 0.4, -0.4).astype(np.float32)


def test_a_doubtful_result_is_warned_of_and_on_demand_interpolated(predict, capsys, cube):
    (warned,) = predict(Checkered(2), "warned.nc")
    assert "of the image has implausible detail" in capsys.readouterr().err
    (mended,) = predict(Checkered(2), "mended.nc", guard="fallback")
    assert "100.0% of the image is interpolated instead." in capsys.readouterr().err
    (plain,) = predict(Bicubic(2), "plain.nc", guard="off")
    assert capsys.readouterr().err == ""
    assert float(abs(open_cube(warned) - open_cube(plain)).max()) > 300
    np.testing.assert_allclose(open_cube(mended), open_cube(plain), atol=0.1)


@pytest.mark.parametrize("source", [".tif", ".nc", ".zarr"])
@pytest.mark.parametrize("target", [".tif", ".nc", ".zarr"])
def test_the_result_lies_where_the_input_lay(tmp_path, monkeypatch, cube, source, target):
    monkeypatch.setattr(hsipipe.commands.predict_file, "load_model", lambda folder: Bicubic(2))
    monkeypatch.setattr(hsipipe.commands.predict_file, "digest_of", lambda model: "0" * 64)
    save_cube(cube, tmp_path / f"lr{source}")
    predict_file(tmp_path / f"lr{source}", tmp_path / f"hr{target}", model="x", tile=8, overlap=2, full_scale=1.0)
    hr = open_cube(tmp_path / f"hr{target}")
    assert hr.shape == (4, 12, 10)
    assert crs_of(hr).to_epsg() == 32632
    assert transform_of(hr).almost_equals(Affine(15, 0, 500000, 0, -15, 4649000))
    assert hr["spatial_ref"].attrs["GeoTransform"] == "500000.0 15.0 0.0 4649000.0 0.0 -15.0"
    np.testing.assert_allclose(hr["y"], 4649000 - 15 * (np.arange(12) + 0.5))
    np.testing.assert_array_equal(hr["wavelength_nm"], cube["wavelength_nm"])
    assert hr.attrs["gsd_m"] == 15.0


@pytest.mark.parametrize("suffix", [".tif", ".nc", ".zarr", ".npy"])
def test_the_spread_of_samples_lies_beside_the_result(predict, capsys, tmp_path, suffix):
    written = predict(Sampler(2), f"hr{suffix}", samples=5)
    assert written == [tmp_path / f"hr{suffix}", tmp_path / f"hr_std{suffix}"]
    mean, std = (open_cube(path) for path in written)
    assert mean.shape == std.shape == (4, 12, 10)
    np.testing.assert_allclose(std, 0.05 * 1000, rtol=1e-5)
    if suffix != ".npy":
        assert transform_of(std).almost_equals(transform_of(mean))
        np.testing.assert_array_equal(std["wavelength_nm"], mean["wavelength_nm"])
    assert capsys.readouterr().err == ""


def test_quantiles_lie_around_the_prediction_as_far_as_few_samples_demand(predict, tmp_path):
    written = predict(Sampler(2), "hr.nc", samples=8, quantiles=[0.05, 0.5, 0.975])
    assert [path.name for path in written] == ["hr.nc", "hr_std.nc", "hr_q05.nc", "hr_q50.nc", "hr_q97.5.nc"]
    mean, std, low, middle, high = (open_cube(path) for path in written)
    np.testing.assert_allclose(middle, mean, atol=1e-3)
    # Student's quantiles of 7 degrees of freedom, 1.8946 and 2.3646, times the model's factor.
    np.testing.assert_allclose(mean - low, 2 * 1.8946 * std, rtol=1e-3)
    np.testing.assert_allclose(high - mean, 2 * 2.3646 * std, rtol=1e-3)


@pytest.mark.parametrize(("target", "kept"), [("hr.tif", "hr_samples.nc"), ("hr.zarr", "hr_samples.zarr")])
def test_kept_samples_have_an_axis_and_the_units_of_the_result(predict, tmp_path, target, kept):
    written = predict(Sampler(2), target, samples=3, keep=True)
    assert written[-1] == tmp_path / kept
    mean = open_cube(tmp_path / target).to_numpy()
    with xr.open_dataset(tmp_path / kept) as opened:  # as a user does, and a warning is an error
        samples = opened["reflectance"]
        assert samples.dims == ("sample", "band", "y", "x")
        np.testing.assert_allclose(samples, np.stack([mean, mean + 10, mean + 20]), atol=1e-2)
        np.testing.assert_array_equal(samples["wavelength_nm"], [400.0, 500.0, 600.0, 700.0])
        np.testing.assert_array_equal(samples["sample"], [0, 1, 2])


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_result_opens_with_xarray_alone(predict, suffix):
    (path,) = predict(Bicubic(2), f"hr{suffix}")
    with xr.open_dataset(path) as opened:
        np.testing.assert_array_equal(opened["reflectance"], open_cube(path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 1}, "--samples must be at least 2, got 1"),
        ({"samples": 4, "quantiles": [0.05, 0.0500000001]}, "Two quantiles have the same file name"),
        ({"samples": 4, "quantiles": [1.5]}, "Got the quantile 1.5, expected a probability"),
        ({"quantiles": [0.5]}, "need samples; give their number"),
        ({"keep": True}, "need samples; give their number"),
        ({"sharp": True}, "has no sharp mode; take a posterior"),
    ],
)
def test_options_that_do_not_fit_are_refused(predict, tmp_path, options, message):
    with pytest.raises(ParamsError, match=message):
        predict(Sampler(2), "hr.nc", **options)
    assert not (tmp_path / "hr.nc").exists()


def test_samples_that_do_not_fit_are_refused_before_the_prediction(predict, monkeypatch):
    monkeypatch.setattr(hsipipe.commands.sample_file, "check_memory", _refuse)
    monkeypatch.setattr(hsipipe.commands.predict_file, "guarded_statistics", None)
    with pytest.raises(DataError, match="3 samples of this scene"):
        predict(Sampler(2), "hr.nc", samples=3, keep=True)


def _refuse(need, *, what, advice):
    raise DataError(what)


def test_a_model_that_cannot_vary_says_so_and_its_spread_is_zero(predict, capsys):
    mean, std = (open_cube(path) for path in predict(Bicubic(2), "hr.nc", samples=3))
    assert float(mean.max()) > 0
    assert not std.any()
    assert "bicubic gives the same prediction every time, so 3 samples have no spread" in capsys.readouterr().err


def test_the_spread_does_not_replace_the_input(tmp_path):
    size = {"model": "x", "tile": 8, "overlap": 2, "full_scale": 1.0}
    with pytest.raises(ParamsError, match="would replace the input"):
        predict_file(tmp_path / "a_std.nc", tmp_path / "a.nc", samples=Samples(2), **size)


@dataclass(frozen=True)
class Untouched(Bicubic):
    """Model that must not be reached."""

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        raise AssertionError("predicted")


@pytest.mark.parametrize("suffix", [".npy", ".nc", ".tif", ".zarr"])
def test_a_result_that_does_not_fit_is_refused_before_the_prediction(predict, tmp_path, monkeypatch, suffix):
    predict(Bicubic(2), "warm.nc")
    monkeypatch.setattr(hsipipe.commands.predict_file, "load_model", lambda folder: Untouched(2))
    monkeypatch.setattr(hsipipe.commands.predict_file, "digest_of", lambda model: "0" * 64)
    options = {"model": "x", "tile": 8, "overlap": 2, "full_scale": 1000.0}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, 1000))
    with pytest.raises(DataError, match=rf"hr{suffix} needs up to .*, but the disk of .* has 1 kB free"):
        predict_file(tmp_path / "lr.nc", tmp_path / f"hr{suffix}", **options)
    monkeypatch.undo()
    monkeypatch.setattr(hsipipe.commands.predict_file, "load_model", lambda folder: Untouched(2))
    monkeypatch.setattr(hsipipe.commands.predict_file, "digest_of", lambda model: "0" * 64)
    monkeypatch.setattr(hsipipe.memory, "available_memory", lambda: (0, 0))
    with pytest.raises(DataError, match=r"A result of 4 x 12 x 10 values by bicubic, .*needs about .* but 0 bytes are"):
        predict_file(tmp_path / "lr.nc", tmp_path / f"hr{suffix}", **options)


def test_the_standard_deviation_needs_disk_and_memory_too(predict, monkeypatch):
    seen = []
    monkeypatch.setattr(hsipipe.inference.needs, "check_sinks", lambda paths, shape: seen.append((len(paths), shape)))
    monkeypatch.setattr(hsipipe.inference.needs, "check_memory", lambda need, **_: seen.append(need))
    predict(Sampler(2), "one.nc")
    predict(Sampler(2), "two.nc", samples=3)
    assert (seen[0], seen[2]) == ((1, (4, 12, 10)), (2, (4, 12, 10)))
    assert seen[3] - seen[1] == 4 * 4 * 12 * 10
