import pytest
import torch

from hsipipe.methods.networks.attention import (
    GatedFeedForward,
    NoiseConditionedLayer,
    SpatialSpectralLayer,
    SpectralAttention,
    WindowAttention,
    from_windows,
    to_windows,
)
from hsipipe.methods.networks.cdformer import Cdformer
from hsipipe.params import CdformerParams

PAPER = CdformerParams(width=256, levels=4, layers=6, window=8, heads=8, expansion=2.66, checkpoint=True)
SMALL = CdformerParams(width=8, levels=2, layers=2, window=4, heads=2, expansion=2.0, checkpoint=False)
BANDS, MSI_BANDS = 5, 3


def _net(seed=0, **changes):
    torch.manual_seed(seed)
    return Cdformer(BANDS, MSI_BANDS, SMALL.model_copy(update=changes))


def _inputs(height=8, width=8):
    torch.manual_seed(1)
    return torch.randn(2, BANDS, height, width), torch.rand(2, BANDS + MSI_BANDS, height, width), torch.rand(2)


def _loss(net, inputs):
    return (net(*inputs) - torch.ones(1)).square().sum()


def _gradients(net, inputs):
    net.zero_grad()
    _loss(net, inputs).backward()
    return {name: parameter.grad for name, parameter in net.named_parameters()}


def test_paper_size_has_the_parameters_of_the_paper():
    with torch.device("meta"):
        net = Cdformer(31, 3, PAPER)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(31.56e6, rel=0.1)


@pytest.mark.parametrize("size", [(8, 8), (9, 6), (13, 1), (3, 2)])
@pytest.mark.parametrize("window", [4, 3, 1])
def test_any_size_comes_out_as_it_went_in(size, window):
    noisy, condition, level = _inputs(*size)
    assert _net(window=window)(noisy, condition, level).shape == noisy.shape


@pytest.mark.parametrize("checkpoint", [False, True])
def test_every_parameter_learns_from_the_first_step_on(checkpoint):
    for name, gradient in _gradients(_net(checkpoint=checkpoint), _inputs(9, 6)).items():
        assert gradient is not None, name
        # Far above rounding: a bias that softmax ignores would show 1e-9.
        assert gradient.abs().max() > 1e-6, name


def test_recomputing_changes_no_gradient():
    kept = _gradients(_net(), _inputs())
    again = _gradients(_net(checkpoint=True), _inputs())
    torch.testing.assert_close(again, kept)


def test_recomputing_keeps_less_for_the_backward_pass():
    def kept(net):
        sizes = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x: sizes.__setitem__(x.untyped_storage().data_ptr(), x.untyped_storage().nbytes()) or x, lambda x: x
        ):
            output = net(*_inputs(16, 16))
        assert output.requires_grad
        return sum(sizes.values())

    assert kept(_net(checkpoint=True)) < kept(_net()) / 3


def test_a_network_from_its_config_gives_the_same():
    net = _net()
    other = Cdformer.from_config(net.config())
    other.load_state_dict(net.state_dict())
    torch.testing.assert_close(other(*_inputs()), net(*_inputs()), rtol=0, atol=0)


def test_training_starts_near_the_interpolated_lr_hsi():
    noisy, condition, level = _inputs(16, 16)
    net = _net(width=32)
    assert (net(noisy, condition, level) - condition[:, :BANDS]).std() < 0.1


def test_the_reconstruction_adds_the_lr_hsi_and_not_the_hr_msi():
    net = _net()
    torch.nn.init.zeros_(net.reconstruction.weight)
    noisy, condition, level = _inputs()
    torch.testing.assert_close(net(noisy, condition, level), condition[:, :BANDS], rtol=0, atol=0)


@pytest.mark.parametrize("changed", ["noisy", "lr_hsi", "hr_msi", "level"])
def test_each_input_matters(changed):
    net = _net()
    noisy, condition, level = _inputs()
    before = net(noisy, condition, level) - condition[:, :BANDS]
    noisy, condition, level = noisy.clone(), condition.clone(), level.clone()
    part = {"noisy": noisy, "lr_hsi": condition[:, :BANDS], "hr_msi": condition[:, BANDS:], "level": level}[changed]
    part.mul_(0.5)
    after = net(noisy, condition, level) - condition[:, :BANDS]
    assert (after - before).abs().max() > 1e-4


def test_images_of_a_batch_do_not_mix():
    net = _net()
    noisy, condition, level = _inputs()
    alone = net(noisy[1:], condition[1:], level[1:])
    torch.testing.assert_close(net(noisy, condition, level)[1:], alone)


def test_features_of_the_condition_can_be_computed_once():
    net = _net()
    noisy, condition, level = _inputs(9, 6)
    features = net.condition_features(condition)
    assert [f.shape for f in features] == [(2, 9, 6, SMALL.width)] * SMALL.levels
    given = net(noisy, condition, level, features=features)
    torch.testing.assert_close(given, net(noisy, condition, level), rtol=0, atol=0)


def test_every_level_of_the_condition_reaches_the_output():
    net = _net()
    noisy, condition, level = _inputs()
    features = [f.detach().requires_grad_() for f in net.condition_features(condition)]
    net(noisy, condition, level, features=features).sum().backward()
    assert all(f.grad is not None and f.grad.abs().max() > 0 for f in features)


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize(("levels", "learning"), [(2, {"1"}), (3, {"1", "2"})])
def test_only_the_second_half_learns(levels, learning, checkpoint):
    net = _net(levels=levels, checkpoint=checkpoint)
    net.train_levels("second_half")
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    _loss(net, _inputs()).backward()
    optimizer.step()
    for name, parameter in net.named_parameters():
        stream, level = name.split(".")[:2]
        learns = stream == "reconstruction" or (stream in ("super_resolution", "denoising") and level in learning)
        assert torch.equal(parameter, before[name]) != learns, name
    net.train_levels("all")
    assert all(p.requires_grad for p in net.parameters())


def test_windows_come_back_where_they_were():
    x = torch.arange(2 * 8 * 12 * 3).reshape(2, 8, 12, 3)
    windows = to_windows(x, 4)
    assert windows.shape == (12, 16, 3)
    torch.testing.assert_close(windows[1], x[0, :4, 4:8].reshape(16, 3))
    torch.testing.assert_close(from_windows(windows, 4, shape=x.shape), x)


@pytest.mark.parametrize(("shifted", "rows", "columns"), [(False, (4, 8), (8, 12)), (True, (6, 10), (6, 10))])
@pytest.mark.parametrize("through", ["x", "context"])
def test_a_pixel_reaches_its_own_window_and_no_other(shifted, rows, columns, through):
    torch.manual_seed(0)
    attention = WindowAttention(8, heads=2, window=4, shifted=shifted)
    x = torch.randn(1, 12, 16, 8)
    context = torch.randn_like(x) if through == "context" else None
    before = attention(x, context)
    (x if context is None else context)[0, 7, 9] += 1
    changed = (attention(x, context) - before).abs().amax(dim=-1)[0] > 0
    expected = torch.zeros(12, 16, dtype=torch.bool)
    expected[slice(*rows), slice(*columns)] = True
    assert torch.equal(changed, expected)


@pytest.mark.parametrize("shifted", [False, True])
def test_window_attention_is_that_of_its_formula(shifted):
    torch.manual_seed(0)
    attention = WindowAttention(8, heads=2, window=4, shifted=shifted)
    x, context = torch.randn(2, 1, 12, 12, 8)
    found = attention(x, context)[0, 7, 6]
    start = 6 if shifted else 4
    window = context[0, start : start + 4, start : start + 4].reshape(16, 8)
    key, value = attention.key_value(window).chunk(2, dim=-1)
    query = attention.query(x[0, 7, 6])
    heads = [
        torch.softmax(key[:, part] @ query[part] / 2, dim=0) @ value[:, part] for part in (slice(0, 4), slice(4, 8))
    ]
    torch.testing.assert_close(found, attention.out(torch.cat(heads)))


@pytest.mark.parametrize("shifted", [False, True])
def test_a_shift_by_a_window_shifts_the_attention(shifted):
    torch.manual_seed(0)
    attention = WindowAttention(8, heads=2, window=4, shifted=shifted)
    x = torch.randn(1, 16, 16, 8)
    moved = attention(x.roll((4, 8), dims=(1, 2)))
    inside = (slice(None), slice(6, 14), slice(10, 14))
    torch.testing.assert_close(moved[inside], attention(x).roll((4, 8), dims=(1, 2))[inside])


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (1, 1)])
@pytest.mark.parametrize("shifted", [False, True])
def test_padding_adds_nothing_to_a_constant_image(size, shifted):
    torch.manual_seed(0)
    attention = WindowAttention(8, heads=2, window=4, shifted=shifted)
    x = torch.randn(8).expand(1, *size, 8)
    torch.testing.assert_close(attention(x), attention.out(attention.key_value(x)[..., 8:]))


def test_a_constant_image_stays_constant_inside():
    # The convolutions pad with zeros, so that the border differs; this network carries that 17 pixels inward at most.
    net = _net(levels=1)
    net.reconstruction.weight.data.mul_(100)
    noisy = torch.randn(1, BANDS, 1, 1).expand(-1, -1, 41, 38)
    condition = torch.rand(1, BANDS + MSI_BANDS, 1, 1).expand(-1, -1, 41, 38)
    output = net(noisy, condition, torch.rand(1))
    inside = output[..., 18:20, 18:20]
    torch.testing.assert_close(inside, inside[..., :1, :1].expand_as(inside))
    assert (output[..., 0, 0] - inside[..., 0, 0]).abs().max() > 0.01


def test_spectral_attention_is_that_of_its_formula():
    torch.manual_seed(0)
    attention = SpectralAttention(8, heads=2)
    attention.temperature.data.uniform_(0.5, 2)
    x = torch.randn(1, 3, 4, 8)
    tokens = attention.qkv(x).reshape(12, 24)
    heads = []
    for head in range(2):
        query, key, value = (tokens[:, 8 * part + 4 * head : 8 * part + 4 * head + 4].T for part in range(3))
        cosines = (query @ key.T) / (query.norm(dim=1)[:, None] * key.norm(dim=1))
        heads.append(torch.softmax(cosines * attention.temperature[head, 0, 0], dim=1) @ value)
    torch.testing.assert_close(attention(x), attention.out(torch.cat(heads).T.reshape(1, 3, 4, 8)))


def test_spectral_attention_does_not_care_where_pixels_are():
    torch.manual_seed(0)
    attention = SpectralAttention(8, heads=2)
    x = torch.randn(1, 6, 4, 8)
    torch.testing.assert_close(attention(x.flip(1)), attention(x).flip(1))


def test_the_feed_forward_sees_three_pixels():
    torch.manual_seed(0)
    layer = GatedFeedForward(8, hidden=12)
    x = torch.randn(1, 7, 7, 8)
    before = layer(x)
    x[0, 3, 3] += 1
    changed = (layer(x) - before).abs().amax(dim=-1)[0] > 0
    assert torch.equal(changed.nonzero().unique(), torch.tensor([2, 3, 4]))
    assert changed.sum() == 9


def test_windows_of_successive_layers_overlap():
    net = _net()
    assert [layer.spatial.shift for layer in net.super_resolution[0]] == [0, 2]
    assert [(layer.cross.shift, layer.layer.spatial.shift) for layer in net.denoising] == [(0, 2), (2, 0)]


@pytest.mark.parametrize("size", [(9, 6), (8, 8)])
def test_layers_keep_the_shape_of_the_features(size):
    x = torch.randn(2, *size, SMALL.width)
    assert SpatialSpectralLayer(SMALL, shifted=True)(x).shape == x.shape
    assert NoiseConditionedLayer(SMALL, shifted=True)(x, x, torch.randn(2, SMALL.width)).shape == x.shape
