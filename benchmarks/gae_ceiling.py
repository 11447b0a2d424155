"""Measure the least loss of different latents on real scenes: docs/adr/0001-residual-decoding.md.

    python benchmarks/gae_ceiling.py CAVE_FOLDER --json benchmarks/results/gae_ceiling.json

Rows: bicubic; PCA with as many components as all groups have channels; PCA of each group (the start of the linear
path), centred and not; the same with residual decoding. The components are fitted on all scenes but the last three.
"""

from pathlib import Path

from record import arguments, environment, write_record  # isort: skip

import numpy as np

import hsipipe
from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.networks.groups import plan_groups

SCALE = 4
N_SUBS, N_OVLS, CHANNELS = 8, 2, 3
ROWS = 7_000


def basis(rows: np.ndarray, k: int, *, centred: bool) -> tuple[np.ndarray, np.ndarray]:
    mean = rows.mean(axis=0) if centred else np.zeros(rows.shape[1])
    _, vectors = np.linalg.eigh((rows - mean).T @ (rows - mean))
    return mean, vectors[:, ::-1][:, :k]


def grouped(cube: np.ndarray, spectra: np.ndarray, *, centred: bool) -> np.ndarray:
    plan = plan_groups(len(cube), n_subs=N_SUBS, n_ovls=N_OVLS)
    mean, vectors = basis(np.concatenate([spectra[:, s : s + N_SUBS] for s in plan.starts]), CHANNELS, centred=centred)
    pixels = cube.reshape(len(cube), -1).T
    total, weight = np.zeros_like(pixels), np.zeros(len(cube))
    for start in plan.starts:
        group = pixels[:, start : start + N_SUBS]
        total[:, start : start + N_SUBS] += (group - mean) @ vectors @ vectors.T + mean
        weight[start : start + N_SUBS] += 1
    return (total / weight).T.reshape(cube.shape)


def whole(cube: np.ndarray, spectra: np.ndarray, k: int) -> np.ndarray:
    _, vectors = basis(spectra, k, centred=False)
    pixels = cube.reshape(len(cube), -1).T
    return (pixels @ vectors @ vectors.T).T.reshape(cube.shape)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("root", type=Path, help="folder with <scene>_ms folders")
    options = parser.parse_args()
    cubes = {p.name: hsipipe.open_cube(p).values.astype(np.float64) for p in sorted(options.root.glob("*_ms"))}
    names = list(cubes)
    rng = np.random.default_rng(0)
    pixels = [cubes[n].reshape(len(cubes[n]), -1).T for n in names[:-3]]
    spectra = np.concatenate([p[rng.choice(len(p), min(ROWS, len(p)), replace=False)] for p in pixels])
    k = CHANNELS * plan_groups(spectra.shape[1], n_subs=N_SUBS, n_ovls=N_OVLS).count
    results: dict[str, list[dict[str, float]]] = {}
    for name in names[-3:]:
        hr = cubes[name]
        up = upsample(hsipipe.degrade(hr, scale=SCALE), SCALE)
        rows = {
            "bicubic": up,
            f"PCA-{k} of all bands": whole(hr, spectra, k),
            "groups' PCA, centred": grouped(hr, spectra, centred=True),
            "groups' PCA, not centred": grouped(hr, spectra, centred=False),
            "groups' PCA, not centred, residual decoding": up
            + grouped(hr, spectra, centred=False)
            - grouped(up, spectra, centred=False),
        }
        for row, sr in rows.items():
            results.setdefault(row, []).append(hsipipe.score(sr.clip(0, 1), hr, scale=SCALE))
    table = {
        row: {key: float(np.mean([s[key] for s in scores])) for key in ("mpsnr_db", "sam_deg")}
        for row, scores in results.items()
    }
    print(f"mean of {', '.join(names[-3:])}, x{SCALE}; {CHANNELS} channels for each {N_SUBS} bands")
    for row, means in table.items():
        print(f"| {row:44} | {means['mpsnr_db']:6.2f} | {means['sam_deg']:5.2f} |")
    record = {"environment": environment("numpy"), "scenes": names[-3:], "scale": SCALE, "rows": table}
    write_record(options.json, record)


if __name__ == "__main__":
    main()
