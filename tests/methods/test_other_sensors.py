"""A model of wavelength windows, from the patches of one sensor to files of other sensors."""

import numpy as np
import pytest
import xarray as xr

import hsipipe
from hsipipe.artifacts import LatentStore
from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.commands.predict_file import predict_file
from hsipipe.errors import DataError, ModelInputError
from hsipipe.formats import open_cube, save_cube
from hsipipe.storage.publish import publish
from hsipipe.training.latents import encode_latents

IRREGULAR = np.array([0.01, 0.05, 0.08, 0.2, 0.27, 0.4, 0.55, 0.6, 0.79, 0.9, 0.97])
"""Band centres of another sensor, as shares of the trained range."""


@pytest.fixture(scope="module")
def centres(store):
    return np.asarray(PatchArrays(store.path / "train.zarr").attrs["wavelength_nm"])


@pytest.fixture(scope="module")
def model(store, make_gae, train, hardware, centres, tmp_path_factory):
    """The folder of a trained model."""
    root = tmp_path_factory.mktemp("windows")
    width = 6.0 * float(centres[1] - centres[0])
    gae, _ = make_gae(root, window_nm=width, global_decoder=False)
    latents = LatentStore(root / "latents")
    with publish(latents.path) as out:
        encode_latents(store, gae, out, hardware=hardware(1))
    return train("dmgasr-latent", root / "method", encoded=(latents, gae)).folder


@pytest.fixture(scope="module")
def lr(store):
    """An image (C, h, w) as the trained sensor sees it."""
    return PatchArrays(store.path / "val.zarr").read([0])["lr"][0].astype(np.float32)


@pytest.fixture
def predict(model, tmp_path):
    """``predict(values, centres)`` goes through files; the result is the cube that was written."""

    def predict(values, centres, suffix="nc"):
        cube = xr.DataArray(values.astype(np.float32), dims=("band", "y", "x"))
        if centres is not None:
            cube = cube.assign_coords(wavelength_nm=("band", np.asarray(centres, dtype=np.float64)))
        save_cube(cube, tmp_path / f"lr.{suffix}")
        files = (tmp_path / f"lr.{suffix}", tmp_path / f"hr.{suffix}")
        predict_file(*files, model=str(model), tile=64, overlap=8, full_scale=1.0)
        return open_cube(files[1])

    return predict


def seen_at(wanted, centres, cube):
    spectra = [np.interp(wanted, centres, spectrum) for spectrum in cube.reshape(len(cube), -1).T]
    return np.stack(spectra, axis=1).reshape(len(wanted), *cube.shape[1:])


@pytest.mark.parametrize("which", ["every second band", "irregular"])
def test_a_cube_of_another_sensor_is_served_by_wavelength_and_a_note_says_so(
    predict, model, lr, capsys, centres, which
):
    low, high = centres[0], centres[-1]
    wanted = centres[::2] if which == "every second band" else low + IRREGULAR * (high - low)
    sr = predict(seen_at(wanted, centres, lr), wanted)
    told = capsys.readouterr().err
    assert f"has {len(wanted)} bands from {wanted[0]:g} to {wanted[-1]:g} nm" in told
    assert f"the model was trained on {len(centres)} from {low:g} to {high:g} nm" in told
    np.testing.assert_allclose(sr["wavelength_nm"], wanted)
    bound = hsipipe.load_model(model).for_wavelengths(wanted)
    np.testing.assert_allclose(sr, bound.predict(seen_at(wanted, centres, lr)[None].astype(np.float32))[0], atol=1e-6)
    # It does what the model does for its own sensor: the same scene, seen by other bands.
    whole = hsipipe.load_model(model).predict(lr[None])[0]
    assert np.abs(sr.values - seen_at(wanted, centres, whole)).mean() < 0.01 * np.abs(whole).mean()


@pytest.mark.parametrize("shift", [0.0, 0.02, None], ids=["the same", "other digits", "unknown"])
def test_the_trained_sensor_is_served_and_only_unknown_bands_are_noted(predict, model, lr, capsys, centres, shift):
    sr = predict(lr, None if shift is None else centres + shift)
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")]
    assert len(notes) == (shift is None)
    assert all("the cube states no wavelengths; the model was trained on 12 bands from" in note for note in notes)
    np.testing.assert_allclose(sr, hsipipe.load_model(model).predict(lr[None])[0], atol=1e-6)


def test_another_count_without_wavelengths_is_refused(predict, lr):
    with pytest.raises(ModelInputError, match=r"has 6 bands, .* trained on 12; give the cube its wavelengths"):
        predict(lr[::2], None, suffix="npy")


def test_bands_beyond_the_trained_range_are_named(predict, lr, centres):
    with pytest.raises(ModelInputError, match=r"trained on .* nm.*bands 11 to 12"):
        predict(lr, centres + 0.2 * (centres[-1] - centres[0]))


def test_centres_that_fall_back_are_refused(predict, lr, centres):
    with pytest.raises(DataError, match=r"band 2 \(.* nm\) follows"):
        predict(lr, centres[::-1])
