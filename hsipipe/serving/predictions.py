"""Run a bounded number of predictions in threads, and queue a bounded number."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, cast

from hsipipe.progress import without_progress
from hsipipe.serving.failures import ClientGoneError, RequestError
from hsipipe.serving.limits import LARGER, Limits

T = TypeVar("T")
Tick = Callable[[], None]
_STUCK = 2.0
"""A worker past this multiple of the time limit is stuck; Python cannot end a thread."""


class _StoppedError(Exception):
    """The prediction was cancelled."""


class Predictions:
    """Worker threads of a server.

    Args:
        limits: Limits of the server.
        changed: Called with the number of running and queued predictions.
    """

    def __init__(self, limits: Limits, *, changed: Callable[[int], None] = lambda pending: None) -> None:
        self._limits, self._changed = limits, changed
        self._pool = ThreadPoolExecutor(limits.workers, thread_name_prefix="prediction")
        self._lock = threading.Lock()
        self._pending = 0
        self._begun: dict[int, float] = {}
        self._stops: set[threading.Event] = set()

    def check_free(self) -> None:
        """Check for a free place in the queue.

        Raises:
            RequestError: All workers are busy and the queue is full.
        """
        if self._pending >= self._limits.workers + self._limits.queue:
            raise RequestError(
                503, f"{self._pending} predictions are waiting already; try again later.", reason="queue", retry_s=5
            )

    @property
    def are_stuck(self) -> bool:
        """True where every worker is far past the time limit of its prediction."""
        limit = time.monotonic() - _STUCK * self._limits.predict_s
        begun = list(self._begun.values())
        return len(begun) >= self._limits.workers and all(start < limit for start in begun)

    async def run(
        self, body: Callable[[Tick], T], *, gone: Callable[[], Awaitable[None]], ended: Callable[[], None]
    ) -> T:
        """Run a prediction in a worker.

        Args:
            body: Prediction. It calls its argument between tiles, which raises after a cancellation.
            gone: Returns when the client has disconnected.
            ended: Called in any thread when the worker has finished or will never begin, which may be long after the
                answer.

        Raises:
            RequestError: The queue is full, or the time limit is exceeded.
            ClientGoneError: The client disconnected.
        """
        try:
            self.check_free()
        except RequestError:
            ended()
            raise
        stop = threading.Event()
        future = self._submit(body, stop, ended)
        result: asyncio.Future[Any] = asyncio.wrap_future(future)
        left: asyncio.Future[Any] = asyncio.ensure_future(gone())
        try:
            await asyncio.wait([result, left], timeout=self._limits.predict_s, return_when=asyncio.FIRST_COMPLETED)
            if result.done():
                return cast(T, result.result())
            if left.done():
                raise ClientGoneError
            raise RequestError(
                504,
                f"The prediction took longer than {self._limits.predict_s:g} s; {LARGER}.",
                reason="time",
            )
        finally:
            left.cancel()
            if not result.done():
                stop.set()
                result.cancel()

    def close(self) -> None:
        """Cancel running predictions at their next tile, and drop the queue."""
        for stop in list(self._stops):
            stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, body: Callable[[Tick], T], stop: threading.Event, ended: Callable[[], None]) -> "Future[T]":
        def tick() -> None:
            if stop.is_set():
                raise _StoppedError

        def work() -> T:
            me = threading.get_ident()
            self._begun[me] = time.monotonic()
            try:
                with without_progress():
                    tick()
                    return body(tick)
            finally:
                del self._begun[me]

        def done(_: object) -> None:
            self._stops.discard(stop)
            self._count(-1)
            ended()

        self._count(1)
        self._stops.add(stop)
        future = self._pool.submit(work)
        future.add_done_callback(done)
        return future

    def _count(self, change: int) -> None:
        with self._lock:
            self._pending += change
            self._changed(self._pending)
