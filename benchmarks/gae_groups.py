"""One training step of the group autoencoder with the groups in the batch, against a loop over the groups.

    python benchmarks/gae_groups.py                     # on two threads; about five minutes
    python benchmarks/gae_groups.py --threads 1
    python benchmarks/gae_groups.py --only "31 bands"   # the configurations whose name has this in it

A step is forward, loss, backward and Adam, without reading patches. All ways have the same weights and the same
loss, which is checked before anything is measured. They take turns in each round; the ratio is the median over rounds.

The target of 1.5 is met where patches are small and MISSED otherwise. All ways do the same arithmetic, most of it in
convolutions, and on one core a convolution of G images takes G times that of one. What a loop pays and a batch does
not is the calls: the row `loop: convolutions' share` is measured with torch.profiler, and a batch that paid nothing
for all else would be faster by the inverse of it, no more. Against that stands the cache: the feature maps of one
group (1 MB for 4 patches of 64 at width 16) fit into it and those of all groups do not, so the batch gains least
where groups are many or patches large. The autoencoder keeps the features of a pixel together in memory (channels
last), which convolutions of few channels run faster on. The published loop does not; `loop, channels last` does, and
the ratio to it is what the batch alone gives.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median

from record import CORES, ROOT, Row, environment, in_turn, median_ratio, read_record, row, show, write_record  # isort: skip

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from hsipipe.methods.dmgasr.gae import GroupAutoencoder
from hsipipe.methods.presets import load_preset
from hsipipe.params import GaeParams, load_params
from hsipipe.training.losses import gae_loss

TARGET = 1.5


class LoopedGae(GroupAutoencoder):
    """The same autoencoder, one group after the other through the encoder and through the local decoder."""

    layout = torch.contiguous_format

    def encode(self, cube: Tensor) -> Tensor:
        latents = []
        for start in self.plan.starts:
            group = cube[:, start : start + self.plan.n_subs].contiguous(memory_format=self.layout)
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


class ChannelsLastLoop(LoopedGae):
    """The same loop, with the features of a pixel side by side in memory, as the autoencoder itself keeps them."""

    layout = torch.channels_last


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
    ways = {"batch": GroupAutoencoder, "loop": LoopedGae, "loop, channels last": ChannelsLastLoop}
    first = GroupAutoencoder(bands, params)
    cube = torch.rand(batch, bands, size, size)
    losses, steps = {}, {}
    for way, kind in ways.items():
        module = kind(bands, params)
        module.load_state_dict(first.state_dict())
        optimizer = torch.optim.Adam(module.parameters(), lr=params.optimizer.lr)

        def step(module=module, optimizer=optimizer) -> float:
            optimizer.zero_grad(set_to_none=True)
            loss = gae_loss(module(cube), cube, params.loss)
            loss.backward()
            optimizer.step()
            return float(loss.detach())

        losses[way], steps[way] = step(), step
    difference = max(abs(loss - losses["loop"]) for loss in losses.values()) / losses["loop"]
    if difference > 1e-5:
        raise SystemExit(f"{name}: the losses differ, {losses}; this is no comparison.")
    seconds = in_turn(steps, rounds=rounds)
    ratio, share = median_ratio(seconds, "loop", "batch"), convolutions_share(steps["loop"])
    return [
        *(row(f"{name}: {way}", batch / median(seconds[way]), "images/s") for way in ways),
        row(f"{name}: ratio", ratio, "x", target=f">= {TARGET}", met=ratio >= TARGET),
        row(
            f"{name}: ratio to the loop in the same layout", median_ratio(seconds, "loop, channels last", "batch"), "x"
        ),
        row(f"{name}: loop: convolutions' share", share, ""),
        row(f"{name}: bound of the ratio by that", 1 / share, "x"),
        row(f"{name}: relative difference of the loss", difference, ""),
    ]


def convolutions_share(step: Callable[[], object], *, steps: int = 3) -> float:
    """Share of a step's processor time that is spent inside convolutions, forward and backward."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(steps):
            step()
    events = profiler.key_averages()
    inside = sum(e.self_cpu_time_total for e in events if e.key.startswith("aten::") and "conv" in e.key)
    return inside / sum(e.self_cpu_time_total for e in events)


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
