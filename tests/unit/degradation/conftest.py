import pytest

from hsipipe.artifacts import RawScenes
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.params import DatasetParams


@pytest.fixture
def make_scenes(tmp_path):
    """Prepares synthetic scenes; keyword arguments as in SyntheticParams."""

    def make(**changes):
        out = tmp_path / "raw"
        out.mkdir()
        synthetic = {"scenes": 3, "size": 48, "bands": 6, "seed": 0, **changes}
        tree = {"name": "synthetic", "root": None, "synthetic": synthetic}
        prepare_scenes(DatasetParams.model_validate(tree), out)
        return RawScenes(out)

    return make
