import pytest

from hsipipe.artifacts import DegradedPairs, RawScenes
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.pairs import make_pairs
from hsipipe.params import PatchesParams
from hsipipe.patches.extract import extract_patches


@pytest.fixture(scope="session")
def build_pairs(tmp_path_factory, make_params):
    """A function that makes pairs of synthetic scenes of six bands, with changes to split and degradation."""

    def build(*, scenes, size, split=None, degradation=None):
        folder = tmp_path_factory.mktemp("pairs")
        raw, out = folder / "raw", folder / "pairs"
        raw.mkdir()
        out.mkdir()
        synthetic = {"scenes": scenes, "size": size, "bands": 6, "seed": 0}
        prepare_scenes(make_params("dataset", synthetic=synthetic), raw)
        split, degradation = make_params("split", **(split or {})), make_params("degradation", **(degradation or {}))
        make_pairs(RawScenes(raw), out, split=split, degradation=degradation)
        return DegradedPairs(out)

    return build


@pytest.fixture(scope="session")
def pairs(build_pairs):
    """Pairs of four scenes of 48 x 48 pixels, two of them for training; read only."""
    return build_pairs(scenes=4, size=48, split={"by": "scene", "val": 0.2, "test": 0.2})


@pytest.fixture
def store(tmp_path, pairs):
    """The training patches of the pairs: 18 of 16 x 16 pixels in shards of five."""
    extract_patches(pairs, tmp_path, patches=PatchesParams(size=16, stride=16, shard=5, least_valid=0.5))
    return tmp_path / "train.zarr"
