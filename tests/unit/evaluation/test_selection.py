import numpy as np
import pytest

from hsipipe.artifacts import DegradedPairs
from hsipipe.errors import DataError
from hsipipe.evaluation.selection import validate_models
from hsipipe.methods.bicubic import Bicubic


class Dark(Bicubic):
    """Says that there is nothing to see."""

    def predict(self, lr, *, origin=(0, 0)):
        return np.zeros_like(super().predict(lr, origin=origin))


@pytest.fixture
def sampling(make_params):
    return make_params("sampling", tile=8, overlap=1)


def test_models_are_compared_on_the_validation_scenes_and_on_no_other(pairs, sampling, monkeypatch):
    read = []

    def spy(artifact, split, name):
        read.append(split)
        return real(artifact, split, name)

    real = DegradedPairs.read
    monkeypatch.setattr(DegradedPairs, "read", spy)
    values = validate_models({"dark": Dark(4), "bicubic": Bicubic(4)}, pairs, sampling=sampling)
    assert list(values) == ["dark", "bicubic"]
    assert values["bicubic"] > values["dark"] + 3
    assert set(read) == {"val"}


def test_the_value_is_the_mean_over_scenes_of_the_mpsnr(pairs, sampling):

    truths = [pairs.read("val", name).hr for name in pairs.names("val")]
    expected = np.mean([(-10 * np.log10(np.square(hr).mean(axis=(1, 2)))).mean() for hr in truths])
    assert validate_models({"dark": Dark(4)}, pairs, sampling=sampling)["dark"] == pytest.approx(expected, abs=1e-4)


def test_without_validation_scenes_nothing_is_chosen(pairs, sampling, monkeypatch):
    monkeypatch.setattr(DegradedPairs, "names", lambda *_: [])
    with pytest.raises(DataError, match="no validation scene"):
        validate_models({"bicubic": Bicubic(4)}, pairs, sampling=sampling)
