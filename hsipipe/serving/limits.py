"""Limits of the model server: sizes, times and counts."""

import math
from dataclasses import dataclass, fields

from hsipipe.errors import ParamsError

LARGER = "cut the cube, or predict its file with the command hsipipe predict, which takes scenes of any size"
"""What a client can do about a cube that is too large, a clause."""


@dataclass(frozen=True)
class Limits:
    """Limits of a server. Each is checked before the memory or the time that it bounds is spent.

    Attributes:
        body_bytes: Largest body of a request.
        upload_bytes: Largest sum of all bodies and answers on the disk.
        values: Most values (images x bands x rows x columns) of a prediction, and of an HR-MSI.
        tile: Largest edge of a tile in LR pixels; the memory of a network grows with its square.
        head_s: Seconds for the request line and the headers.
        body_s: Seconds for the whole body.
        read_s: CPU seconds to read a file; twice as many by the clock.
        predict_s: Seconds from the end of the body to the answer, including the wait for a worker.
        stall_s: Seconds without progress while an answer is sent.
        answer_s: Seconds for the client to take a whole answer, in addition to its size over `answer_rate`.
        answer_rate: Least rate of a client in bytes per second.
        load_s: Seconds to look up, load and try another version of the model.
        grace_s: Seconds for the requests in flight at shutdown.
        workers: Concurrent predictions.
        queue: Predictions waiting for a worker.
        connections: Open connections.

    Raises:
        ParamsError: A limit is too small or not finite.
    """

    body_bytes: int = 256 << 20
    upload_bytes: int = 4 << 30
    values: int = 1 << 27
    tile: int = 256
    head_s: float = 10.0
    body_s: float = 120.0
    read_s: float = 30.0
    predict_s: float = 300.0
    stall_s: float = 60.0
    answer_s: float = 60.0
    answer_rate: int = 64 << 10
    load_s: float = 600.0
    grace_s: float = 30.0
    workers: int = 1
    queue: int = 16
    connections: int = 256

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            least = 0 if entry.name == "queue" else 1 if isinstance(entry.default, int) else 0.001
            if not (math.isfinite(value) and value >= least):
                raise ParamsError(f"The limit {entry.name} must be at least {least}, got {value}.")
