"""Pin the model in service to a version; switch to another version only after a trial prediction."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import numpy as np

from hsipipe.errors import ModelInputError, one_line
from hsipipe.inference.inputs import OVERLAP, TILE
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.progress import without_progress

logger = logging.getLogger(__name__)

_EDGE = 8
"""Edge of the trial cube in LR pixels, and its bands for a model without a fixed number."""
_MSI_BANDS = 3


class Pinned(NamedTuple):
    """A model version, resolved from an alias or a folder.

    Attributes:
        name: Name of the model.
        version: Version number, or the start of the digest.
        uri: URI or folder.
        sha256: Digest of the folder.
    """

    name: str
    version: str
    uri: str
    sha256: str


class ModelSource(Protocol):
    """Source of models: a registry or a folder."""

    def resolve(self) -> Pinned:
        """Resolve the wanted version.

        Raises:
            HsipipeError: No such version exists.
        """

    def load(self, pinned: Pinned) -> SuperResolver:
        """Load a version, and verify its digest.

        Raises:
            HsipipeError: The version is missing or differs from its digest.
        """


@dataclass(frozen=True)
class Loaded:
    """A loaded model and the start of its service (UTC)."""

    pinned: Pinned
    model: SuperResolver
    since: str


@dataclass(frozen=True)
class FailedSwitch:
    """Time (UTC) and error of a failed switch."""

    at: str
    error: str


class ModelInService:
    """Hold the model in service. A switch is one assignment: a request sees the old model or the new one.

    Args:
        source: Source of models.
        switched: Called with the new model after a switch.

    Raises:
        HsipipeError: The first model cannot be loaded, or fails its trial.
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
        """Load the wanted version in the background.

        Returns:
            False where one switch is running and another is queued.
        """
        with self._lock:
            if self._asked >= 2:
                return False
            self._asked += 1
        self._loader.submit(self._refresh)
        return True

    @property
    def is_switching(self) -> bool:
        """True while a model is being loaded."""
        return self._asked > 0

    def close(self) -> None:
        """Stop loading models."""
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
        except Exception as error:  # any failure keeps the old model in service
            message = one_line(error)
            self.failed = FailedSwitch(now(), message)
            name = "the model" if wanted is None else describe(wanted)
            logger.warning("%s cannot be put in service, %s stays: %s", name, describe(self.current.pinned), message)
        finally:
            with self._lock:
                self._asked -= 1

    def _load(self, pinned: Pinned) -> Loaded:
        model = self._source.load(pinned)
        try_out(model)
        return Loaded(pinned, model, now())


def try_out(model: SuperResolver) -> None:
    """Predict a tiny random cube.

    Raises:
        ModelInputError: The result has a wrong shape or NaN.
        Exception: Any error of the model.
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
            f"The model {model.name} predicts {sr.shape} from {lr.shape} or NaN, expected finite values of shape "
            f"{(len(lr), fine, fine)}; train it again."
        )


def describe(pinned: Pinned) -> str:
    """Return name and version for messages."""
    return f"{pinned.name} version {pinned.version}"


def now() -> str:
    """Return the time (UTC), to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
