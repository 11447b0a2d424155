"""Load-test the model server beyond its queue, and look for leaks.

    python benchmarks/model_server_many.py                # 50 clients for 30 s, then 500 requests
    python benchmarks/model_server_many.py --seconds 5 --requests 200

Many clients share one worker and a queue of 16. A client that is refused with 503 asks again after a moment; each
answer is compared bit for bit with the direct prediction. At the same time one client sends garbage and one stalls.
The 500 requests are sent one after the other, each on a new connection, with an invalid one after each. Memory and file
descriptors after the first 100 are compared with those at the end. The model is a pca-residual with untrained weights.
"""

import http.client
import threading
import time
from collections import Counter
from contextlib import closing
from functools import partial

import record  # isort: skip  # counts the cores before the libraries do

import numpy as np
import psutil
from model_server import FLAT, Served, Tally, exchanges, hangs, sends_garbage, served

from hsipipe.params import Params, load_params

KIND, WARM, PAUSE_S, SETTLE_S = "pca-residual", 100, 0.1, 1.0


class Patient(threading.Thread):
    """A client that asks again after a refusal."""

    def __init__(self, server: Served, bodies: list[bytes], expected: list[bytes], until: threading.Event) -> None:
        super().__init__()
        self.server, self.bodies, self.expected, self.until = server, bodies, expected, until
        self.found: Counter[str] = Counter()
        self.seconds: list[float] = []

    def run(self) -> None:
        turn = 0
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)) as connection:
            while not self.until.is_set():
                begun = time.perf_counter()
                found = ask(connection, self.bodies[turn], self.expected[turn])
                self.found[found] += 1
                if found == "right":
                    turn = (turn + 1) % len(self.bodies)
                    self.seconds.append(time.perf_counter() - begun)
                else:
                    time.sleep(PAUSE_S)


def ask(connection: http.client.HTTPConnection, body: bytes, expected: bytes) -> str:
    """Return the kind of the answer: right, wrong, refused or the error."""
    try:
        connection.request("POST", "/predict", body, {"Content-Type": "application/x-npy"})
        answer = connection.getresponse()
        got = answer.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return repr(error)
    if answer.status == 503 and answer.headers["Retry-After"]:
        return "refused"
    if answer.status != 200:
        return f"{answer.status}: {got[:200]!r}"
    return "right" if got == expected else "wrong"


def crowd(params: Params, clients: int, seconds: float) -> list[record.Row]:
    tally, until = Tally(), threading.Event()
    with served(KIND, params) as server:
        bodies, expected = exchanges(server.folder)
        patient = [Patient(server, bodies, expected, until) for _ in range(clients)]
        # The head of a request is refused while the queue is full.
        garbage = partial(sends_garbage, refused=rb"4\d\d|503")
        others = [
            threading.Thread(target=other, args=(server.port, bodies[0], tally, until)) for other in (garbage, hangs)
        ]
        for thread in (*patient, *others):
            thread.start()
        time.sleep(seconds)
        until.set()
        for thread in (*patient, *others):
            thread.join()
    found = sum((thread.found for thread in patient), Counter[str]())
    for error in found.keys() - {"right", "refused", "wrong"}:
        print(f"{found[error]} x {error}")
    milliseconds = 1000 * np.array([each for thread in patient for each in thread.seconds])
    failed = found.total() - found["right"] - found["refused"] - found["wrong"]
    return [
        record.row("crowd: answered", found["right"], ""),
        record.row("crowd: refused with 503 and Retry-After", found["refused"], ""),
        none("crowd: wrong", found["wrong"]),
        none("crowd: failed", failed),
        none("crowd: clients without an answer", sum(not thread.found["right"] for thread in patient)),
        record.row("crowd: p50 of the answered", float(np.percentile(milliseconds, 50)), "ms"),
        record.row("crowd: p99 of the answered", float(np.percentile(milliseconds, 99)), "ms"),
        record.row("crowd: garbage sent", tally.garbage, ""),
        none("crowd: garbage not answered with 4xx or 503", tally.garbage_served),
        *at_the_end("crowd", server),
    ]


def in_turn(params: Params, requests: int) -> list[record.Row]:
    found: Counter[str] = Counter()
    with served(KIND, params) as server:
        bodies, expected = exchanges(server.folder)
        for number in range(requests):
            if number == WARM:
                warm = used(server)
            turn = number % len(bodies)
            with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
                found[ask(connection, bodies[turn], expected[turn])] += 1
            with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
                found["refused" if ask(connection, bodies[turn][:-9], b"").startswith("400") else "not refused"] += 1
        end = used(server)
    growth = end[0] / warm[0] - 1
    return [
        record.row("requests: answered", found["right"], "", target=str(requests), met=found["right"] == requests),
        none("requests: invalid but not refused", requests - found["refused"]),
        record.row(f"requests: resident after {WARM}", warm[0], "MiB"),
        record.row("requests: resident at the end", end[0], "MiB"),
        record.row("requests: growth", growth * 100, "%", target=f"< {FLAT:.0%}", met=growth < FLAT),
        record.row(f"requests: file descriptors after {WARM}", warm[1], ""),
        record.row("requests: file descriptors at the end", end[1], "", target=f"<= {warm[1]}", met=end[1] <= warm[1]),
        record.row(f"requests: threads after {WARM}", warm[2], ""),
        record.row("requests: threads at the end", end[2], "", target=f"<= {warm[2]}", met=end[2] <= warm[2]),
        *at_the_end("requests", server),
    ]


def used(server: Served) -> tuple[float, int, int]:
    """Return resident MiB, file descriptors and threads of the server without requests."""
    time.sleep(SETTLE_S)
    process = psutil.Process(server.process.pid)
    return process.memory_info().rss / 2**20, process.num_fds(), process.num_threads()


def at_the_end(part: str, server: Served) -> list[record.Row]:
    return [
        none(f"{part}: exit code after SIGTERM", server.code),
        none(f"{part}: folders of requests left", server.left),
        none(f"{part}: tracebacks in the log", server.tracebacks),
    ]


def none(name: str, value: float) -> record.Row:
    return record.row(name, value, "", target="0", met=value == 0)


def main() -> None:
    parser = record.arguments(__doc__, result="model_server_many")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--requests", type=int, default=500)
    options = parser.parse_args()
    params = load_params(record.ROOT / "params.yaml")
    about = record.environment("torch", "numpy", "uvicorn", "h11", "fastapi")
    measured = [*crowd(params, options.clients, options.seconds), *in_turn(params, options.requests)]
    record.show(measured)
    sizes = {name: getattr(options, name) for name in ("clients", "seconds", "requests")}
    record.write_record(options.json, {**sizes, **about, "rows": measured})


if __name__ == "__main__":
    main()
