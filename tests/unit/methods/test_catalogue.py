"""The catalogue, and loading a model without MLflow: nothing is built from bytes that were not verified."""

import numpy as np
import pytest
import torch

import hsipipe
from hsipipe.errors import IntegrityError, MissingInputError
from hsipipe.methods.base import Frame
from hsipipe.methods.catalogue import autoencoders, entries, gae_settings, kinds, method_settings, methods
from hsipipe.methods.pca_residual import PcaResidual
from hsipipe.storage.manifest import digest
from hsipipe.storage.publish import publish


@pytest.fixture
def folder(settings_of, tmp_path):
    torch.manual_seed(0)
    settings = settings_of("pca-residual", components=3, width=4, blocks=1)
    with publish(tmp_path / "model") as out:
        PcaResidual(Frame(5, 2), settings).save(out)
    return tmp_path / "model"


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_folder_with_the_expected_digest_is_loaded(folder):
    lr = np.random.default_rng(0).random((1, 5, 4, 4), dtype=np.float32)
    expected = PcaResidual.load(folder).predict(lr)
    np.testing.assert_array_equal(hsipipe.load_model(folder, sha256=digest(folder)).predict(lr), expected)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_flipped_byte_is_refused(folder, name):
    # The last byte of the configuration is a line feed: JSON would not mind another one.
    if name == "config.json":
        (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b" ")
    else:
        flip(folder / name)
    with pytest.raises(IntegrityError, match=rf"{name} has sha256"):
        hsipipe.load_model(folder)


def test_a_folder_without_a_manifest_is_refused(folder):
    (folder / "MANIFEST.json").unlink()
    with pytest.raises(MissingInputError, match=r"No MANIFEST\.json"):
        hsipipe.load_model(folder)


def test_another_digest_is_refused(folder):
    with pytest.raises(IntegrityError, match=r"has the digest [0-9a-f]{64}, expected 00"):
        hsipipe.load_model(folder, sha256="00")


def test_every_entry_has_settings_a_class_in_its_code_and_an_autoencoder_that_exists(params, repository):
    for name, entry in entries().items():
        kind = methods()[name]
        assert isinstance(method_settings(params, name), kind.Settings)
        code, module = repository / entry.code, repository / f"{kind.__module__.replace('.', '/')}.py"
        assert module == code or code in module.parents, name
        assert (entry.fuses, kinds()[kind.KIND]) == (kind.FUSES, kind)
        assert entry.autoencoder is None or entry.autoencoder in autoencoders()
        assert entry.mean is None or (entry.mean in entries() and entries()[entry.mean].takes == entry.takes)
    for name in autoencoders():
        gae_settings(params, name)
    assert set(params.methods) == set(entries())
    assert set(params.gae) == set(autoencoders())


def test_no_method_takes_the_folder_of_another_artifact():
    """Models lie in models/<method>, beside models/gae and models/superresolver."""
    assert not {"gae", "superresolver"} & set(entries())
