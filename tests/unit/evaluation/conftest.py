"""Two small test scenes, methods that stand for trained ones, and their scores."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from samplers import Spreads

from hsipipe.artifacts import DegradedPairs, RawScenes
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.bicubic import downsample, upsample
from hsipipe.degradation.pairs import make_pairs
from hsipipe.evaluation.comparison import RowScores, compare_scores
from hsipipe.evaluation.score_method import score_method
from hsipipe.methods.base import Trainable
from hsipipe.methods.bicubic import Bicubic
from hsipipe.protocols import make_protocol

SCALE, BANDS = 4, 13


@dataclass(frozen=True)
class Net(Spreads, Bicubic, Trainable):
    """A sharper interpolation with an offset, in the place of a trained network."""

    WHOLE_SCENE: ClassVar[bool] = False
    offset: float = 0.0
    evaluations: int = 1
    bounds: bool = False
    varied: bool = False

    @property
    def nfe(self):
        return self.evaluations

    @property
    def components(self):
        return 3 if self.bounds else None

    def ceilings(self):
        return {"ae-ceiling": lambda lr, msi, hr: hr} if self.bounds else {}

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        up = super().predict(lr, msi=msi, origin=origin)
        low = np.stack([downsample(image, self.scale) for image in up])
        return up + super().predict((lr - low).astype(np.float32)) + np.float32(self.offset)

    @property
    def varies(self):
        return self.varied

    def draw(self, lr, *, count, msi=None, origin=(0, 0)):
        """The spread is how rough the prediction is."""
        sr = self.predict(lr, msi=msi)
        rough = np.abs(sr - upsample(lr, self.scale)) + np.float32(1e-4)
        for number in range(count):
            yield sr + rough * np.random.default_rng(number).normal(size=sr.shape).astype(np.float32)

    def loss(self, network, batch, draws):
        raise NotImplementedError


@dataclass(frozen=True)
class Pair(Net):
    """The same of a pair, without a use for the HR-MSI."""

    FUSES: ClassVar[bool] = True

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        assert msi.shape[2:] == tuple(self.scale * size for size in lr.shape[2:])
        return super().predict(lr)


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


@pytest.fixture(scope="session")
def protocol(pairs, frame):
    index = pairs.index()
    return make_protocol("default", plan=index["splits"], srf=index["srf"], **frame)


@pytest.fixture(scope="session")
def sampling(make_params):
    return make_params("sampling")


@pytest.fixture(scope="session")
def net():
    """A method that counts as trained: ``net(offset=0.01)``; with ``fuses=True`` one of a pair."""

    def net(*, fuses=False, **values):
        return (Pair if fuses else Net)(SCALE, **values)

    return net


@pytest.fixture(scope="session")
def methods(net):
    """Rows by their name."""
    return {
        "bicubic": Bicubic(SCALE),
        "pca-residual": net(offset=-0.01),
        "dmgasr": net(evaluations=4, bounds=True),
        "dmgasr-regression": net(offset=0.01, bounds=True),
    }


@pytest.fixture(scope="session")
def scored(pairs, protocol, sampling, tmp_path_factory):
    """Scores a method: the folder, and the tree of its scores.json."""

    def scored(method, row="dmgasr", *, of=pairs, frame=protocol):
        folder = tmp_path_factory.mktemp("scores")
        return folder, score_method(method, of, folder, row=row, sha256="0" * 64, protocol=frame, sampling=sampling)

    return scored


@pytest.fixture(scope="session")
def all_scores(methods, scored):
    """The scores of all rows, made once."""
    return {name: scored(method, name) for name, method in methods.items()}


@pytest.fixture
def folders(all_scores):
    """Folder of the scores of each row."""
    return {name: folder for name, (folder, _) in all_scores.items()}


@pytest.fixture
def metrics(all_scores):
    """The tree of metrics.json of all rows."""
    return compare_scores([RowScores(name, [tree]) for name, (_, tree) in all_scores.items()])
