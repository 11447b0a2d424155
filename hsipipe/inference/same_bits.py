"""Compute products of NumPy on one thread, so that they have the same bits on any number of cores."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController


class _Limit:
    """Holds for the whole process while any of its threads is in :func:`same_bits`."""

    def __init__(self) -> None:
        self._lock, self._users = Lock(), 0
        self._limit: Any = None

    def enter(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._limit = _blas().limit(limits=1)

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._limit.restore_original_limits()


_limit = _Limit()


@contextmanager
def same_bits() -> Iterator[None]:
    """Keep the products of NumPy and SciPy on one thread meanwhile; a network uses its threads, whose bits agree.

    BLAS cuts a product by the number of threads, and sums in another order. Blocks of a scene are too small to gain by
    threads.
    """
    _limit.enter()
    try:
        yield
    finally:
        _limit.leave()


@cache
def _blas() -> ThreadpoolController:
    found = ThreadpoolController().select(user_api="blas")
    # PyTorch has a BLAS of this kind on some machines.
    own = [library.filepath for library in found.lib_controllers if "torch" not in library.filepath]
    return found.select(filepath=own)
