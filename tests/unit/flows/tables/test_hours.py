"""Estimates of training time: counted operations, and the share of a convolution's rate."""

import math

import pytest
import torch

from flows.tables.hours import OTHER, Cost, costs, efficiency
from flows.tables.paper_tables import paper_tables
from hsipipe.methods.base import Frame
from hsipipe.methods.catalogue import entries, is_trained
from hsipipe.methods.training_cost import autoencoder_flop, method_flop
from hsipipe.params import Params, load_params

COUNTED = sorted({name for table in paper_tables().values() for part in table.parts for name in part.methods})


@pytest.fixture(scope="module")
def params(repository):
    return load_params(repository / "params.yaml")


@pytest.mark.parametrize("name", COUNTED)
def test_every_method_of_the_tables_can_be_counted(name, params):
    """At a small patch; a method without training costs nothing."""
    if not is_trained(params, name):
        return
    tree = params.model_dump()
    tree["methods"]["hsrdiff-paper"]["progressive"] = [{"until": 1.0, "size": 16, "batch": 1, "trains": "all"}]
    flop = method_flop(Params.model_validate(tree), name, Frame(48, 4, patch=32, msi_bands=3))
    assert flop > 1e6


def test_operations_are_those_worked_out_by_hand_and_grow_with_the_pixels(params):
    """EDSR with one block: multiply-adds of the output, of the gradient of the weights and of that of the input."""
    tree = params.model_dump()
    tree["methods"]["edsr"] |= {"width": 64, "blocks": 1}
    pixels, batch = 8 * 8, tree["methods"]["edsr"]["optimizer"]["batch"]
    head, body, tail = 9 * 31 * 64, 3 * 9 * 64 * 64, 9 * 64 * 31 * 16
    # The head needs no gradient of its input, which is the data.
    by_hand = 2 * batch * pixels * (2 * head + 3 * (body + tail))
    assert method_flop(Params.model_validate(tree), "edsr", Frame(31, 4, patch=32)) == pytest.approx(by_hand, rel=0.15)
    small, large = (autoencoder_flop(params, "paper", Frame(31, 4, patch=patch)) for patch in (32, 64))
    assert large == pytest.approx(4 * small, rel=0.01)
    assert autoencoder_flop(params, "pixels-3", Frame(31, 4, patch=32)) == 0


def test_counting_leaves_the_random_numbers_of_torch_alone(params):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    method_flop(params, "restfnet", Frame(31, 4, patch=16, msi_bands=3))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", ["pca-residual-diffusion", "fusion-fast"])
def test_what_depends_on_values_is_unknown(params, name):
    assert math.isnan(method_flop(params, name, Frame(31, 4, patch=16, msi_bands=3)))


def test_hours_are_steps_times_operations_by_the_rate():
    assert Cost("x", steps=3600, flop=5e9, efficiency=0.5).hours(1e10) == pytest.approx(1.0)


def test_the_trainings_of_a_table_are_listed_once_with_their_autoencoder(params):
    tree = params.model_dump()
    tree["compare"] = ["bicubic", "dmgasr-latent", "dmgasr-without-gd"]
    names = [cost.name for cost in costs(Params.model_validate(tree), Frame(31, 4, patch=16))]
    assert names == ["autoencoder standard", "autoencoder without-gd", "dmgasr-latent", "dmgasr-without-gd"]


def test_an_entry_that_was_not_measured_has_the_efficiency_of_its_class():
    assert efficiency("ual-dmi") == efficiency("ual") != OTHER
    assert efficiency("edsr-paper") == efficiency("edsr-dmgasr") != OTHER
    assert efficiency("autoencoder") == OTHER
    assert {name: efficiency(name) for name in entries() if not 0 < efficiency(name) <= 2} == {}
