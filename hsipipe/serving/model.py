"""Pin the model in service to a version; switch to another version only after a trial prediction."""

import logging
import threading
import time
from collections.abc import Callable
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
_MOST_HUNG = 3
"""Most abandoned switches whose threads still run; Python cannot end a thread."""
_CLOSE_S = 2.0
"""Longest time in s that the shutdown waits for a switch."""


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
        load_s: Seconds to look up, load and try another version; a switch that takes longer is abandoned.
        switched: Called with the new model after a switch.

    Raises:
        HsipipeError: The first model cannot be loaded, or fails its trial.
    """

    def __init__(
        self, source: ModelSource, *, load_s: float, switched: Callable[[Loaded], None] = lambda loaded: None
    ) -> None:
        self._source, self._load_s, self._switched = source, load_s, switched
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._asked, self._is_closed = 0, False
        self._loaders: list[threading.Thread] = []
        self.failed: FailedSwitch | None = None
        self.current = _load(source, source.resolve())
        switched(self.current)

    def refresh(self) -> bool:
        """Load the wanted version in the background.

        Returns:
            False where one switch is running and another is queued, or after :meth:`close`.
        """
        with self._lock:
            if self._is_closed or self._asked >= 2:
                return False
            self._asked += 1
        # Daemon threads: a registry that hangs must not keep the process from its end.
        threading.Thread(target=self._refresh, name="model-switch", daemon=True).start()
        return True

    @property
    def is_switching(self) -> bool:
        """True while a model is being loaded."""
        return self._asked > 0

    @property
    def is_hanging(self) -> bool:
        """True while a model is being loaded or an abandoned switch still runs."""
        return any(loader.is_alive() for loader in self._loaders)

    def close(self) -> None:
        """Stop switching; wait a moment for a switch in progress."""
        self._is_closed = True
        until = time.monotonic() + _CLOSE_S
        for loader in list(self._loaders):
            loader.join(max(0.0, until - time.monotonic()))

    def _refresh(self) -> None:
        try:
            with self._turn:
                if not self._is_closed:
                    self._switch()
        finally:
            with self._lock:
                self._asked -= 1

    def _switch(self) -> None:
        attempt = _Attempt(self._source, self.current.pinned)
        error = self._run(attempt)
        if self._is_closed:
            return
        if error is not None:  # any failure keeps the old model in service
            self.failed = FailedSwitch(now(), error)
            name = "the model" if attempt.wanted is None else describe(attempt.wanted)
            logger.warning("%s cannot be put in service, %s stays: %s", name, describe(self.current.pinned), error)
        elif attempt.loaded is not None:
            self.current = attempt.loaded
            self._switched(self.current)
            logger.info("now in service: %s", describe(self.current.pinned))

    def _run(self, attempt: "_Attempt") -> str | None:
        """Run an attempt within its time; return its error."""
        self._loaders = [loader for loader in self._loaders if loader.is_alive()]
        if len(self._loaders) >= _MOST_HUNG:
            return f"{len(self._loaders)} earlier switches still hang; check the registry, or restart the server."
        loader = threading.Thread(target=attempt.run, name="model-loader", daemon=True)
        self._loaders.append(loader)
        loader.start()
        loader.join(self._load_s)
        if loader.is_alive():
            return f"not loaded within {self._load_s:g} s; check the registry."
        return attempt.error


class _Attempt:
    """Look up and load the wanted version. The caller may abandon the thread, so only the caller switches."""

    def __init__(self, source: ModelSource, current: Pinned) -> None:
        self._source, self._current = source, current
        self.wanted: Pinned | None = None
        self.loaded: Loaded | None = None
        self.error: str | None = None

    def run(self) -> None:
        """Set `loaded` if another version is wanted, and `error` on any failure."""
        try:
            wanted = self._source.resolve()
            if not isinstance(wanted, Pinned):
                raise ModelInputError(f"Got {wanted!r} from the registry, expected a model version.")
            self.wanted = wanted
            if wanted != self._current:
                self.loaded = _load(self._source, wanted)
        except BaseException as error:  # a library may raise SystemExit
            self.error = one_line(error)


def _load(source: ModelSource, pinned: Pinned) -> Loaded:
    model = source.load(pinned)
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
