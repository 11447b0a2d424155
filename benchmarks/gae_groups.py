"""One training step of the group autoencoder with the groups in the batch, against a loop over the groups.

    python benchmarks/gae_groups.py                     # on two threads; about five minutes
    python benchmarks/gae_groups.py --threads 1
    python benchmarks/gae_groups.py --only "31 bands"   # the configurations whose name has this in it

A step is forward, loss, backward and Adam, without reading patches. Both ways have the same weights and the same
loss, which is checked before anything is measured. They take turns in each round; the ratio is the median over rounds.
"""

import argparse
from pathlib import Path
from statistics import median

from record import CORES, ROOT, Row, environment, in_turn, median_ratio, read_record, row, show, write_record  # isort: skip

import torch
from torch import Tensor

from hsipipe.models.gae import GroupAutoencoder
from hsipipe.models.presets import load_preset
from hsipipe.params import GaeParams, load_params
from hsipipe.training.losses import gae_loss

TARGET = 1.5


class LoopedGae(GroupAutoencoder):
    """The same autoencoder, one group after the other through the encoder and through the local decoder."""

    def encode(self, cube: Tensor) -> Tensor:
        latents = []
        for start in self.plan.starts:
            group = cube[:, start : start + self.plan.n_subs]
            latent = self.encoder(group)
            if self.linear_encoder is not None:
                latent = latent + self.linear_encoder(group)
            latents.append(latent)
        return (torch.stack(latents, dim=1) - self.latent_mean) / self.latent_std

    def decode(self, latent: Tensor) -> Tensor:
        raw = latent * self.latent_std + self.latent_mean
        groups = []
        for flat in raw.unbind(1):
            decoded = self.local_decoder(flat)
            if self.linear_decoder is not None:
                decoded = decoded + self.linear_decoder(flat)
            groups.append(decoded)
        cube = self._merge(torch.stack(groups, dim=1))
        return cube if self.global_decoder is None else cube + self.global_decoder(cube)


def configurations() -> dict[str, tuple[int, GaeParams, int, int]]:
    """Name to bands, sizes of the autoencoder, images of a batch, and edge of a patch in pixels."""
    params = load_params(ROOT / "params.yaml")
    default, batch, size = params.gae, params.gae.optimizer.batch, params.patches.size
    wide = default.model_copy(update={"n_subs": 16, "n_ovls": 4})
    preset = load_preset("dmgasr-paper")["gae"]
    paper = GaeParams.model_validate({**preset, "seed": 0})
    return {
        "31 bands, 8/2, default": (31, default, batch, size),
        "31 bands, 8/2, default, patches of 32": (31, default, batch, 32),
        "102 bands, 16/4, default": (102, wide, batch, size),
        "102 bands, 8/2, default": (102, default, batch, size),
        # The preset's batch is 4 patches of 128; a step of that takes a CPU a minute.
        "31 bands, 8/2, paper's width, 1 patch of 64": (31, paper, 1, 64),
    }


def measure(name: str, bands: int, params: GaeParams, *, batch: int, size: int, rounds: int) -> list[Row]:
    torch.manual_seed(0)
    batched, looped = GroupAutoencoder(bands, params), LoopedGae(bands, params)
    looped.load_state_dict(batched.state_dict())
    cube = torch.rand(batch, bands, size, size)
    losses, steps = {}, {}
    for way, module in (("batch", batched), ("loop", looped)):
        optimizer = torch.optim.Adam(module.parameters(), lr=params.optimizer.lr)

        def step(module=module, optimizer=optimizer) -> float:
            optimizer.zero_grad(set_to_none=True)
            loss = gae_loss(module(cube), cube, params.loss)
            loss.backward()
            optimizer.step()
            return float(loss.detach())

        losses[way], steps[way] = step(), step
    difference = abs(losses["batch"] - losses["loop"]) / losses["loop"]
    if difference > 1e-5:
        raise SystemExit(f"{name}: the losses differ, {losses}; this is no comparison.")
    seconds = in_turn(steps, rounds=rounds)
    ratio = median_ratio(seconds, "loop", "batch")
    return [
        row(f"{name}: batch", batch / median(seconds["batch"]), "images/s"),
        row(f"{name}: loop", batch / median(seconds["loop"]), "images/s"),
        row(f"{name}: ratio", ratio, "x", target=f">= {TARGET}", met=ratio >= TARGET),
        row(f"{name}: relative difference of the loss", difference, ""),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="configurations whose name has this in it; the others' are kept")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=CORES, help="that torch uses")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/gae_groups.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    record = read_record(options.json)
    part = record.setdefault(f"threads: {options.threads}", {})
    for name, (bands, params, batch, size) in configurations().items():
        if options.only not in name:
            continue
        rows = measure(name, bands, params, batch=batch, size=size, rounds=options.rounds)
        part[name] = {**environment("torch"), "rounds": options.rounds, "rows": rows}
        show(rows)
    write_record(options.json, record)


if __name__ == "__main__":
    main()
