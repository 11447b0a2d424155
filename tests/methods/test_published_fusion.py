"""Published fusion networks: their size, their function, and that they can learn; and the methods without training."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hsipipe.degradation.bicubic import upsample
from hsipipe.degradation.psf import Psf
from hsipipe.errors import ParamsError
from hsipipe.methods.base import Frame
from hsipipe.methods.bdt import Bdt, BdtNetwork
from hsipipe.methods.brresnet import Brresnet, BrresnetNetwork
from hsipipe.methods.cmhf_net import CmhfNet, CmhfNetwork
from hsipipe.methods.fusformer import Fusformer, FusformerNetwork
from hsipipe.methods.fusion.gradient_prior import GradientPrior
from hsipipe.methods.fusion.shuffled_windows import shuffle, unshuffle
from hsipipe.methods.msdcnn import Msdcnn, MsdcnnNetwork
from hsipipe.methods.mtf_glp import MtfGlp
from hsipipe.methods.psrt import Psrt, PsrtNetwork
from hsipipe.methods.restfnet import Restfnet, RestfnetNetwork
from hsipipe.methods.ssrnet import Ssrnet, SsrnetNetwork
from hsipipe.methods.tfnet import Tfnet, TfnetNetwork
from hsipipe.methods.ual import Ual, UalNetwork
from hsipipe.methods.utv_td import UtvTd

BANDS, MSI_BANDS, SCALE = 31, 3, 4


def bicubic(lr):
    return F.interpolate(lr, scale_factor=SCALE, mode="bicubic")


# The published size and, of the published code: its parameters at 31 + 3, 102 + 4 and 128 + 4 bands, those without
# effect on the output that are omitted here, and, with weights of a closed formula, mean, standard deviation and three
# values of the output.
PUBLISHED = {
    "brresnet": (
        lambda bands=BANDS, msi_bands=MSI_BANDS: BrresnetNetwork(bands, msi_bands),
        ((406815, 489254, 519232), 0),
        lambda net, lr, msi: net(lr, msi),
        (0.5024221, 0.267875, 0.4495583, 0.1798722, 0.8707635),
    ),
    "ual": (
        lambda bands=BANDS, msi_bands=MSI_BANDS: UalNetwork(bands, msi_bands),
        ((7097695, 7262502, 7322432), 0),
        lambda net, lr, msi: net(bicubic(lr), msi),
        (0.00409409, 0.03424061, -0.04723858, -0.04781136, -0.01599705),
    ),
    "fusformer": (
        lambda bands=BANDS, msi_bands=MSI_BANDS: FusformerNetwork(bands, msi_bands),
        ((504463, 538662, 551168), 393216),
        lambda net, lr, msi: net(bicubic(lr).clamp(0, 1), msi),
        (0.5082599, 0.3308594, 0.349664, 0.1580489, 0.9214352),
    ),
    "cmhf-net": (
        lambda bands=BANDS, msi_bands=MSI_BANDS: CmhfNetwork(bands, msi_bands, scale=SCALE),
        ((1211047, 10791840, 16717786), 0),
        lambda net, lr, msi: net(lr, msi),
        (0.9219305, 14.11179, -2.792865, 0.4489565, -2.965236),
    ),
    "restfnet": (
        lambda bands=BANDS, msi_bands=MSI_BANDS: RestfnetNetwork(bands, msi_bands, scale=SCALE),
        ((2262131, 2323834, 2346324), 0),
        lambda net, lr, msi: net(lr, msi),
        (0.08678058, 0.2306026, 0.07544365, -0.1422679, 0.1578169),
    ),
    "tfnet": (
        lambda bands=BANDS, msi_bands=MSI_BANDS: TfnetNetwork(bands, msi_bands, scale=SCALE),
        ((2386801, 2448504, 2470994), 0),
        lambda net, lr, msi: net(lr, msi),
        (0.01406565, 0.02258469, -0.01207959, -0.01080775, -0.004740128),
    ),
    "msdcnn": (
        lambda bands=BANDS, msi_bands=MSI_BANDS: MsdcnnNetwork(bands, msi_bands, scale=SCALE),
        ((539364, 1234484, 1486060), 0),
        lambda net, lr, msi: net(lr, msi),
        (0.2095559, 0.7509608, -0.160583, -0.02560687, -0.3399105),
    ),
    "ssrnet": (
        lambda bands=BANDS, msi_bands=MSI_BANDS: SsrnetNetwork(bands, msi_bands, scale=SCALE),
        ((26041, 281215, 442753), 1),
        lambda net, lr, msi: net(lr, msi),
        (0.1732335, 0.123595, 0.0, 0.4310224, 0.0337386),
    ),
    "psrt": (
        lambda bands=BANDS, msi_bands=MSI_BANDS: PsrtNetwork(bands, msi_bands),
        ((247455, 288710, 303712), 0),
        lambda net, lr, msi: net(bicubic(lr), msi),
        (41.70675, 57.74767, 72.97858, -15.09134, -10.43589),
    ),
    "bdt": (
        lambda bands=BANDS, msi_bands=MSI_BANDS: BdtNetwork(bands, msi_bands),
        ((2668027, 3057894, 3263554), 0),
        lambda net, lr, msi: net(lr, bicubic(lr), msi),
        (0.4985173, 0.2872843, 0.4451625, 0.183966, 0.8871308),
    ),
}
every = pytest.mark.parametrize("name", PUBLISHED)


def filled(net):
    """The network in float64, its weights and biases by the formula, all else as it begins."""
    layers = [m for m in net.double().modules() if isinstance(m, nn.modules.conv._ConvNd | nn.Linear)]
    biases = {id(layer.bias) for layer in layers}
    for weights in net.parameters():
        count = weights.numel()
        waves = torch.cos(0.37 * torch.arange(count, dtype=torch.float64) + 0.11 * count).reshape(weights.shape)
        if weights.ndim >= 2:
            weights.data = waves / math.sqrt(count / len(weights))
        elif id(weights) in biases:
            weights.data = 0.05 * waves
    return net.eval().requires_grad_(False)


def wave_images():
    band, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (BANDS, 16, 16)), indexing="ij")
    lr = 0.5 + 0.4 * torch.sin(0.3 * band + 0.5 * y + 0.7 * x)
    band, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (MSI_BANDS, 64, 64)), indexing="ij")
    return lr[None], (0.5 + 0.4 * torch.cos(0.2 * band + 0.15 * y + 0.1 * x))[None]


@every
def test_it_has_the_published_number_of_parameters(name):
    build, (published, without_effect), _, _ = PUBLISHED[name]
    with torch.device("meta"):
        networks = [build(bands, msi_bands) for bands, msi_bands in ((31, 3), (102, 4), (128, 4))]
    counts = [sum(weights.numel() for weights in network.parameters()) for network in networks]
    assert counts == [count - without_effect for count in published]


def test_cmhf_net_has_the_parameters_of_the_published_checkpoint():
    network = CmhfNetwork(BANDS, MSI_BANDS, scale=32)
    assert sum(weights.numel() for weights in network.parameters()) == 3006763


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "ual" else ()) for name in PUBLISHED]
)
def test_it_computes_what_the_published_code_computes(name):
    build, _, apply, expected = PUBLISHED[name]
    # Attention between 4096 pixels takes four times as long in float64; float32 still gives six digits.
    dtype, close = (torch.float32, 5e-6) if name == "fusformer" else (torch.float64, 1e-6)
    sr = apply(filled(build()).to(dtype), *(image.to(dtype) for image in wave_images()))
    points = (sr[0, 0, 0, 0], sr[0, BANDS // 2, 64 // 2, 64 // 3], sr[0, -1, -1, -1])
    got = [float(value) for value in (sr.double().mean(), sr.double().std(correction=0), *points)]
    assert got == pytest.approx(expected, rel=close, abs=1e-8)


def test_ual_computes_what_the_published_code_computes_in_two_corners():
    """Faster than the whole image: 19 pixels is as far as the network sees."""
    net, (lr, msi), expected = filled(UalNetwork(BANDS, MSI_BANDS)).float(), wave_images(), PUBLISHED["ual"][3]
    up, msi = bicubic(lr).float(), msi.float()
    first, last = (np.s_[:, :, part, part] for part in (slice(0, 20), slice(-20, None)))
    got = [float(net(up[first], msi[first])[0, 0, 0, 0]), float(net(up[last], msi[last])[0, -1, -1, -1])]
    assert got == pytest.approx((expected[2], expected[4]), rel=1e-5)


def settings(**sizes):
    return SimpleNamespace(**sizes)


SMALL = {
    "brresnet": (Brresnet, settings(width=8, blocks=2)),
    "ual": (Ual, settings(width=8)),
    "fusformer": (Fusformer, settings(head_width=4, attention_px=16)),
    "cmhf-net": (CmhfNet, settings(stages=3, rank=3, refinements=1)),
    "restfnet": (Restfnet, settings(width=8)),
    "tfnet": (Tfnet, settings(width=8)),
    "msdcnn": (Msdcnn, settings()),
    "ssrnet": (Ssrnet, settings()),
    "psrt": (Psrt, settings(width=8, pyramids=1)),
    "bdt": (Bdt, settings(width=8)),
}


def small(name, *, bands=6, msi_bands=3, scale=4):
    kind, sizes = SMALL[name]
    torch.manual_seed(0)
    return kind(Frame(bands, scale, msi_bands=msi_bands), sizes)


@every
@pytest.mark.parametrize(("scale", "msi_bands"), [(2, 1), (8, 4), (16, 3), (32, 7)])
def test_it_takes_any_scale_and_number_of_msi_bands(name, scale, msi_bands):
    method = small(name, scale=scale, msi_bands=msi_bands).eval()
    edge = 32 // scale
    lr, msi = torch.rand(1, 6, edge, edge), torch.rand(1, msi_bands, 32, 32)
    with torch.inference_mode():
        assert method(lr, msi).shape == (1, 6, 32, 32)


def test_cmhf_net_refuses_a_scale_that_it_cannot_reach_by_doubling():
    with pytest.raises(ParamsError, match="needs a scale of 2, 4, 8, 16 or 32, got 3"):
        small("cmhf-net", scale=3)


@every
def test_it_learns_one_patch_by_heart(name):
    hr = torch.from_numpy(scene())[None]
    response = torch.tensor([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]]) / 2
    batch = {"hr": hr, "lr": F.avg_pool2d(hr, 4), "msi": torch.einsum("kc,bchw->bkhw", response, hr)}
    method = small(name).train()
    optimizer, losses = torch.optim.Adam(method.parameters(), lr=2e-3), []
    for _ in range(10 if name == "bdt" else 40):  # padded to 64 pixels, a step of it takes longer
        loss = method.loss(method, batch, None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < (0.9 if name == "bdt" else 0.7) * losses[0]


def scene(bands=6, size=16, rank=3):
    """Mixtures of `rank` spectra whose abundances are products of a row and a column: a Tucker model."""
    rng = np.random.default_rng(0)
    rows, columns = rng.uniform(0, 1, (2, rank, size))
    spectra = rng.uniform(0.1, 0.9, (bands, rank))
    return np.einsum("cr,ry,rx->cyx", spectra, rows, columns).astype(np.float32) / rank


def test_shuffled_cells_lie_in_quadrants_and_go_back():
    x = torch.arange(8 * 8.0).reshape(1, 8, 8, 1)
    shuffled = shuffle(x, 2)
    assert torch.equal(unshuffle(shuffled, 2), x)
    # The cell of the third and fourth row and the first two columns is the first of an odd row.
    assert torch.equal(shuffled[0, 4:6, :2, 0], x[0, 2:4, :2, 0])


def test_ssrnet_puts_the_msi_bands_in_evenly_spaced_places():
    assert SsrnetNetwork(31, 3, scale=4).replaced == [0, 15, 30]
    assert SsrnetNetwork(10, 4, scale=4).replaced == [0, 3, 6, 9]


PSF = Psf("gaussian", sigma=1.7)
RESPONSE = np.kron(np.eye(3), [[0.5, 0.5]])


def observed(hr):
    return PSF.downsample(hr, 4), np.einsum("kc,chw->khw", RESPONSE, hr).astype(np.float32)


def test_mtf_glp_without_detail_is_the_interpolation():
    lr, _ = observed(scene())
    flat = np.full((1, 3, 16, 16), 0.3, dtype=np.float32)
    np.testing.assert_allclose(MtfGlp(4, PSF).predict(lr[None], msi=flat)[0], upsample(lr, 4), atol=1e-6)


def test_utv_td_recovers_a_scene_of_its_model():
    hr = scene(size=32)
    lr, msi = observed(hr)
    sr = UtvTd(4, PSF, RESPONSE, spectra=3).predict(lr[None], msi=msi[None])[0]
    np.testing.assert_allclose(sr, hr, atol=3e-3)


def test_the_gradient_prior_keeps_the_truth_and_agrees_with_both_images():
    hr = scene(size=32)
    lr, msi = observed(hr)
    refine = GradientPrior().refine
    kept = refine(hr, lr, msi, psf=PSF, response=RESPONSE, scale=4)
    np.testing.assert_allclose(kept, hr, atol=1e-4)
    start = upsample(lr, 4)
    refined = refine(start, lr, msi, psf=PSF, response=RESPONSE, scale=4)
    np.testing.assert_allclose(PSF.downsample(refined, 4), lr, atol=2e-3)
    np.testing.assert_allclose(np.einsum("kc,chw->khw", RESPONSE, refined), msi, atol=2e-3)
    assert np.square(refined - hr).mean() < 0.2 * np.square(start - hr).mean()
