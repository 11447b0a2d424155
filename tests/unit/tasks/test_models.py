"""The registry, with a small model that was never trained."""

import numpy as np
import pytest

from hsipipe.errors import IntegrityError, MissingInputError
from hsipipe.models.dmgasr import Dmgasr, LatentNet
from hsipipe.models.gae import GroupAutoencoder
from hsipipe.models.unet import Unet
from hsipipe.params import load_params
from hsipipe.storage.publish import publish
from tasks.ledger import SWEEP_RUN, set_params
from tasks.tracking import load_registered, register_model, registered_uri
from tasks.tracking.runs import stage_run
from tasks.tracking.store import connect

# MLflow warns of the annotations of its own classes when log_model imports them for the first time.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")

BANDS = 8
NAME = "hsipipe-synthetic-x4"
SMALL = ("gae.n_subs=4", "gae.n_ovls=1", "gae.width=8", "gae.global_width=8", "diffusion.unet.width=8")


def make_model(root, folder, *, steps):
    """A model in `folder`; another number of sampling steps is another content."""
    params = set_params(root, [*SMALL, f"sampling.steps={steps}"])
    diffusion = params.diffusion
    net = LatentNet(
        Unet(params.gae.latent_channels, diffusion.unet, patch=16),
        objective="diffusion",
        schedule=diffusion.schedule,
        steps=diffusion.steps,
        space=diffusion.space,
        target=diffusion.target,
        scale_input=diffusion.scale_input,
        scale=4,
    )
    with publish(folder) as out:
        Dmgasr(GroupAutoencoder(BANDS, params.gae), net, sampling=params.sampling).save(out)
    return folder


def register(root, folder):
    params = load_params(root / "params.yaml")
    with stage_run(root, "register", params=params, visible={}, digests={}) as tracker:
        version = register_model(root, folder, tracker=tracker, bands=BANDS, tags={"mpsnr_db": 30.0})
    assert tracker.client.get_run(tracker.run_id).info.status == "FINISHED"
    return version


@pytest.fixture
def registered(root, tmp_path):
    folder = make_model(root, tmp_path / "superresolver", steps=1)
    return folder, register(root, folder)


def test_what_was_registered_is_loaded(root, registered):
    folder, version = registered
    assert version == 1
    assert registered_uri(root, NAME) == f"models:/{NAME}@challenger"
    lr = np.random.default_rng(0).random((1, BANDS, 4, 4), dtype=np.float32)
    expected = Dmgasr.load(folder).predict(lr)
    for uri in (f"models:/{NAME}@challenger", f"models:/{NAME}/1"):
        np.testing.assert_array_equal(load_registered(root, uri).predict(lr), expected)


def test_the_same_content_is_registered_once_and_other_content_moves_the_alias(root, registered, tmp_path):
    folder, first = registered
    assert register(root, folder) == first
    assert register(root, make_model(root, tmp_path / "b" / "superresolver", steps=2)) == 2
    client = connect(root)
    assert int(client.get_model_version_by_alias(NAME, "challenger").version) == 2
    assert register(root, folder) == first
    assert int(client.get_model_version_by_alias(NAME, "challenger").version) == 1


def test_the_points_of_a_sweep_are_not_registered(root, tmp_path, monkeypatch):
    monkeypatch.setenv(SWEEP_RUN, "run-7")
    assert register(root, make_model(root, tmp_path / "superresolver", steps=1)) is None
    assert registered_uri(root, NAME) is None


def test_a_model_whose_bytes_changed_is_refused(root, registered):
    (weights,) = (root / "mlartifacts").rglob("model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"model\.safetensors has sha256"):
        load_registered(root, f"models:/{NAME}@challenger")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models:/nothing@challenger", f"Registered models: {NAME}"),
        (f"models:/{NAME}@champion", "champion"),
        (f"models:/{NAME}/7", "7"),
        ("models:/nonsense", "expected models:/<name>@<alias>"),
    ],
)
def test_a_model_that_is_not_there_is_named(root, registered, uri, message):
    with pytest.raises(MissingInputError, match=message):
        load_registered(root, uri)


def test_an_empty_registry_has_no_uri(root):
    assert registered_uri(root, NAME) is None
