import functools
import shutil

import pytest

from hsipipe.artifacts import RawScenes
from hsipipe.datasets.prepare import prepare_scenes


@pytest.fixture(scope="session")
def prepared_scenes(tmp_path_factory, make_params):
    """Prepares the scenes of given parameters once; a test gets a copy."""

    @functools.cache
    def prepared(**changes):
        out = tmp_path_factory.mktemp("raw")
        synthetic = {"scenes": 3, "size": 48, "bands": 6, **changes}
        prepare_scenes(make_params("dataset", synthetic=synthetic), out)
        return out

    return prepared


@pytest.fixture
def make_scenes(tmp_path, prepared_scenes):
    """Prepares synthetic scenes; keyword arguments as in SyntheticParams."""

    def make(**changes):
        return RawScenes(shutil.copytree(prepared_scenes(**changes), tmp_path / "raw"))

    return make
