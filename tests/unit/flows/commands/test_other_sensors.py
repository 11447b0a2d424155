"""A model trained on one sensor, from its patches to files of other sensors."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hsipipe.training.diffusion import train_diffusion
from hsipipe.training.gae import train_gae

import hsipipe
from flows.commands.predict_file import predict_file
from hsipipe.artifacts import DegradedPairs, DiffusionCheckpoint, GaeCheckpoint, LatentStore, PatchStore, RawScenes
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.pairs import make_pairs
from hsipipe.errors import DataError, ModelInputError
from hsipipe.formats import open_cube, save_cube
from hsipipe.methods.dmgasr.method import Dmgasr
from hsipipe.params import Params, load_params
from hsipipe.patches.extract import extract_patches
from hsipipe.storage.publish import publish
from hsipipe.training.latents import encode_latents

CENTRES = np.linspace(400.0, 1000.0, 21)
IRREGULAR = np.array([402.0, 431.0, 447.0, 489.0, 515.0, 560.0, 640.0, 700.0, 733.0, 790.0, 860.0, 915.0, 970.0, 994.0])


@pytest.fixture(scope="module")
def params() -> Params:
    tree = load_params(Path(__file__).parents[4] / "params.yaml").model_dump()
    quick = {"steps": 6, "batch": 2, "warmup": 1, "validate_every": 3, "save_every": 3}
    tree["dataset"]["synthetic"] |= {"scenes": 4, "size": 48, "bands": len(CENTRES)}
    tree["patches"] |= {"size": 16, "stride": 16, "shard": 4}
    tree["gae"] |= {"n_subs": 6, "n_ovls": 2, "width": 8, "window_nm": 180.0, "global_decoder": False}
    tree["gae"]["optimizer"] |= quick
    tree["diffusion"]["unet"]["width"] = 8
    tree["diffusion"]["optimizer"] |= quick
    tree["hardware"]["accelerator"] = "cpu"
    return Params.model_validate(tree)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def lr(params, root):
    """A test scene as the trained sensor sees it (C, h, w)."""
    with publish(RawScenes.in_project(root).path) as out:
        prepare_scenes(params.dataset, out)
    pairs = DegradedPairs.in_project(root)
    with publish(pairs.path) as out:
        make_pairs(RawScenes.in_project(root), out, split=params.split, degradation=params.degradation)
    with publish(PatchStore.in_project(root).path) as out:
        extract_patches(pairs, out, patches=params.patches)
    return pairs.read("test", pairs.names("test")[0]).lr


@pytest.fixture(scope="module")
def model(params, root, lr):
    """The folder of a trained model."""
    patches, gae = PatchStore.in_project(root), GaeCheckpoint.in_project(root)
    latents, net = LatentStore.in_project(root), DiffusionCheckpoint.in_project(root)
    common = {"hardware": params.hardware, "log": lambda step, metrics: None}
    with publish(gae.path) as out:
        train_gae(patches, out, gae=params.gae, work=_folder(root / "work-gae"), **common)
    with publish(latents.path) as out:
        encode_latents(patches, gae, out, hardware=params.hardware)
    with publish(net.path) as out:
        work = _folder(root / "work-net")
        train_diffusion(patches, gae, latents, out, diffusion=params.diffusion, work=work, **common)
    with publish(root / "model") as out:
        Dmgasr.from_checkpoints(gae, net, sampling=params.sampling).save(out)
    return root / "model"


def _folder(path):
    path.mkdir()
    return path


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


def seen_at(centres, lr):
    return np.stack([np.interp(centres, CENTRES, spectrum) for spectrum in lr.reshape(len(lr), -1).T], axis=1).reshape(
        len(centres), *lr.shape[1:]
    )


@pytest.mark.parametrize("centres", [CENTRES[::2], IRREGULAR], ids=["every second band", "irregular"])
def test_a_cube_of_another_sensor_is_served_by_wavelength_and_a_note_says_so(predict, model, lr, capsys, centres):
    sr = predict(seen_at(centres, lr), centres)
    told = capsys.readouterr().err
    assert f"has {len(centres)} bands from {centres[0]:g} to {centres[-1]:g} nm" in told
    assert "the model was trained on 21 from 400 to 1000 nm" in told
    np.testing.assert_array_equal(sr["wavelength_nm"], centres)
    bound = hsipipe.load_model(model).for_wavelengths(centres)
    np.testing.assert_allclose(sr, bound.predict(seen_at(centres, lr)[None].astype(np.float32))[0], atol=1e-6)
    # It does what the trained sensor's model does: the same scene, seen by other bands.
    whole = hsipipe.load_model(model).predict(lr[None])[0]
    assert np.abs(sr.values - seen_at(centres, whole)).mean() < 0.01 * np.abs(whole).mean()


@pytest.mark.parametrize("centres", [CENTRES, CENTRES + 0.02, None], ids=["the same", "other digits", "unknown"])
def test_the_trained_sensor_is_served_without_a_note(predict, model, lr, capsys, centres):
    sr = predict(lr, centres)
    assert capsys.readouterr().err == ""
    np.testing.assert_allclose(sr, hsipipe.load_model(model).predict(lr[None])[0], atol=1e-6)


def test_another_count_without_wavelengths_is_refused(predict, lr):
    with pytest.raises(ModelInputError, match=r"Got 11 bands .*expected 21; give the cube its wavelengths"):
        predict(lr[::2], None, suffix="npy")


def test_bands_beyond_the_trained_range_are_named(predict, lr):
    with pytest.raises(ModelInputError, match=r"trained on 385 to 1015 nm.*bands 18 to 21 \(1020 to 1110 nm\)"):
        predict(lr, CENTRES + 110.0)


def test_centres_that_fall_back_are_refused(predict, lr):
    with pytest.raises(DataError, match=r"band 2 \(970 nm\) follows 1000 nm"):
        predict(lr, CENTRES[::-1])
