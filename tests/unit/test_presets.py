"""Presets: each fits params.yaml through the overrides that the command line makes of it."""

import numpy as np
import pytest
import torch
import yaml

from hsipipe.degradation.psf import Psf
from hsipipe.errors import UnknownNameError
from hsipipe.methods.catalogue import method_settings, methods
from hsipipe.methods.fusion.setup import Pairing
from hsipipe.methods.networks.unet import Unet
from hsipipe.methods.presets import load_preset, preset_names
from hsipipe.params import load_params
from hsipipe.params.overrides import as_overrides, flatten
from tasks.running.dvc import changed_params


@pytest.fixture
def project(tmp_path, repository):
    """A folder with the params.yaml of the repository."""
    (tmp_path / "params.yaml").write_bytes((repository / "params.yaml").read_bytes())
    return tmp_path


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_fits_params_yaml(name, project):
    preset = load_preset(name)
    params, text = changed_params(project, as_overrides(preset))
    written = flatten(yaml.safe_load(text))
    assert {key: written[key] for key in flatten(preset)} == flatten(preset)
    assert params.compare == preset["compare"]
    assert text.count("#") == (project / "params.yaml").read_text().count("#")


@pytest.mark.parametrize(("name", "millions", "within"), [("hsrdiff-paper", 31.56, 0.1), ("ddpmfus-paper", 57, 0.02)])
def test_the_papers_fusion_networks_have_their_size(name, millions, within, project):
    """31.56 M is the number of arXiv 2306.12085; 57 M is that of params.yaml for DDPM-Fus."""
    params, _ = changed_params(project, as_overrides(load_preset(name)))
    pairing, response = Pairing(31, 3, 32, Psf("average")), np.zeros((3, 31))
    with torch.device("meta"):
        method = methods()[name].made_for(pairing, method_settings(params, name), response, patch=params.patches.size)
    count = sum(parameter.numel() for parameter in method.parameters())
    assert abs(count / 1e6 / millions - 1) < within


def test_the_papers_latent_network_has_about_98_million_parameters(repository):
    settings = method_settings(load_params(repository / "params.yaml"), "dmgasr-paper")
    with torch.device("meta"):
        unet = Unet(3, settings.unet, patch=128)
    assert abs(sum(parameter.numel() for parameter in unet.parameters()) / 98e6 - 1) < 0.02


def test_unknown_preset_names_the_closest():
    with pytest.raises(UnknownNameError, match="Did you mean 'dmgasr-paper'"):
        load_preset("dmgasr-papr")
