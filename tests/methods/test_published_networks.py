"""Published networks: parameter counts and outputs of the published code, scales, receptive fields, losses.

The numbers were computed once with the published code at C bands and scale 4: parameters at C = 31, 102 and 128; for a
fixed input and weights given by a formula, mean, standard deviation and three values of the output in float64.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hsipipe.errors import ParamsError
from hsipipe.methods.base import Frame
from hsipipe.methods.catalogue import entry, method_settings, methods
from hsipipe.methods.cegatsr import nearest
from hsipipe.methods.fusion.published import PublishedFusion
from hsipipe.methods.losses import edge_difference, published_loss, squared_error, squared_variation
from hsipipe.methods.network_method import PublishedMethod
from hsipipe.methods.networks.published import BandGroups
from hsipipe.params import PublishedLossParams, load_params

UNUSED = 4864
"""Parameters of the branch that CEGATSR's published code computes and discards, at 64 features."""
SPARE = 16 * 2 * 180
"""Parameters of a normalisation in each of the 16 layers of CST that the published code never uses."""
COUNTS = {
    "edsr-paper": (43218975, 43546214, 43666048),
    "edsr-baseline": (1549855, 1631718, 1661696),
    "edsr-dmgasr": (6122527, 6286182, 6346112),
    "gdrrn": (218880, 382464, 442368),
    "gdrrn-dmgasr": (366336, 529920, 589824),
    "sspsr": (26077475, 26568298, 26748036),
    "sspsr-dmgasr": (3288919, 3534366, 3624248),
    "mcnet": (2174094, 2174094, 2174094),
    "mcnet-dmgasr": (546382, 546382, 546382),
    "cegatsr": (982779 - UNUSED, 1105538 - UNUSED, 1150492 - UNUSED),
    "cegatsr-dmgasr": (739123 - UNUSED, 861882 - UNUSED, 906836 - UNUSED),
    "gelin": (24428552, 24428552, 24428552),
    "gelin-dmgasr": (5229304, 5229304, 5229304),
    "snlsr": (1439331, 1594821, 1651761),
    "cst": (10647483 - SPARE, 10992614 - SPARE, 11119000 - SPARE),
}
# The full sizes of SSPSR, MCNet and GELIN take seconds; their smaller ones have the same layers.
OUTPUTS = {
    "edsr-baseline": (0.004837212, 0.03230393, -0.04973511, -0.03823727, -0.01588125),
    "edsr-dmgasr": (0.004077657, 0.03453761, -0.04897463, -0.04266832, -0.02046506),
    "gdrrn": (0.4984663, 0.2880657, 0.4605274, 0.1817435, 0.8734908),
    "sspsr-dmgasr": (0.004120568, 0.04917497, -0.02711518, -0.05978828, -0.03485126),
    "mcnet-dmgasr": (0.0527371, 0.01607138, 0.04810529, 0.04210536, 0.05012545),
    "cegatsr": (0.02072375, 0.1081796, -0.1343018, 0.07952982, -0.03139584),
    "cegatsr-dmgasr": (0.02187136, 0.1126364, -0.1330916, 0.08695225, -0.03175065),
    "gelin-dmgasr": (0.4776533, 0.2880048, 0.4815136, 0.1666358, 0.8349981),
    "snlsr": (0.4986534, 0.3045739, 0.4652384, 0.1821728, 0.8942188),
    "cst": (0.003437291, 0.05396397, -0.01865186, -0.05924087, -0.04876177),
}
# Every entry of a published network, also those that the contract leaves to another one of their class.
PUBLISHED = sorted(name for name, kind in methods().items() if issubclass(kind, PublishedMethod | PublishedFusion))
TINY = {
    "edsr-paper": {"width": 8, "blocks": 2},
    "gdrrn": {"width": 8, "recursions": 2},
    "sspsr": {"width": 16, "blocks": 1},
    "mcnet": {"width": 4, "blocks": 1},
    "cegatsr": {"width": 8, "blocks": 1},
    "gelin": {"width": 8, "blocks": 1, "n_subs": 4, "n_ovls": 1},
    "snlsr": {"width": 8, "endmembers": 4, "blocks": 1},
    "cst": {"width": 12, "stages": 1, "layers": 2},
}


@pytest.fixture(scope="module")
def make(repository):
    """A function that makes a method in the sizes of params.yaml, with changes."""
    params = load_params(repository / "params.yaml")

    def make(name, bands=31, scale=4, **changes):
        settings = method_settings(params, name).model_copy(update=changes)
        torch.manual_seed(0)
        return methods()[name](Frame(bands, scale), settings)

    return make


def tiny(make, name, bands=10, scale=4, **changes):
    return make(name, bands, scale, **{**TINY[name], **changes})


def fill(network):
    """Give every weight a value by a formula; what is neither a weight nor a bias keeps its initial value."""
    for module in network.modules():
        for name, weights in module.named_parameters(recurse=False):
            n = weights.numel()
            wave = torch.cos(0.37 * torch.arange(n, dtype=torch.float64) + 0.11 * n).reshape(weights.shape)
            if weights.ndim >= 2:
                weights.data = wave / math.sqrt(n / weights.shape[0])
            elif name == "bias" and not isinstance(module, nn.LayerNorm):
                weights.data = 0.05 * wave


@pytest.mark.parametrize("name", COUNTS)
def test_an_entry_has_the_parameters_of_the_published_size(make, name):
    with torch.device("meta"):
        counts = [sum(p.numel() for p in make(name, bands).net.parameters()) for bands in (31, 102, 128)]
    assert tuple(counts) == COUNTS[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_entry_can_be_made_for_other_sensors(repository, name):
    settings = method_settings(load_params(repository / "params.yaml"), name)
    with torch.device("meta"):
        for bands, msi_bands in ((31, 3), (102, 4)):
            kind = methods()[name]
            method = kind(Frame(bands, 4, msi_bands=msi_bands if kind.FUSES else None), settings)
            assert sum(weights.numel() for weights in method.parameters()) > 1000


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_output_is_that_of_the_published_code(make, name):
    method = make(name).double().eval()
    fill(method.net)
    band, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (31, 16, 16)), indexing="ij")
    lr = (0.5 + 0.4 * torch.sin(0.3 * band + 0.5 * y + 0.7 * x))[None]
    # The published codes interpolate with a = -0.75.
    up = F.interpolate(lr, scale_factor=4, mode="bicubic", align_corners=False)
    with torch.inference_mode():
        sr = method.published(lr, up)
    got = sr.mean(), sr.std(correction=0), sr[0, 0, 0, 0], sr[0, 15, 32, 21], sr[0, -1, -1, -1]
    # All seven digits: in CST another order of the heads changes the last one only.
    assert tuple(float(f"{float(value):.7g}") for value in got) == OUTPUTS[name]


@pytest.mark.parametrize("name", TINY)
def test_a_method_adds_the_published_output_less_the_interpolation(make, name):
    method = tiny(make, name).eval()
    lr = torch.rand(2, 10, 16, 16)
    up = method.resampler(lr).up(lr)
    with torch.inference_mode():
        torch.testing.assert_close(method(lr) + up, method.net(lr, up) if name != "mcnet" else method.net(lr))


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("name", TINY)
def test_every_scale_and_odd_images_have_a_network(make, name, scale):
    method = tiny(make, name, scale=scale).eval()
    lr = torch.rand(1, 10, 7, 5)
    with torch.inference_mode():
        residual = method(lr)
    assert residual.shape == (1, 10, 7 * scale, 5 * scale)
    assert residual.isfinite().all()


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("gelin", {"scale": 5}, "no upsampling by 5; expected 1, 2, 3, 4, 8"),
        ("gelin", {"width": 9}, "width = 9, expected an even number"),
        ("snlsr", {"width": 6}, "width = 6, expected a multiple of 4"),
        ("cst", {"width": 8}, "width = 8, expected a multiple of 12"),
        ("gdrrn", {"width": 9}, "width = 9, expected a multiple of groups = 2"),
        ("sspsr", {"n_subs": 12}, "n_subs = 12 bands .* do not fit 10 bands"),
        ("cegatsr", {"n_ovls": 4}, "share n_ovls = 4 do not fit"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_when_it_is_made(make, name, changes, message):
    with pytest.raises(ParamsError, match=message):
        tiny(make, name, **changes)


@pytest.mark.parametrize("name", TINY)
def test_it_learns_one_patch_better_than_interpolation(make, name):
    method = tiny(make, name, scale=2, width={"mcnet": 8, "edsr-paper": 32, "cst": 12}.get(name, 16)).train()
    band, y, x = torch.meshgrid(*(torch.arange(float(n)) for n in (10, 16, 16)), indexing="ij")
    share = 0.5 + 0.5 * torch.sin(1.5 * x + 0.8 * y)
    hr = (share * (0.3 + 0.02 * band) + (1 - share) * (0.6 - 0.03 * band))[None]
    lr = F.avg_pool2d(hr, 2)
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    up = method.resampler(lr).up(lr)
    for _ in range(400):
        loss = (up + method(lr) - hr).square().mean()
        if loss < 0.5 * (up - hr).square().mean():
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pytest.fail(f"the error is still {float(loss):.3g}")


def change_at(method, lr, *, band=slice(None), y=0, x=0):
    """The absolute change (C, H, W) of a prediction where one LR pixel changes."""
    moved = lr.clone()
    moved[:, band, y, x] += 0.3
    with torch.inference_mode():
        return (method.published(*with_up(method, moved)) - method.published(*with_up(method, lr))).abs()[0]


def with_up(method, lr):
    return lr, method.resampler(lr).up(lr)


def test_gdrrn_sees_two_pixels_more_with_each_recursion(make):
    method = tiny(make, "gdrrn", scale=1).eval()
    seen = change_at(method, torch.rand(1, 10, 32, 32)).amax(dim=0)[0]
    # Head and tail see one pixel each.
    assert (seen[:7] > 0).all()
    assert (seen[7:] == 0).all()


def test_a_group_of_gelin_sees_its_neighbours_cyclically(make):
    method = tiny(make, "gelin", bands=16, n_ovls=0).eval()
    for part in method.net.modules():
        if isinstance(part, nn.PReLU):
            part.weight.data.fill_(0.25)
    seen = change_at(method, torch.rand(1, 16, 8, 8), band=slice(0, 4)).amax(dim=(1, 2))
    assert (seen.reshape(4, 4).amax(dim=1) > 0).tolist() == [True, True, False, True]


def test_mcnet_takes_any_number_of_bands(make):
    network = tiny(make, "mcnet").net
    assert network(torch.rand(1, 3, 4, 4)).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("name", ["mcnet", "mcnet-dmgasr"])
def test_mcnet_centres_the_bands_where_its_settings_say_so(untrained, name):
    method, data = untrained(name)
    mean = data.train.read(range(len(data.train)))["hr"].mean(axis=(0, 2, 3))
    if name == "mcnet":
        np.testing.assert_allclose(method.mean.flatten(), mean, rtol=0.05)
    else:
        assert not method.mean.any()


def test_the_graph_joins_each_node_with_itself_and_the_six_nearest(monkeypatch):
    nodes = torch.rand(2, 40, 5)
    distances = (nodes[:, :, None] - nodes[:, None]).square().sum(dim=3)
    expected = distances.argsort(dim=2)[:, :, :7]
    assert torch.equal(nearest(nodes), expected)
    assert torch.equal(expected[:, :, 0], torch.arange(40).expand(2, 40))
    monkeypatch.setattr("hsipipe.methods.cegatsr._ROWS", 7)
    assert torch.equal(nearest(nodes), expected)
    assert nearest(nodes[:, :4]).shape == (2, 4, 4)


def test_the_windows_of_cst_are_cut_joined_and_masked(make):
    method = tiny(make, "cst")
    shifted = method.net.stages[0].layers[1].spatial.wide
    image = torch.rand(2, 6, 16, 32)
    assert torch.equal(shifted._joined(shifted._cut(image), image.shape[2:]), image)
    mask = shifted._mask(image.shape[2:], (1, 8)).reshape(8, 2, 2, 16, 2, 16)
    # Only the last windows of rows and of columns hold pixels from the other side of the image.
    assert (mask[:7, 0] == 0).all()
    assert (mask[7, :, 0, :, 1] == -100).all()
    assert (mask[:, 1, :, :8, :, 8:] == -100).all()


def test_an_image_of_cst_does_not_depend_on_the_others_of_its_batch(make):
    method = tiny(make, "cst").eval()
    lr = torch.rand(2, 10, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(method(lr)[1:], method(lr[1:]))


def test_the_abundances_of_snlsr_are_shares(make):
    shares = tiny(make, "snlsr").net.abundances(torch.rand(1, 10, 16, 16))
    assert (shares >= 0).all()
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(1, 16, 16))


def test_groups_that_are_cut_and_merged_give_the_cube():
    groups, cube = BandGroups(31, n_subs=8, n_ovls=2), torch.rand(2, 31, 3, 3)
    assert groups.starts == (0, 6, 12, 18, 23)
    assert torch.equal(groups.split(cube)[4], cube[0, 23:])
    torch.testing.assert_close(groups.merge(groups.split(cube)), cube)


def test_the_terms_of_the_losses_follow_their_formulas():
    x, y = (np.random.default_rng(seed).random((2, 5, 6, 7)) for seed in (0, 1))
    steps = [np.diff(x, axis=axis) for axis in (1, 2, 3)]
    variation = 2 * np.square(steps[0]).mean() + np.square(steps[1]).mean() + np.square(steps[2]).mean()

    def edges(cube):
        at = cube[:, 1:, 1:, 1:]
        before = cube[:, :-1, 1:, 1:], cube[:, 1:, :-1, 1:], cube[:, 1:, 1:, :-1]
        return np.sqrt(sum(np.square(at - one) for one in before) + 1e-6)

    cubes, edge = (torch.from_numpy(x), torch.from_numpy(y)), np.abs(edges(x) - edges(y)).mean()
    assert float(squared_variation(cubes[0])) == pytest.approx(variation)
    assert float(edge_difference(*cubes)) == pytest.approx(edge)
    assert float(squared_error(*cubes)) == pytest.approx(np.square(x - y).sum() / 2)
    weights = {"l1": 1.0, "sam": 0.0, "gradient": 0.0, "squares": 0.5, "variation": 0.001, "edges": 0.1}
    total = (
        np.abs(x - y).mean() + np.square(x - y).sum() / 4 + 0.001 * variation + 0.1 * np.abs(edges(x) - edges(y)).mean()
    )
    assert float(published_loss(*cubes, PublishedLossParams(**weights))) == pytest.approx(total)


def test_a_reduced_width_has_another_name(make):
    for name in ("gdrrn", "sspsr", "mcnet", "gelin", "cst"):
        assert entry(f"{name}-small").like == name
        with torch.device("meta"):
            small, full = (sum(p.numel() for p in make(one).net.parameters()) for one in (f"{name}-small", name))
        assert small < full / 2
