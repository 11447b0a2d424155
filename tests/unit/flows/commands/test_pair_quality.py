"""Prediction of a pair of files, with a fusion that is simple enough to be checked by hand."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hsipipe.training.fusion_recipes import RECIPES
from typer.testing import CliRunner

import flows.commands.predict_file
import hsipipe.inference.inputs
from flows.__main__ import app
from flows.commands.pair_quality import quality_note
from flows.commands.predict_file import predict_file
from hsipipe.degradation.psf import Psf
from hsipipe.degradation.srf import apply_response
from hsipipe.errors import DataError, FileFormatError, HsipipeError, MissingInputError, ModelInputError, ParamsError
from hsipipe.evaluation.fusion_metrics import without_truth
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.georeference import attach, crs_of, transform_of
from hsipipe.inference.pair import MsiFile, check_positions, pair_notes
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.fusion.setup import Pairing
from hsipipe.methods.super_resolver import check_input, check_msi
from hsipipe.params import load_params
from hsipipe.storage.publish import publish
from tasks.running.exits import guarded

SCALE, BANDS, MSI_BANDS = 2, 4, 2
RESPONSE = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
PSF = Psf("average")
UTM = Affine(30, 0, 500000, 0, -30, 4649000)


@dataclass(frozen=True)
class Modulation:
    """Every LR spectrum, brightened by the mean of the HR-MSI over that of its LR pixel."""

    bands: int | None = BANDS
    msi_bands: int | None = MSI_BANDS
    scale: int = SCALE
    nfe: int = 0
    name: str = "modulation"
    psf: Psf | None = PSF
    samples: int = 1

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        del origin
        check_input(lr, bands=self.bands)
        level = check_msi(msi, lr, scale=self.scale, bands=self.msi_bands).mean(axis=1, keepdims=True)
        flat = PSF.downsample(level, self.scale)
        return np.asarray(self._up(lr) * level / self._up(flat), dtype=np.float32)

    def with_samples(self, samples):
        return replace(self, samples=samples)

    def predict_with_spread(self, lr, *, msi=None, origin=(0, 0)):
        sr = self.predict(lr, msi=msi)
        return sr, np.full_like(sr, self.samples / 100)

    def _up(self, image):
        return image.repeat(self.scale, axis=2).repeat(self.scale, axis=3)


@pytest.fixture
def scene():
    """Truth (C, H, W), its LR-HSI and its HR-MSI as cubes with wavelengths and a position."""
    rng = np.random.default_rng(0)
    hr = rng.uniform(0.2, 0.8, (BANDS, 24, 20)).astype(np.float32)
    lr = attach(xr.DataArray(PSF.downsample(hr, SCALE), dims=("band", "y", "x")), crs=32632, transform=UTM)
    lr = lr.assign_coords(wavelength_nm=("band", [400.0, 500.0, 600.0, 700.0]))
    msi = xr.DataArray(apply_response(RESPONSE, hr), dims=("band", "y", "x"))
    return hr, lr, attach(msi, crs=32632, transform=UTM @ Affine.scale(1 / SCALE))


@pytest.fixture
def predict(scene, tmp_path, monkeypatch):
    """``predict(model, msi=cube)`` goes through files and gives what was written."""

    def predict(model, *, lr=None, msi=None, suffix=".nc", samples=None, **msi_options):
        monkeypatch.setattr(flows.commands.predict_file, "load_model", lambda folder: model)
        save_cube(scene[1] if lr is None else lr, tmp_path / f"lr{suffix}")
        file = None
        if msi is not None:
            save_cube(msi, tmp_path / f"msi{suffix}")
            file = MsiFile(tmp_path / f"msi{suffix}", **msi_options)
        options = {"model": "x", "tile": 8, "overlap": 2, "full_scale": 1.0, "samples": samples, "msi": file}
        return predict_file(tmp_path / f"lr{suffix}", tmp_path / f"hr{suffix}", **options)

    return predict


@pytest.mark.parametrize("suffix", [".tif", ".nc", ".zarr"])
def test_a_pair_of_files_is_fused_on_the_grid_of_the_msi(predict, scene, suffix):
    _, lr, msi = scene
    (path,) = predict(Modulation(), msi=msi, suffix=suffix)
    sr = open_cube(path)
    expected = Modulation().predict(lr.to_numpy()[None], msi=msi.to_numpy()[None])[0]
    np.testing.assert_allclose(sr, expected, atol=1e-5)
    np.testing.assert_array_equal(sr["wavelength_nm"], lr["wavelength_nm"])
    assert crs_of(sr).to_epsg() == 32632
    assert transform_of(sr).almost_equals(transform_of(msi))


def test_the_msi_has_a_full_scale_and_a_variable_of_its_own(predict, scene, tmp_path, monkeypatch):
    _, lr, msi = scene
    expected = Modulation().predict(lr.to_numpy()[None], msi=msi.to_numpy()[None])[0]
    (path,) = predict(Modulation(), msi=msi * 10000, full_scale=10000.0)
    np.testing.assert_allclose(open_cube(path), expected, atol=1e-4)
    both = tmp_path / "both.nc"
    plain = {name: cube.drop_vars(["spatial_ref", "y", "x"]) for name, cube in (("fine", msi), ("other", msi * 0 + 1))}
    xr.Dataset(plain).to_netcdf(both)
    options = {"model": "x", "tile": 8, "overlap": 2, "full_scale": 1.0}
    predict_file(tmp_path / "lr.nc", tmp_path / "b.nc", msi=MsiFile(both, variable="fine"), **options)
    np.testing.assert_allclose(open_cube(tmp_path / "b.nc"), expected, atol=1e-4)
    with pytest.raises(FileFormatError, match="fine"):
        predict_file(tmp_path / "lr.nc", tmp_path / "c.nc", msi=MsiFile(both), **options)


def test_a_note_says_what_the_fusion_is_worth(predict, scene, capsys):
    _, lr, msi = scene
    (path,) = predict(Modulation(), msi=msi)
    told = capsys.readouterr().err
    values = without_truth(open_cube(path), lr, msi, scale=SCALE, psf=PSF)
    assert f"D_lambda {values['d_lambda']:.4f} and D_s {values['d_s']:.4f} (0 is best)" in told
    assert f"QNR {values['qnr']:.4f} (1 is best)" in told
    assert told.startswith("note: degraded, the prediction has a PSNR of 1")  # the modulation keeps the means: > 100 dB
    assert told.count("\n") == 1


def test_without_a_psf_the_note_says_how_the_msi_was_reduced(predict, scene, capsys):
    predict(Modulation(psf=None), msi=scene[2])
    told = capsys.readouterr().err
    assert told.startswith("note: D_lambda")
    assert "with a bicubic reduction, since the model knows no PSF" in told


def test_a_note_by_hand(scene):
    hr, lr, msi = (np.asarray(image) for image in scene)
    assert quality_note(hr + np.float32(0.1), lr, msi, scale=SCALE, psf=PSF).startswith(
        "degraded, the prediction has a PSNR of 20.00 dB against the LR-HSI; D_lambda 0.0"
    )


def test_the_samples_of_a_fusion_have_a_spread(predict, scene, tmp_path):
    mean, std = (open_cube(path) for path in predict(Modulation(), msi=scene[2], samples=3))
    np.testing.assert_allclose(std, 0.03, rtol=1e-5)
    assert transform_of(std).almost_equals(transform_of(mean))
    np.testing.assert_array_equal(open_cube(predict(Modulation(), msi=scene[2], samples=1)[0]), mean)


def test_the_spread_does_not_replace_the_msi(tmp_path):
    options = {"model": "x", "tile": 8, "overlap": 2, "full_scale": 1.0, "samples": 2}
    with pytest.raises(ParamsError, match="would replace the input"):
        predict_file(tmp_path / "lr.nc", tmp_path / "a.nc", msi=MsiFile(tmp_path / "a_std.nc"), **options)


def test_a_fusion_model_wants_an_msi_and_a_single_image_model_none(predict, scene):
    with pytest.raises(ParamsError, match=r"modulation fuses the LR-HSI with an HR-MSI of 2 bands, .* --msi FILE"):
        predict(Modulation())
    with pytest.raises(ParamsError, match="with an HR-MSI, but got none"):
        predict(Modulation(msi_bands=None))
    with pytest.raises(ParamsError, match=r"Got --msi .*msi\.nc, but the model bicubic .* omit --msi"):
        predict(Bicubic(SCALE), msi=scene[2])


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (np.s_[:, :-2], "22 x 20 pixels for an LR-HSI of 12 x 10, expected 24 x 20"),
        (np.s_[:, :-1, :-1], "the ratio is 1.917 x 1.9 and must be one whole number"),
        (np.s_[:, :12, :10], "the ratio is 1; take a model of that scale"),
        (np.s_[:1], "Got an HR-MSI of 1 bands, expected 2"),
    ],
)
def test_an_msi_that_does_not_fit_is_refused(predict, scene, tmp_path, cut, message):
    with pytest.raises(ModelInputError, match=message):
        predict(Modulation(), msi=scene[2].drop_vars(["spatial_ref", "y", "x"])[cut], suffix=".npy")
    assert not (tmp_path / "hr.npy").exists()


@pytest.mark.parametrize(
    ("factor", "options", "error", "message"),
    [
        (10000, {}, DataError, r"msi\.nc has values up to .* for example --msi-full-scale 10000"),
        (1, {"full_scale": 0.0}, ParamsError, "--msi-full-scale must be a positive number, got 0"),
        (np.nan, {}, ModelInputError, "960 NaN or Inf values"),
    ],
)
def test_values_that_cannot_be_right_are_refused(predict, scene, factor, options, error, message):
    with pytest.raises(error, match=message):
        predict(Modulation(), msi=scene[2] * factor, **options)


def moved(msi, *, crs=32632, right=0.0, down=0.0, scale=SCALE):
    """The HR-MSI elsewhere, by so many HR pixels."""
    transform = UTM @ Affine.scale(1 / scale) @ Affine.translation(right, down)
    return attach(msi.drop_vars(["spatial_ref", "y", "x"], errors="ignore"), crs=crs, transform=transform)


@pytest.mark.parametrize("place", [{}, {"right": 0.5}, {"right": -0.45, "down": 0.45}])
def test_half_an_hr_pixel_is_no_other_place(scene, place):
    check_positions(scene[1], moved(scene[2], **place))


@pytest.mark.parametrize(
    ("place", "apart"),
    [({"right": 0.6}, "0.6"), ({"down": -3}, "3"), ({"scale": 3}, "12")],
)
@pytest.mark.parametrize("suffix", [".tif", ".nc"])
def test_another_place_is_refused_with_both_extents(predict, scene, place, apart, suffix):
    with pytest.raises(DataError, match=rf"up to {apart} HR pixels apart, expected at most 0\.5\.") as caught:
        predict(Modulation(), msi=moved(scene[2], **place), suffix=suffix)
    for text in (
        "LR-HSI covers x 500000 to 500300 and y 4648640 to 4649000 (EPSG:32632)",
        "gdalwarp -te 500000 4648640 500300 4649000",
        "HR-MSI x 500",
    ):
        assert text in str(caught.value)


def test_rows_that_run_the_other_way_are_another_place(scene):
    with pytest.raises(DataError, match="rows and columns in the same direction"):
        check_positions(scene[1], scene[2][:, ::-1])


def test_another_coordinate_system_is_compared_on_the_ground(scene):
    _, lr, msi = scene
    same = "+proj=utm +zone=32 +datum=WGS84 +units=m +no_defs +type=crs"
    check_positions(lr, moved(msi, crs=same))
    # The zone to the east: the same numbers are another place.
    with pytest.raises(DataError, match=r"\(EPSG:32632\), the HR-MSI .* \(EPSG:32633\).*HR pixels apart"):
        check_positions(lr, moved(msi, crs=32633))


def test_without_a_position_of_both_nothing_is_compared(scene):
    _, lr, msi = scene
    bare = msi.drop_vars(["spatial_ref", "y", "x"])
    check_positions(lr, bare)
    check_positions(lr.drop_vars(["spatial_ref", "y", "x"]), msi)
    check_positions(lr, moved(msi, crs=None, down=7))


def test_nothing_is_said_of_a_pair_that_fits_or_whose_psf_nobody_knows(scene):
    _, lr, msi = (np.asarray(image) for image in scene)
    assert pair_notes(lr, msi, scale=SCALE, psf=PSF, response=RESPONSE) == []
    assert pair_notes(lr, msi[:, ::-1], scale=SCALE, psf=None, response=RESPONSE) == []


def test_what_is_to_be_known_of_a_pair_is_a_warning_before_the_note(predict, scene, capsys, monkeypatch):
    given = {}
    monkeypatch.setattr(
        hsipipe.inference.inputs, "pair_notes", lambda lr, msi, **known: given.update(known) or ["It moved."]
    )
    predict(Modulation(), msi=scene[2])
    assert capsys.readouterr().err.startswith("warning: It moved.\nnote: degraded")
    assert (given["scale"], given["psf"], given["response"]) == (SCALE, PSF, None)


@pytest.fixture
def command(scene, tmp_path, monkeypatch):
    """``command(model, *options)`` runs `hsipipe predict` on files: exit code and its result."""

    def command(model, *options):
        monkeypatch.setattr(flows.commands.predict_file, "load_model", lambda folder: model)
        save_cube(scene[1], tmp_path / "lr.nc")
        save_cube(scene[2] * 100, tmp_path / "msi.nc")
        arguments = ["predict", tmp_path / "lr.nc", tmp_path / "hr.nc", "--model", "x", *options]
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return command


def test_the_command_line_takes_an_msi(command, tmp_path, scene):
    result = command(
        Modulation(), "--msi", tmp_path / "msi.nc", "--msi-full-scale", 100, "--msi-variable", "reflectance"
    )
    if result.exit_code:
        raise result.exception
    assert result.stdout == f"wrote {tmp_path / 'hr.nc'}\n"
    assert "QNR" in result.stderr
    assert open_cube(tmp_path / "hr.nc").shape == (BANDS, 24, 20)


@pytest.mark.parametrize(("model", "options"), [(Modulation(), []), (Bicubic(SCALE), ["--msi", "msi.nc"])])
def test_a_command_that_cannot_be_ends_with_one_line_and_a_code(command, capsys, model, options):
    error = command(model, *options).exception
    assert isinstance(error, HsipipeError)

    def body():
        raise error

    assert guarded(body) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1


def test_a_missing_msi_is_named(command, tmp_path):
    assert isinstance(command(Modulation(), "--msi", tmp_path / "no.nc").exception, MissingInputError)


@pytest.fixture
def params(repository):
    return load_params(repository / "params.yaml")


@pytest.fixture
def fusion(params, tmp_path):
    """An untrained fusion-fast for x2, in a folder; its start is a fusion by itself."""
    pairing = Pairing(BANDS, MSI_BANDS, SCALE, PSF)
    model = RECIPES["fusion-fast"](params).build(pairing, "regression", RESPONSE[::-1], patch=16)
    with publish(tmp_path / "model") as out:
        model.with_sampling(params.sampling).save(out)
    return tmp_path / "model"


def test_sensors_are_estimated_from_the_pair_on_request(fusion, tmp_path, capsys):
    rng = np.random.default_rng(0)
    hr = rng.random((BANDS, 32, 32), np.float32)
    psf = Psf("gaussian", sigma=1.2)
    np.save(tmp_path / "lr.npy", psf.downsample(hr, SCALE))
    np.save(tmp_path / "msi.npy", apply_response(RESPONSE, hr))
    how = {"model": str(fusion), "tile": 64, "overlap": 4, "full_scale": 1.0, "msi": MsiFile(tmp_path / "msi.npy")}
    errors = []
    for name, estimate in (("given", False), ("own", True)):
        predict_file(tmp_path / "lr.npy", tmp_path / f"{name}.npy", estimate_sensors=estimate, **how)
        errors.append(np.square(np.load(tmp_path / f"{name}.npy") - hr).mean())
        said = capsys.readouterr().err
        assert ("estimated from the pair, the PSF is gaussian, sigma 1.2 px" in said) is estimate
        assert ("--estimate-sensors" in said) is not estimate  # the wrong response is seen, and the remedy named
    assert errors[1] < 0.8 * errors[0]
    with pytest.raises(ParamsError, match="--estimate-sensors looks at a pair"):
        predict_file(tmp_path / "lr.npy", tmp_path / "x.npy", estimate_sensors=True, **(how | {"msi": None}))
