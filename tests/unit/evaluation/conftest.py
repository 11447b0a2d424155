"""Two small test scenes, and rows that stand for trained models."""

from dataclasses import replace

import numpy as np
import pytest

from hsipipe.artifacts import DegradedPairs, RawScenes
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.bicubic import downsample, upsample
from hsipipe.degradation.pairs import make_pairs
from hsipipe.evaluation.rows import CeilingRow, Row, baseline_row
from hsipipe.protocols import make_protocol

SCALE, BANDS = 4, 13


@pytest.fixture(scope="session")
def frame(make_params):
    """What the scenes are, how they are divided and degraded."""
    return {
        "dataset": make_params("dataset", synthetic={"scenes": 4, "size": 48, "bands": BANDS}),
        "split": make_params("split", by="scene", val=0.2, test=0.5, guard=0),
        "degradation": make_params("degradation", scale=SCALE),
    }


@pytest.fixture(scope="session")
def pairs(tmp_path_factory, frame):
    """Two test scenes, one for training, one for validation: 13 bands, 48 x 48 pixels."""
    raw, out = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("pairs")
    prepare_scenes(frame["dataset"], raw)
    make_pairs(RawScenes(raw), out, split=frame["split"], degradation=frame["degradation"])
    return DegradedPairs(out)


@pytest.fixture
def names(pairs):
    return pairs.names("test")


@pytest.fixture
def pair(pairs, names):
    """The first test scene."""
    return pairs.read("test", names[0])


@pytest.fixture
def protocol(pairs, frame):
    index = pairs.index()
    return make_protocol("default", plan=index["splits"], srf=index["srf"], **frame)


@pytest.fixture
def rows():
    def sharper(seen):
        up = upsample(seen.lr, SCALE)
        return up + upsample(seen.lr - downsample(up, SCALE), SCALE)

    return [
        baseline_row(SCALE),
        CeilingRow("pca-3-ceiling", lambda pair: pair.hr + np.float32(1e-3)),
        CeilingRow("ae-ceiling", lambda pair: pair.hr),
        Row("regression", "control", lambda seen: sharper(seen) + 0.01, 1),
        Row("pca-residual", "control", lambda seen: sharper(seen) - 0.01, 1),
        Row("dmgasr", "model", sharper, 4),
    ]


@pytest.fixture
def sampled_rows(rows):
    """The same rows, with a model whose prediction is the mean of four samples that spread by how rough they are."""
    *others, model = rows

    def spread(seen):
        sr = model.predict(seen)
        return sr, np.abs(sr - upsample(seen.lr, SCALE)) + np.float32(1e-4)

    return [*others, replace(model, samples=4, spread=spread)]
