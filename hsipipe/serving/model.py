"""The model in service: pinned to a version, and replaced by another one only after that has shown what it can do."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import numpy as np

from hsipipe.errors import ModelInputError
from hsipipe.inference.inputs import OVERLAP, TILE
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.base import SuperResolver
from hsipipe.progress import without_progress
from hsipipe.serving.failures import one_line

logger = logging.getLogger(__name__)

_EDGE = 8
"""LR pixels of the edge of a trial, and its bands where a model takes any."""
_MSI_BANDS = 3


class Pinned(NamedTuple):
    """Which model it is; no alias moves it any more.

    Attributes:
        name: Of the model.
        version: Its number, or what stands for it.
        uri: Where it is loaded from.
        sha256: Digest of its folder.
    """

    name: str
    version: str
    uri: str
    sha256: str


class ModelSource(Protocol):
    """Where models come from."""

    def resolve(self) -> Pinned:
        """Which model is wanted now.

        Raises:
            HsipipeError: There is none.
        """

    def load(self, pinned: Pinned) -> SuperResolver:
        """Load it, after its bytes were compared with its digest.

        Raises:
            HsipipeError: It is missing or not what it should be.
        """


@dataclass(frozen=True)
class Loaded:
    """A model that predicts, and since when it is in service (UTC)."""

    pinned: Pinned
    model: SuperResolver
    since: str


@dataclass(frozen=True)
class FailedSwitch:
    """Why a switch failed, and when (UTC)."""

    at: str
    error: str


class ModelInService:
    """The one model that predicts; switching is one assignment, so a request sees the old one or the new one.

    Args:
        source: Where models come from.
        switched: Called with the new model after a switch.

    Raises:
        HsipipeError: The first model cannot be loaded, or does not predict.
    """

    def __init__(self, source: ModelSource, *, switched: Callable[[Loaded], None] = lambda loaded: None) -> None:
        self._source, self._switched = source, switched
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="model-loader")
        self._lock = threading.Lock()
        self._asked = 0
        self.failed: FailedSwitch | None = None
        self.current = self._load(source.resolve())
        switched(self.current)

    def refresh(self) -> bool:
        """Ask for the model that is wanted now; it is loaded in the background.

        Returns:
            False where a switch is going on and another one is waiting already.
        """
        with self._lock:
            if self._asked >= 2:
                return False
            self._asked += 1
        self._loader.submit(self._refresh)
        return True

    @property
    def is_switching(self) -> bool:
        """Whether a model is being loaded."""
        return self._asked > 0

    def close(self) -> None:
        """Load no more."""
        self._loader.shutdown(wait=False, cancel_futures=True)

    def _refresh(self) -> None:
        wanted = None
        try:
            wanted = self._source.resolve()
            if wanted == self.current.pinned:
                return
            self.current = self._load(wanted)
            self._switched(self.current)
            logger.info("now in service: %s", describe(wanted))
        except Exception as error:  # whatever it is, the old model stays
            message = one_line(str(error) or type(error).__name__)
            self.failed = FailedSwitch(now(), message)
            what = "the model" if wanted is None else describe(wanted)
            logger.warning("%s cannot be put in service, %s stays: %s", what, describe(self.current.pinned), message)
        finally:
            with self._lock:
                self._asked -= 1

    def _load(self, pinned: Pinned) -> Loaded:
        model = self._source.load(pinned)
        try_out(model)
        return Loaded(pinned, model, now())


def try_out(model: SuperResolver) -> None:
    """Predict something small.

    Raises:
        ModelInputError: The result has another shape than it should, or NaN.
        Exception: Whatever the model raises.
    """
    rng = np.random.default_rng(0)
    lr = rng.random((model.bands or _EDGE, _EDGE, _EDGE), dtype=np.float32)
    fine = _EDGE * model.scale
    msi = None
    if model.msi_bands != 0:
        msi = rng.random((model.msi_bands or _MSI_BANDS, fine, fine), dtype=np.float32)
    with without_progress():
        sr = predict_scene(model, lr, tile=TILE, overlap=OVERLAP, msi=msi)
    if sr.shape != (len(lr), fine, fine) or not np.isfinite(sr).all():
        raise ModelInputError(
            f"The model {model.name} makes {sr.shape} of {lr.shape}, or NaN, expected finite {(len(lr), fine, fine)}; "
            "train it again."
        )


def describe(pinned: Pinned) -> str:
    """A version in words."""
    return f"{pinned.name} version {pinned.version}"


def now() -> str:
    """The time (UTC), to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
