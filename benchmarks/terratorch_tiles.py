"""Predict a scene with the tiled inference of terratorch; scenes.py runs this by an interpreter that has terratorch.

    python benchmarks/terratorch_tiles.py SCENE.dat MODEL RESULT.npy

Its images have one size before and after the network, so that it gets each LR pixel s x s times, and the network takes
one of them. Tiles, overlaps and network are those of `hsipipe predict`. It returns the scene in memory.
Prints the CPU time in seconds without that of the imports.
"""

import sys
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
from terratorch.tasks.tiled_inference import tiled_inference

from hsipipe.inference.inputs import OVERLAP, TILE
from hsipipe.methods.catalogue import load_model


def main():
    start = time.process_time()
    scene, model, result = map(Path, sys.argv[1:])
    loaded = load_model(model)
    scale = loaded.scale
    with rasterio.open(scene) as source:
        repeated = source.read().repeat(scale, axis=1).repeat(scale, axis=2)[None]

    def forward(tiles):
        return torch.from_numpy(loaded.predict(np.ascontiguousarray(tiles[..., ::scale, ::scale].numpy())))

    tiles = {"crop": TILE * scale, "stride": (TILE - 2 * OVERLAP) * scale, "delta": 0, "batch_size": 1}
    with torch.inference_mode():
        np.save(result, tiled_inference(forward, torch.from_numpy(repeated), padding=False, **tiles)[0].numpy())
    print(time.process_time() - start)


if __name__ == "__main__":
    main()
