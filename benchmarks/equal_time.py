"""Train the methods of docs/results.md for the same time each, score them on whole test scenes, and write the tables.

    python benchmarks/equal_time.py --root cave=/data/cave               what is missing in the tables of that folder
    python benchmarks/equal_time.py cave-x4 --method edsr --root ...     some rows
    python benchmarks/equal_time.py --write                              the tables and the figure alone

equal_time.yaml lists the tables. The time is CPU time of one thread. The script measures the seconds of a step while
the other cores work, too, and trains as many steps as fit, with the learning rate schedule of that length. All seeds
of a method take the same steps. Validations are not counted. Measure the steps of all methods on an idle machine
(--plan); the trainings can then share it with other work. A stopped run resumes. Several runs can share the work.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import math
import multiprocessing
import statistics
import tempfile
import time
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import yaml
from equal_time_tables import write_tables
from filelock import FileLock, Timeout
from record import ROOT, arguments, environment, read_record, write_record

TABLES = ROOT / "benchmarks" / "equal_time.yaml"
RESULTS = ROOT / "benchmarks" / "results" / "equal_time"
TIMED, WARM, TIMED_S = 40, 5, 20.0
"""Steps whose median time is that of a step, those before them, and the seconds after which no more are taken."""
AUTOENCODER = 0.25
"""Share of the time for the autoencoder of a latent method."""
METRICS = ("mpsnr_db", "cube_psnr_db", "mssim", "sam_deg", "ergas")
VALIDATIONS = 10


class TimingDone(Exception):
    """Ends the short training that is timed."""


@contextmanager
def busy_cores(device):
    """Keep all cores but one busy: a core alone is faster than one of several that share the memory."""
    others = len(os.sched_getaffinity(0)) - 1 if device == "cpu" else 0
    busy = [multiprocessing.get_context("spawn").Process(target=convolve, daemon=True) for _ in range(others)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.join()


def convolve():
    """Compute convolutions for ever, on one thread."""
    import torch

    torch.set_num_threads(1)
    images, kernel = torch.rand(4, 64, 64, 64), torch.rand(64, 64, 3, 3)
    while True:
        torch.nn.functional.conv2d(images, kernel)


class Row:
    """A method of a table from one seed: its training and its scores.

    Args:
        table: Entry of equal_time.yaml.
        params: Parameters of the table.
        root: Folder with scenes, pairs and patches.
        name: The method.
        seed: Seed of its training.
        device: cpu or cuda.
        plan: Steps of its trainings; None: measured.
        row: Name of the row; None: that of the method.
    """

    def __init__(self, table, params, root, name, *, seed, device, plan=None, row=None):
        from hsipipe.methods.catalogue import entry, methods

        self.table, self.params, self.root, self.name, self.seed, self.device = table, params, root, name, seed, device
        self.folder = root / "rows" / f"{row or name}-{seed}"
        self.autoencoder = entry(name).autoencoder
        self.fuses = methods()[name].FUSES
        self.plan, self.curve = plan, []

    def made(self):
        """The trained method, and the numbers of its training."""
        from prepared import autoencoder, trained

        from hsipipe.methods.catalogue import is_trained
        from hsipipe.training.outcome import read_outcome

        params, plan = self.params, {}
        if is_trained(params, self.name):
            plan = self.plan or self.planned()
            for group, name in self._trainings():
                params = with_steps(params, group, name, plan[group]["steps"], seed=self.seed)
        begun = self._clock()
        autoencoder(self.name, params, self.root, self.folder)
        method = trained(self.name, params, self.root, self.folder, log=self._log)
        outcome = read_outcome(self.folder / self.name)
        kept = {key: outcome[key] for key in ("parameters", "best_step", "restarts", "fault") if key in outcome}
        return method, {**plan, **kept, "seconds": round(self._clock() - begun, 1), "curve": self.curve}

    def scores(self, method):
        """Metrics by test scene, the protocol, and the seconds of an image."""
        from hsipipe.artifacts import DegradedPairs
        from hsipipe.evaluation.score_method import score_method
        from hsipipe.protocols import protocol_of

        pairs, sampling = DegradedPairs.in_project(self.root), self.params.sampling.of(self.name)
        protocol = protocol_of(self.params, pairs.index())
        with tempfile.TemporaryDirectory() as out:
            tree = score_method(
                method.prepared(sampling).to(self.device) if self.device != "cpu" else method.prepared(sampling),
                pairs,
                Path(out),
                row=self.name,
                sha256="",
                protocol=protocol,
                sampling=sampling,
            )
        rows = {scene: found[self.name] for scene, found in tree["scenes"].items()}
        return {
            "scenes": {scene: {key: row[key] for key in METRICS} for scene, row in rows.items()},
            "val_mpsnr_db": tree.get("val_mpsnr_db"),
            "seconds_per_image": round(sum(row["seconds_per_image"] for row in rows.values()) / len(rows), 2),
            "protocol": {"name": protocol.name, "hash": protocol.hash},
        }

    def planned(self):
        """Steps and seconds of a step by group of params.yaml, and the operations of a step of the method."""
        plan, budget = {}, self.table.get("seconds")
        for group, name in self._trainings():
            share = 1.0 if self.autoencoder is None else AUTOENCODER if group == "gae" else 1 - AUTOENCODER
            took = self._step_seconds(group, name)
            steps = max(1, int(share * budget / took)) if budget else self._own(group, name).optimizer.steps
            plan[group] = {"steps": steps, "seconds_per_step": float(f"{took:.3g}")}
        return {**plan, "flop": self._flop()}

    def _trainings(self):
        """Group and name in params.yaml of what is trained, in their order."""
        return ([("gae", self.autoencoder)] if self.autoencoder else []) + [("methods", self.name)]

    def _own(self, group, name):
        from hsipipe.methods.catalogue import gae_settings, method_settings

        return (gae_settings if group == "gae" else method_settings)(self.params, name)

    def _step_seconds(self, group, name):
        """Seconds of a step, the median of a short training; on the CPU while every other core works, too."""
        from prepared import autoencoder, trained
        from torch.optim.optimizer import register_optimizer_step_post_hook

        marks, params = [], with_steps(self.params, group, name, WARM + TIMED, seed=self.seed, validations=1)

        def mark(*of_step):
            marks.append(self._clock())
            if len(marks) > WARM + 2 and marks[-1] - marks[WARM] > TIMED_S:
                raise TimingDone

        with tempfile.TemporaryDirectory() as folder, busy_cores(self.device), suppress(TimingDone):
            if group == "methods" and self.autoencoder:
                shortest = with_steps(params, "gae", self.autoencoder, 1, seed=self.seed)
                autoencoder(self.name, shortest, self.root, Path(folder))
            handle = register_optimizer_step_post_hook(mark)
            try:
                (autoencoder if group == "gae" else trained)(self.name, params, self.root, Path(folder))
            finally:
                handle.remove()
        return statistics.median(after - before for before, after in pairwise(marks[WARM:]))

    def _flop(self):
        """Operations of a step; None where they cannot be counted."""
        from hsipipe.artifacts import PatchStore
        from hsipipe.methods.base import Frame
        from hsipipe.methods.training_cost import method_flop

        arrays = ("hr", "lr", "msi") if self.fuses else ("hr", "lr")
        frame = Frame.of(PatchStore.in_project(self.root).open("train", arrays))
        flop = method_flop(self.params, self.name, frame)
        return None if math.isnan(flop) else float(f"{flop:.4g}")

    def _log(self, step, metrics):
        if "val_mpsnr_db" in metrics:
            self.curve.append([step, round(float(metrics["val_mpsnr_db"]), 3)])

    def _clock(self):
        """Seconds: of the CPU, or of the wall where a GPU works."""
        return time.process_time() if self.device == "cpu" else time.perf_counter()


def with_steps(params, group, name, steps, *, seed, validations=VALIDATIONS):
    """`params` with another number of steps of a training, and no end before the last."""
    from prepared import changed

    from hsipipe.methods.catalogue import gae_settings, method_settings

    own = (gae_settings if group == "gae" else method_settings)(params, name).optimizer
    some = max(1, steps // validations)
    optimizer = {"steps": steps, "warmup": min(own.warmup, some), "patience": 0, "validate_every": some}
    return changed(params, {group: {name: {"optimizer": {**optimizer, "save_every": some}, "seed": seed}}})


def started(row, table, params, folder):
    """Method and parameters of a row. One of `started` is trained from the weights of a row of another table.

    Raises:
        SystemExit: That row has not been trained.
    """
    from prepared import changed

    from hsipipe.storage.manifest import digest

    about = table.get("started", {}).get(row)
    if about is None:
        return row, params
    method = about["method"]
    start = folder / about["from"] / "rows" / f"{method}-0" / method
    if not start.is_dir():
        raise SystemExit(f"error: the row {row} starts from {start}, which is missing; make {about['from']} first")
    settings = {**about["set"], "start": {"folder": str(start), "sha256": digest(start)}}
    return method, changed(params, {"methods": {method: settings}})


def prepared_table(name, table, source, folder, *, device):
    """Parameters of a table, and the folder with its scenes, pairs and patches."""
    from prepared import changed, prepare

    from hsipipe.params import load_params

    root = folder / name
    if "file" in table:
        (root / "source").mkdir(parents=True, exist_ok=True)
        link = root / "source" / table["file"]
        if not link.exists():
            link.symlink_to(source / table["file"])
        source = root / "source"
    hardware = {} if device == "cpu" else {"hardware": {"accelerator": device}}
    params = changed(load_params(ROOT / "params.yaml"), table["set"])
    params = changed(params, {"dataset": {"root": str(source)}, "seeds": [], **hardware})
    with FileLock(folder / f"{name}.lock"):
        prepare(params, root)
    return params, root


def seeds_of(table, name, record):
    """Seeds of a row: those of all rows and, once all are there, the further ones of the best."""
    from hsipipe.methods.base import Trainable
    from hsipipe.methods.catalogue import methods

    first, best = table["seeds"], table.get("best")
    if name in table.get("started", {}):
        return first
    if not issubclass(methods()[name], Trainable):
        return first[:1]
    made = [row for row in record.get("rows", {}).values() if row["method"] in table["methods"]]
    means = {row["method"]: mean_psnr(row) for row in made if row["seed"] == first[0]}
    if best is None or len(means) < len(table["methods"]):
        return first
    leading = sorted(means, key=means.get, reverse=True)[: best["rows"]]
    return [*first, *(best["seeds"] if name in leading else [])]


def mean_psnr(row):
    """MPSNR of a row, mean over its scenes."""
    return sum(scene["mpsnr_db"] for scene in row["scenes"].values()) / len(row["scenes"])


def run_table(name, table, params, root, options, where):
    """Make the rows of a table that are missing."""
    path = options.results / f"{name}.json"
    rows = [*table["methods"], *table.get("started", ())]
    wanted = [one for one in rows if not options.method or one in options.method]
    others = set()
    while True:
        record = read_record(path)
        pairs = [(one, seed) for one in wanted for seed in options.seed or seeds_of(table, one, record)]
        left = [pair for pair in pairs if pair not in others and "{}-{}".format(*pair) not in record.get("rows", {})]
        if not left:
            return
        row, seed = left[0]
        lock = FileLock(root / f"{row}-{seed}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            others.add(left[0])
            continue
        with lock:
            if f"{row}-{seed}" in read_record(path).get("rows", {}):
                continue
            method, own = started(row, table, params, root.parent)
            plan = planned(path, table, own, root, method, options.device)
            training = Row(table, own, root, method, seed=seed, device=options.device, plan=plan, row=row)
            print(f"{name}: {row}, seed {seed}", flush=True)
            trained, about = training.made()
            found = {"method": row, "seed": seed, "training": about, **training.scores(trained)}
            keep(path, "rows", f"{row}-{seed}", {**found, "environment": where}, table)
            print(f"{name}: {row}, seed {seed}: {mean_psnr(found):.2f} dB, {about}", flush=True)


def planned(path, table, params, root, method, device):
    """The plan of a method: that of the record, which all seeds share, else measured and kept there."""
    from hsipipe.methods.catalogue import is_trained

    kept = read_record(path).get("plans", {})
    if method not in kept and is_trained(params, method):
        row = Row(table, params, root, method, seed=0, device=device)
        kept = {method: row.planned()}
        keep(path, "plans", method, kept[method], table)
        print(f"{method}: {kept[method]}", flush=True)
    return kept.get(method)


def keep(path, part, key, value, table):
    """Add a plan or a row to the record of a table; others may do so at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        record = read_record(path)
        about = {"title": table["title"], "seconds": table.get("seconds")}
        write_record(path, {**about, "plans": {}, "rows": {}, **record, part: {**record.get(part, {}), key: value}})


def main():
    parser = arguments(__doc__)
    parser.add_argument("table", nargs="*", help="names in equal_time.yaml; none: all of the device")
    parser.add_argument("--method", action="append", default=[], help="make this row only; again for further ones")
    parser.add_argument("--seed", type=int, action="append", default=[], help="these seeds of the rows")
    parser.add_argument("--plan", action="store_true", help="measure the steps of the methods and train nothing")
    parser.add_argument("--root", action="append", default=[], metavar="NAME=FOLDER", help="where a data set is")
    own = ROOT / ".hsipipe" / "equal_time"
    parser.add_argument("--folder", type=Path, default=own, help="keep data and models here")
    parser.add_argument("--results", type=Path, default=RESULTS, help="keep the rows here")
    parser.add_argument("--seconds", type=float, help="of a training, in the place of those of the table; for a trial")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--stop-after", type=float, metavar="MINUTES", help="pause after this; run again to resume")
    parser.add_argument("--write", action="store_true", help="write docs/results.md and its figure from the rows there")
    options = parser.parse_args()

    from hsipipe.errors import TrainingPausedError
    from hsipipe.training.deadline import limit_command

    tables = {name: table for name, table in yaml.safe_load(TABLES.read_text()).items() if not name.startswith("_")}
    if options.write:
        write_tables(tables, options.results)
        return
    if unknown := set(options.table) - set(tables):
        raise SystemExit(f"error: got the tables {sorted(unknown)}, expected {', '.join(tables)}")
    if options.stop_after:
        limit_command(options.stop_after)
    roots = dict(text.partition("=")[::2] for text in options.root)
    where = environment("torch")
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        if name not in options.table if options.table else table.get("device", "cpu") != options.device:
            continue
        if table["root"] not in roots:
            print(f"{name}: skipped, since --root {table['root']}=FOLDER is missing")
            continue
        table = {**table, "seconds": options.seconds} if options.seconds else table
        source = Path(roots[table["root"]]).absolute()
        params, root = prepared_table(name, table, source, options.folder.absolute(), device=options.device)
        if options.plan:
            for method in options.method or table["methods"]:
                planned(options.results / f"{name}.json", table, params, root, method, options.device)
            continue
        try:
            run_table(name, table, params, root, options, where)
        except TrainingPausedError as error:
            print(f"{name}: {error}")
            return


if __name__ == "__main__":
    main()
