"""Peaks of the allocations of the fusion methods that take a whole scene, beside what they state.

    python benchmarks/whole_scene_memory.py

Prints a line for each method and scene: bytes for each HR pixel as measured, as `working_bytes` states them, and the
ratio. Iterations are cut: they change the time, not the memory.
"""

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np

from hsipipe.degradation.psf import Psf
from hsipipe.methods.cnmf import Cnmf
from hsipipe.methods.fuse import Fuse
from hsipipe.methods.hysure import HySure
from hsipipe.methods.mapsmm import Mapsmm
from hsipipe.methods.utv_td import UtvTd

SCALE, PSF = 4, Psf("gaussian", mtf=0.3)
METHODS: dict[type, dict[str, int]] = {
    Cnmf: {"rounds": 2, "low_updates": 2, "high_updates": 2},
    HySure: {"iterations": 2},
    Fuse: {},
    Mapsmm: {"turns": 2, "steps": 2},
    UtvTd: {"turns": 1},
}


def pair(bands: int, edge: int) -> tuple[Any, Any]:
    rng, fine = np.random.default_rng(0), edge * SCALE
    ends, shares = rng.random((bands, 6)), rng.dirichlet(np.ones(6), fine**2).T.reshape(6, fine, fine)
    hr = np.einsum("ck,kyx->cyx", ends, shares) + 0.01 * rng.standard_normal((bands, fine, fine))
    msi = np.einsum("kc,cyx->kyx", rng.dirichlet(np.ones(bands), 4), hr)
    return PSF.downsample(hr.astype(np.float32), SCALE).astype(np.float32), msi.astype(np.float32)


def main() -> None:
    for kind, cut in METHODS.items():
        for bands in (30, 120):
            lr, msi = pair(bands, 40)
            method = replace(kind(SCALE, PSF), **cut)
            tracemalloc.start()
            method.predict(lr[None], msi=msi[None])
            found = tracemalloc.get_traced_memory()[1] / msi[0].size
            tracemalloc.stop()
            stated = method.working_bytes(bands)
            print(f"{method.name:8} {bands:4} bands: {found:6.0f} measured, {stated:6} stated, {found / stated:.2f}")


if __name__ == "__main__":
    main()
