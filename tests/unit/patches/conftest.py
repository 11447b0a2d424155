import pytest

from hsipipe.artifacts import DegradedPairs, RawScenes
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.pairs import make_pairs
from hsipipe.params import DatasetParams, DegradationParams, SplitParams


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    """Pairs of four scenes of 48 x 48 pixels, two of them for training; read only."""
    folder = tmp_path_factory.mktemp("pairs")
    raw, out = folder / "raw", folder / "pairs"
    raw.mkdir()
    out.mkdir()
    synthetic = {"scenes": 4, "size": 48, "bands": 6, "seed": 0}
    prepare_scenes(DatasetParams.model_validate({"name": "synthetic", "root": None, "synthetic": synthetic}), raw)
    split = {"by": "scene", "val": 0.2, "test": 0.2, "test_scenes": [], "val_scenes": [], "guard": 4, "seed": 0}
    degradation = {"scale": 4, "crop_remainder": False, "srf": "rgb"}
    make_pairs(
        RawScenes(raw),
        out,
        split=SplitParams.model_validate(split),
        degradation=DegradationParams.model_validate(degradation),
    )
    return DegradedPairs(out)
