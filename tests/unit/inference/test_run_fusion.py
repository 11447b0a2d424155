"""A fusion in windows has the bits of that of the whole pair, whatever the windows."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsipipe.degradation.psf import Psf
from hsipipe.formats import open_cube
from hsipipe.formats.base import make_cube
from hsipipe.formats.regrid import refine
from hsipipe.inference.guard import coarser_gain_db
from hsipipe.inference.holes import fill_holes, joined, open_holes
from hsipipe.inference.msi_holes import fill_from_lr, fill_source
from hsipipe.inference.plan import BLOCK, Plan
from hsipipe.inference.run import WindowPrediction, goes_in_windows
from hsipipe.inference.scene import predict_scene
from hsipipe.inference.sink import open_sink
from hsipipe.inference.source import survey
from hsipipe.inference.statistics import Statistic
from hsipipe.methods.catalogue import methods
from hsipipe.methods.fusion.setup import Denoising, Pairing
from hsipipe.methods.fusion_fast.method import FusionFast
from hsipipe.methods.gsa import Gsa
from hsipipe.methods.mtf_glp import MtfGlp
from hsipipe.methods.mtf_glp_hpm import MtfGlpHpm
from hsipipe.methods.sfim import Sfim
from hsipipe.params import SamplingParams

SCALE, BANDS, MSI_BANDS = 2, 4, 2
PSF = Psf("gaussian", mtf=0.3)


@cache
def model_of(name):
    if name != "fusion-fast":
        return {"sfim": Sfim, "mtf-glp": MtfGlp, "mtf-glp-hpm": MtfGlpHpm, "gsa": Gsa}[name](SCALE, PSF)
    import torch

    torch.manual_seed(0)
    model = FusionFast(
        Pairing(BANDS, MSI_BANDS, SCALE, PSF, "estimated"),
        Denoising("regression", "cosine", 1000, "x0", scale_input=True),
        components=3, windows=[2], width=4, blocks=1,
    )  # fmt: skip
    torch.nn.init.normal_(model.tail.weight, std=0.05)
    how = {
        "sampler": "ddim",
        "steps": 1,
        "residual_decode": False,
        "consistency": 1,
        "tile": 8,
        "overlap": 0,
        "seed": 0,
    }
    return model.eval().requires_grad_(False).with_sampling(SamplingParams.saved(how))


def pair(height, width, *, seed, holes):
    rng = np.random.default_rng(seed)
    images = [rng.random((BANDS, height, width)), rng.random((MSI_BANDS, height * SCALE, width * SCALE))]
    for image in images:
        image[0, rng.random(image.shape[1:]) < holes] = np.nan
    return [make_cube(da.from_array(image.astype(np.float32), chunks=(-1, 7, -1))) for image in images]


@settings(max_examples=6, deadline=None)
@given(
    st.sampled_from(["sfim", "mtf-glp", "mtf-glp-hpm", "gsa", "fusion-fast"]),
    st.tuples(st.integers(5, 40), st.integers(5, 40)),
    st.tuples(st.integers(4, 20), st.integers(0, 3)).filter(lambda size: 2 * size[1] < size[0]),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.02]),
    st.integers(0, 99),
)
def test_windows_have_the_bits_of_the_whole(name, size, tiles, shard, side_by_side, holes, seed):
    model, (lr, msi), (tile, overlap) = model_of(name), pair(*size, seed=seed, holes=holes), tiles
    low, low_holes = fill_holes(lr.to_numpy(), "lr")
    high, high_holes = fill_holes(msi.to_numpy(), "msi")
    if high_holes is not None:
        high = fill_from_lr(low, high, high_holes, low_holes, scale=SCALE, psf=PSF, known=None)
    whole = predict_scene(model, low, tile=tile, overlap=overlap, msi=high)
    expected = open_holes(whole, joined(low_holes, high_holes, scale=SCALE))
    plan = Plan(*size, tile, overlap, (shard[0] * BLOCK, shard[1] * BLOCK))
    sources = [survey(cube, "image", full_scale=1.0, example="") for cube in (lr, msi)]
    sources[1] = fill_source(*sources, scale=SCALE, psf=PSF, known=None)
    with TemporaryDirectory() as folder:
        target = Path(folder) / "a.npy"
        with open_sink(
            [target],
            plan,
            wrap=lambda v: refine(lr, v, scale=SCALE),
            bands=BANDS,
            scale=SCALE,
            made_of={},
            provenance={},
        ) as sink:
            sink.create()
            work = WindowPrediction(model, sources[0], sink, plan, (Statistic("mean"),), None, True, sources[1])
            work.run(side_by_side=side_by_side)
            gain = coarser_gain_db(model, low, msi=high, psf=PSF, tile=tile, overlap=overlap)
            assert len(work.doubts()) == (gain is not None and gain < -0.5)
            sink.publish()
        assert open_cube(target).to_numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["cnmf", "hysure", "utv-td", "fuse", "mapsmm"])
def test_methods_of_a_whole_scene_stay_whole(name):
    assert not goes_in_windows(methods()[name](SCALE, PSF))
