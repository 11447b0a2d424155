"""Load-test the model server: compare answers, time requests and record memory, next to misbehaving clients.

    python benchmarks/model_server.py                     # 60 s for each of two models in the default sizes
    python benchmarks/model_server.py --seconds 10 --kind pca-residual

Eight clients send LR patches of 32 x 32 pixels; each answer is compared bit for bit with the direct prediction. At the
same time one client sends garbage and one stalls in the middle of its requests. The weights are untrained: they take
the same time as trained ones.
"""

import http.client
import io
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import record  # isort: skip  # counts the cores before the libraries do

import numpy as np
import psutil
import torch

from hsipipe.inference.inputs import OVERLAP, TILE
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.base import Frame
from hsipipe.methods.catalogue import gae_settings, load_model, method_settings
from hsipipe.methods.dmgasr.gae import GroupAutoencoder
from hsipipe.methods.dmgasr.latent_net import LatentNet
from hsipipe.methods.dmgasr.method import Dmgasr
from hsipipe.methods.dmgasr.settings import DmgasrSettings
from hsipipe.methods.networks.unet import Unet
from hsipipe.methods.pca_residual import PcaResidual
from hsipipe.params import Params, load_params
from hsipipe.storage.publish import publish

BANDS, EDGE, SCALE = 31, 32, 4
CLIENTS, CUBES, WARM_UP_S = 8, 8, 10.0
KINDS = ("pca-residual", "dmgasr-latent")
GARBAGE_S = 0.05
FLAT = 0.02
"""Largest accepted growth of the resident memory, from the second quarter of the time to the last."""


def make(kind: str, params: Params, folder: Path) -> None:
    torch.manual_seed(0)
    settings = method_settings(params, kind)
    model = dmgasr(settings, params) if kind == "dmgasr-latent" else PcaResidual(Frame(BANDS, SCALE), settings)
    if kind != "dmgasr-latent":
        model.set_components(torch.rand(1000, BANDS), 0.1 * torch.randn(1000, BANDS))
        torch.nn.init.normal_(model.tail.weight, std=0.1)
    with publish(folder) as out:
        model.eval().save(out)


def dmgasr(settings: DmgasrSettings, params: Params) -> Dmgasr:
    gae = GroupAutoencoder(BANDS, gae_settings(params, "standard"))
    gae.start_at_principal_components(torch.rand(1000, BANDS))
    names = {"objective", "schedule", "steps", "space", "target", "scale_input"}
    unet = Unet(gae.latent_channels, settings.unet, patch=params.patches.size)
    net = LatentNet(unet, scale=SCALE, **settings.model_dump(include=names))
    return Dmgasr(gae, net, sampling=params.sampling)


@dataclass
class Tally:
    """Results of all clients, under one lock."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    wrong: int = 0
    garbage: int = 0
    garbage_served: int = 0
    hung: int = 0
    errors: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


def well_behaved(port: int, bodies: list[bytes], expected: list[bytes], tally: Tally, until: threading.Event) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        turn = 0
        while not until.is_set():
            number = turn % len(bodies)
            turn += 1
            begun = time.perf_counter()
            try:
                connection.request("POST", "/predict", bodies[number], {"Content-Type": "application/x-npy"})
                answer = connection.getresponse()
                body, status = answer.read(), answer.status
            except (OSError, http.client.HTTPException) as error:
                body, status = repr(error).encode(), 0
                connection.close()
            taken = time.perf_counter() - begun
            with tally.lock:
                tally.seconds.append(taken)
                tally.failed += status != 200
                tally.wrong += status == 200 and body != expected[number]
                if status != 200:
                    tally.errors.add(f"{status}: {body[:200].decode(errors='replace')}")


def sends_garbage(port: int, good: bytes, tally: Tally, until: threading.Event, *, refused: bytes = rb"4\d\d") -> None:
    rng = random.Random(0)
    bodies = [b"", b"garbage", good[:-9], good[:40], b"CDF\x01" + rng.randbytes(200), b"II*\0" + rng.randbytes(200)]
    while not until.wait(GARBAGE_S):
        body = rng.choice(bodies)
        head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(
            body
        )
        message = rng.choice(
            [rng.randbytes(300) + b"\r\n\r\n", head + body, head.replace(b"predict", b"nowhere") + body]
        )
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(message)
            answer = connection.recv(4096)
            with tally.lock:
                tally.garbage += 1
                tally.garbage_served += not re.match(rb"HTTP/1.1 (%b) " % refused, answer)


def hangs(port: int, good: bytes, tally: Tally, until: threading.Event) -> None:
    """Hold ten connections in the middle of a head or a body, and replace closed ones."""
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(good)
    held: list[socket.socket] = []
    while not until.wait(0.2):
        if len(held) >= 10:
            held.pop(0).close()
        with suppress(OSError):
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            connection.sendall((head + good[:1000], head[:30], b"")[tally.hung % 3])
            held.append(connection)
            with tally.lock:
                tally.hung += 1
    for connection in held:
        connection.close()


def under_load(process: subprocess.Popen, port: int, folder: Path, seconds: float) -> tuple[Tally, list[float], float]:
    """Run all clients; return results after the warm-up, resident MiB of the server each second, and seconds taken."""
    bodies, expected = exchanges(folder)
    tally, until, server = Tally(), threading.Event(), psutil.Process(process.pid)
    threads = [
        threading.Thread(target=well_behaved, args=(port, bodies, expected, tally, until)) for _ in range(CLIENTS)
    ]
    threads += [
        threading.Thread(target=other, args=(port, bodies[0], tally, until)) for other in (sends_garbage, hangs)
    ]
    for thread in threads:
        thread.start()
    resident = []
    try:
        time.sleep(min(WARM_UP_S, seconds / 4))
        with tally.lock:
            warm, begun = len(tally.seconds), time.perf_counter()
        while time.perf_counter() - begun < seconds and process.poll() is None:
            resident.append(server.memory_info().rss / 2**20)
            time.sleep(1)
    finally:
        until.set()
        taken = time.perf_counter() - begun
        for thread in threads:
            thread.join()
    tally.seconds = tally.seconds[warm:]
    return tally, resident, taken


def exchanges(folder: Path) -> tuple[list[bytes], list[bytes]]:
    """Return requests and the direct predictions, both as .npy."""
    model = load_model(folder)
    cubes = np.random.default_rng(0).random((CUBES, BANDS, EDGE, EDGE), dtype=np.float32)
    return [npy(cube) for cube in cubes], [
        npy(predict_scene(model, cube, tile=TILE, overlap=OVERLAP)) for cube in cubes
    ]


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@dataclass
class Served:
    """A server in a process, and its end: exit code, folders of requests left, tracebacks in the log."""

    process: subprocess.Popen
    port: int
    folder: Path
    code: int = 0
    left: int = 0
    tracebacks: int = 0


@contextmanager
def served(kind: str, params: Params) -> Iterator[Served]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        make(kind, params, folder)
        command = [sys.executable, "-m", "flows", "model-server", "--model", str(folder), "--port", "0"]
        environment = {**os.environ, "TMPDIR": place}
        with (
            (Path(place) / "log").open("w") as log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True) as process,
        ):
            try:
                server = Served(process, int(process.stdout.readline().rsplit(":", 1)[1]), folder)
                yield server
                process.terminate()
                server.code = process.wait(60)
            finally:
                process.kill()
        server.left = sum(entry.name.startswith("hsipipe-request-") for entry in Path(place).iterdir())
        server.tracebacks = (Path(place) / "log").read_text().count("Traceback")


def measure(kind: str, params: Params, seconds: float) -> list[record.Row]:
    with served(kind, params) as server:
        tally, resident, taken = under_load(server.process, server.port, server.folder, seconds)
    for error in sorted(tally.errors):
        print(error)
    return rows(kind, tally, resident, taken, server)


def of_quarter(resident: list[float], number: int) -> float:
    """Return the median of a quarter of the time; concurrent requests add some MiB."""
    size = max(1, len(resident) // 4)
    return float(np.median(resident[number * size :][:size]))


def rows(kind: str, tally: Tally, resident: list[float], taken: float, server: Served) -> list[record.Row]:
    milliseconds = np.array(tally.seconds) * 1000
    quarters = [of_quarter(resident, number) for number in range(4)]
    growth = quarters[3] / quarters[1] - 1

    def none(name: str, value: float) -> record.Row:
        return record.row(f"{kind}: {name}", value, "", target="0", met=value == 0)

    return [
        record.row(f"{kind}: requests", len(milliseconds), ""),
        none("failed", tally.failed),
        none("wrong", tally.wrong),
        record.row(f"{kind}: p50", float(np.percentile(milliseconds, 50)), "ms"),
        record.row(f"{kind}: p99", float(np.percentile(milliseconds, 99)), "ms"),
        record.row(f"{kind}: requests per second", len(milliseconds) / taken, "1/s"),
        record.row(f"{kind}: garbage sent", tally.garbage, ""),
        none("garbage not answered with 4xx", tally.garbage_served),
        record.row(f"{kind}: connections that hung", tally.hung, ""),
        *(record.row(f"{kind}: resident, quarter {n + 1}", value, "MiB") for n, value in enumerate(quarters)),
        record.row(f"{kind}: growth, quarter 2 to 4", growth * 100, "%", target=f"< {FLAT:.0%}", met=growth < FLAT),
        none("exit code after SIGTERM", server.code),
        none("folders of requests left", server.left),
        none("tracebacks in the log", server.tracebacks),
    ]


def main() -> None:
    parser = record.arguments(__doc__, result="model_server")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each model, after the warm-up")
    parser.add_argument("--kind", choices=KINDS, action="append", help="default: both")
    options = parser.parse_args()
    params = load_params(record.ROOT / "params.yaml")
    found = record.read_record(options.json)
    about = record.environment("torch", "numpy", "uvicorn", "h11", "fastapi")
    for kind in options.kind or KINDS:
        measured = measure(kind, params, options.seconds)
        record.show(measured)
        found[kind] = {"seconds": options.seconds, "clients": CLIENTS, **about, "rows": measured}
    record.write_record(options.json, found)


if __name__ == "__main__":
    main()
