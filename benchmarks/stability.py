"""Train methods at half, the set and double the learning rate from several seeds; count trainings that collapse unseen.

    python benchmarks/stability.py -S dataset.name=cave -S dataset.root=FOLDER --methods pca-residual dmgasr

A training collapses if it ends more than 0.3 dB below the best of its method and rate. It is unseen if neither a
restart nor a fault was recorded for it.
"""

import json
import tempfile
from pathlib import Path

import yaml
from record import ROOT, arguments, environment, row, show, without_root, write_record

RATES = {"half": 0.5, "as set": 1.0, "double": 2.0}
BELOW_DB = 0.3


def tree_of(overrides):
    """Nested changes of params.yaml from ``group.key=value``."""
    tree = {}
    for text in overrides:
        key, _, value = text.partition("=")
        *groups, leaf = key.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[leaf] = yaml.safe_load(value)
    return tree


def train(params, root, folder, name, *, rate, seed):
    """Train a method; return the numbers of its training."""
    from prepared import changed, trained

    from hsipipe.methods.catalogue import method_settings
    from hsipipe.training.outcome import FILE

    lr = rate * method_settings(params, name).optimizer.lr
    changes = {"methods": {name: {"optimizer": {"lr": lr}, "seed": seed}}}
    trained(name, changed(params, changes), root, folder)
    return json.loads((folder / name / FILE).read_text())


def rows_of(results):
    """Rows of all trainings, and the count of those that collapsed unseen."""
    rows, unseen = [], 0
    for (name, rate), outcomes in results.items():
        best = max(outcome["val_mpsnr_db"] for outcome in outcomes)
        for seed, outcome in enumerate(outcomes):
            value, told = outcome["val_mpsnr_db"], bool(outcome["restarts"] or outcome.get("fault"))
            unseen += value < best - BELOW_DB and not told
            said = f", {outcome.get('collapses') or outcome['fault']}" if told else ""
            text = f"{name}, {rate}, seed {seed}{said}"
            rows.append(row(text, value, "dB"))
            rows.append(row(f"{text}: best of step, skipped", outcome["best_step"], f"{outcome['skipped_steps']:.0f}"))
    return [*rows, row("trainings that collapsed unseen", unseen, "", target="0", met=unseen == 0)]


def main():
    parser = arguments(__doc__, result="stability")
    parser.add_argument("--set", "-S", action="append", default=[], metavar="KEY=VALUE", help="change params.yaml")
    parser.add_argument("--methods", nargs="+", default=["pca-residual", "dmgasr-latent", "dmgasr-regression"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep data and models here, and continue them")
    options = parser.parse_args()

    from prepared import changed, prepare

    from hsipipe.params import load_params

    where, params = environment("torch"), changed(load_params(ROOT / "params.yaml"), tree_of(options.set))
    folder = options.folder or Path(tempfile.mkdtemp())
    prepare(params, folder)
    results = {}
    for name in options.methods:
        for label, rate in RATES.items():
            for seed in range(options.seeds):
                place = folder / "trainings" / f"{name}-{label}-{seed}".replace(" ", "-")
                outcome = train(params, folder, place, name, rate=rate, seed=seed)
                results.setdefault((name, label), []).append(outcome)
                print(name, label, seed, outcome, flush=True)
    rows = rows_of(results)
    show(rows)
    write_record(options.json, {"environment": where, "settings": without_root(options.set), "rows": rows})


if __name__ == "__main__":
    main()
