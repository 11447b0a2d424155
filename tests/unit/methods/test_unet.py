import pytest
import torch

from hsipipe.methods.networks.unet import Unet
from hsipipe.params import UnetParams

SR3 = UnetParams(
    unshuffle=1, width=64, multipliers=[1, 2, 4, 8, 8], blocks=2, attention=[16], norm="group", dropout=0.2
)
SMALL = SR3.model_copy(update={"width": 8, "multipliers": [1, 2], "attention": [8], "blocks": 1})


def test_paper_size_has_about_98_million_parameters():
    with torch.device("meta"):
        net = Unet(3, SR3, patch=128)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(98e6, rel=0.01)


@pytest.mark.parametrize("unshuffle", [1, 4])
@pytest.mark.parametrize("size", [(16, 16), (10, 13)])
def test_any_size_comes_out_as_it_went_in(unshuffle, size):
    net = Unet(3, SMALL.model_copy(update={"unshuffle": unshuffle}), patch=16).eval()
    x = torch.randn(2, 3, *size)
    assert net(x, x, torch.rand(2)).shape == x.shape


def test_attention_sits_where_its_feature_map_size_occurs():
    net = Unet(3, SMALL, patch=16)
    assert [stages[0].attention is not None for stages in net.down] == [False, True]


def test_the_noise_level_matters():
    torch.manual_seed(0)
    net = Unet(3, SMALL, patch=16).eval()
    x = torch.randn(1, 3, 16, 16)
    assert not torch.equal(net(x, x, torch.tensor([0.1])), net(x, x, torch.tensor([0.9])))


def test_without_normalisation_a_tile_sees_what_the_scene_sees():
    torch.manual_seed(0)
    net = Unet(3, SMALL.model_copy(update={"norm": "none", "attention": []}), patch=16).eval()
    for parameter in net.parameters():
        parameter.data.uniform_(-0.1, 0.1)
    x = torch.randn(1, 3, 96, 96)
    level = torch.tensor([0.5])
    whole, tile = net(x, x, level), net(x[..., :64, :64], x[..., :64, :64], level)
    torch.testing.assert_close(whole[..., :24, :24], tile[..., :24, :24], atol=1e-5, rtol=1e-5)


def test_the_condition_may_have_channels_of_its_own():
    torch.manual_seed(0)
    net = Unet(5, SMALL, patch=16, condition_channels=8).eval()
    noisy, condition, level = torch.randn(2, 5, 10, 13), torch.randn(2, 8, 10, 13), torch.rand(2)
    before = net(noisy, condition, level)
    assert before.shape == noisy.shape
    for channel in (0, 7):
        changed = condition.clone()
        changed[:, channel] += 1
        assert not torch.equal(net(noisy, changed, level), before)


@pytest.mark.parametrize("condition_channels", [None, 8])
def test_a_network_from_its_config_gives_the_same(condition_channels):
    net = Unet(5, SMALL, patch=16, condition_channels=condition_channels).eval()
    other = Unet.from_config(net.config()).eval()
    other.load_state_dict(net.state_dict())
    x, condition, level = torch.randn(1, 5, 16, 16), torch.randn(1, condition_channels or 5, 16, 16), torch.rand(1)
    torch.testing.assert_close(other(x, condition, level), net(x, condition, level), rtol=0, atol=0)


def test_a_config_from_before_conditions_had_channels_of_their_own_still_works():
    net = Unet(5, SMALL, patch=16)
    config = net.config()
    del config["condition_channels"]
    Unet.from_config(config).load_state_dict(net.state_dict())
