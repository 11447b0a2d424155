import pytest

from hsipipe.methods.catalogue import gae_settings, method_settings
from hsipipe.params import GaeParams, Params, load_params


@pytest.fixture(scope="session")
def params(repository) -> Params:
    return load_params(repository / "params.yaml")


@pytest.fixture(scope="session")
def gae_params(params) -> GaeParams:
    """The settings of the first autoencoder."""
    return gae_settings(params, "standard")


@pytest.fixture(scope="session")
def settings_of(params):
    """A function that gives the settings of a method in params.yaml with some of them changed."""

    def settings(name, **changes):
        found = method_settings(params, name)
        return found.model_validate(_changed(found.model_dump(), changes))

    return settings


def _changed(tree, changes):
    return tree | {key: _changed(tree[key], new) if isinstance(new, dict) else new for key, new in changes.items()}
