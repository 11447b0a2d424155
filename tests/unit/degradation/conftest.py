import pytest

from hsipipe.artifacts import RawScenes
from hsipipe.datasets.prepare import prepare_scenes


@pytest.fixture
def make_scenes(tmp_path, make_params):
    """Prepares synthetic scenes; keyword arguments as in SyntheticParams."""

    def make(**changes):
        out = tmp_path / "raw"
        out.mkdir()
        synthetic = {"scenes": 3, "size": 48, "bands": 6, **changes}
        prepare_scenes(make_params("dataset", synthetic=synthetic), out)
        return RawScenes(out)

    return make
