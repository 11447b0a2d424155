from types import SimpleNamespace

import pytest

from hsipipe.methods.catalogue import gae_settings, method_settings
from hsipipe.params import load_params


@pytest.fixture(scope="session")
def params(repository):
    """The groups of params.yaml, with the settings of the standard autoencoder and of dmgasr in their place."""
    known = load_params(repository / "params.yaml")
    groups = {name: getattr(known, name) for name in type(known).model_fields}
    return SimpleNamespace(
        **{**groups, "gae": gae_settings(known, "standard"), "diffusion": method_settings(known, "dmgasr")}
    )
