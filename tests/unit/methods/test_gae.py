import json

import pytest
import torch

from hsipipe.errors import DataError, ModelInputError, ParamsError
from hsipipe.methods.checkpoint import save_checkpoint
from hsipipe.methods.dmgasr.gae import GroupAutoencoder, load_gae
from hsipipe.methods.dmgasr.windows import plan_windows

CAVE = [400.0 + 10.0 * band for band in range(31)]


@pytest.fixture
def spectra():
    generator = torch.Generator().manual_seed(0)
    basis = torch.rand(4, 31, generator=generator)
    return torch.rand(500, 4, generator=generator) @ basis


@pytest.fixture
def gae(gae_params):
    torch.manual_seed(0)
    return GroupAutoencoder(31, gae_params).eval().requires_grad_(False)


def test_shapes_of_latents_and_cube(gae):
    cube = torch.rand(2, 31, 10, 12)
    latent = gae.encode(cube)
    assert latent.shape == (2, 5, 3, 10, 12)
    assert gae.decode(latent).shape == cube.shape


def test_groups_in_the_batch_equal_a_loop_over_groups(gae):
    generator = torch.Generator().manual_seed(1)
    gae.linear_encoder.copy_(torch.rand(gae.linear_encoder.shape, generator=generator))
    cube = torch.rand(1, 31, 8, 8)
    latent = gae.encode(cube)
    for index, start in enumerate(gae.plan.starts):
        group = cube[:, start : start + gae.plan.n_subs]
        linear = torch.einsum("kn,bnhw->bkhw", gae.linear_encoder[index], group)
        alone = gae.branch_scale * gae.encoder(group) + linear
        torch.testing.assert_close(latent[:, index], alone)


def test_starts_as_the_grouped_pca(gae, spectra):
    gae.start_at_principal_components(spectra)
    cube = spectra[:64].T.reshape(1, 31, 8, 8)
    n, k = gae.plan.n_subs, gae.params.latent_channels
    expected, weight = torch.zeros(64, 31), torch.zeros(31)
    for s in gae.plan.starts:
        basis = torch.linalg.svd(spectra[:, s : s + n], full_matrices=False).Vh[:k]
        expected[:, s : s + n] += spectra[:64, s : s + n] @ basis.T @ basis
        weight[s : s + n] += 1
    torch.testing.assert_close(gae(cube)[0].reshape(31, 64).T, expected / weight, atol=1e-4, rtol=1e-4)


def test_darkness_stays_dark_at_the_start(gae, spectra):
    gae.start_at_principal_components(spectra)
    assert gae(torch.zeros(1, 31, 8, 8)).abs().max() == 0


def test_whitening_normalises_and_does_not_change_the_reconstruction(gae, spectra):
    gae.start_at_principal_components(spectra)
    cube = spectra[:256].T.reshape(1, 31, 16, 16)
    before, raw = gae(cube), gae.encode(cube)
    gae.set_whitening(mean=raw.mean(dim=(0, 3, 4)), std=raw.std(dim=(0, 3, 4)), residual_std=torch.ones(raw.shape[1:3]))
    latent = gae.encode(cube)
    torch.testing.assert_close(latent.mean(dim=(0, 3, 4)), torch.zeros(5, 3), atol=1e-3, rtol=0)
    torch.testing.assert_close(latent.std(dim=(0, 3, 4)), torch.ones(5, 3), atol=1e-3, rtol=0)
    torch.testing.assert_close(gae(cube), before, atol=1e-4, rtol=1e-4)


def test_overlapping_bands_are_averaged(gae):
    groups = torch.arange(5.0).reshape(1, 5, 1, 1, 1).expand(1, 5, 8, 2, 2)
    cube = gae._merge(groups)
    assert cube[0, 0, 0, 0] == 0
    assert cube[0, 6, 0, 0] == 0.5  # bands 6 and 7 belong to groups 0 and 1
    assert cube[0, 30, 0, 0] == 4


def test_an_earlier_checkpoint_with_one_linear_path_for_all_groups_loads(gae, tmp_path):
    n, k = gae.plan.n_subs, gae.latent_channels
    weights = {name: value for name, value in gae.state_dict().items() if not name.startswith("linear")}
    generator = torch.Generator().manual_seed(1)
    shared = {name: torch.rand(*shape, 1, 1, generator=generator) for name, shape in
              (("linear_encoder.weight", (k, n)), ("linear_decoder.weight", (n, k)))}  # fmt: skip
    config = {key: value for key, value in gae.config().items() if key != "branch_scale"}
    save_checkpoint(tmp_path, weights=weights | shared, config=config)
    earlier, cube = load_gae(tmp_path), torch.rand(1, 31, 4, 4)
    group = cube[:, -n:]
    expected = gae.encoder(group) + torch.einsum("kn,bnhw->bkhw", shared["linear_encoder.weight"][:, :, 0, 0], group)
    torch.testing.assert_close(earlier.encode(cube)[:, -1], expected)


@pytest.fixture
def by_window(gae_params, spectra):
    """Its windows are the groups of the one by number; the whitening differs from group to group."""
    torch.manual_seed(0)
    sizes = gae_params.model_copy(update={"window_nm": 80.0, "global_decoder": False})
    module = GroupAutoencoder(31, sizes, windows=plan_windows(CAVE, width_nm=80.0, n_subs=8, n_ovls=2))
    module.start_at_principal_components(spectra)
    statistics = torch.rand(3, 5, 3) + 0.5
    module.set_whitening(mean=statistics[0], std=statistics[1], residual_std=statistics[2])
    return module.eval().requires_grad_(False)


def test_windows_as_wide_as_the_groups_are_the_groups(gae_params, spectra, by_window):
    by_number = GroupAutoencoder(31, gae_params.model_copy(update={"global_decoder": False})).requires_grad_(False)
    by_number.start_at_principal_components(spectra)
    planes = [each.linear_decoder @ each.linear_encoder for each in (by_window, by_number)]
    torch.testing.assert_close(*planes, atol=1e-4, rtol=0)
    by_number.load_state_dict(by_window.state_dict())
    cube = torch.rand(2, 31, 8, 8)
    torch.testing.assert_close(by_window.encode(cube), by_number.encode(cube), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(by_window(cube), by_number(cube), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("centres", "groups"), [(CAVE[::2], 5), ([402.5, *range(417, 690, 13), 695.0], 5), (CAVE[6:26], 3)]
)
def test_another_sensor_shares_the_weights_and_gets_its_own_bands(by_window, centres, groups):
    other = by_window.for_wavelengths(centres)
    cube = torch.rand(2, len(centres), 6, 7)
    latent = other.encode(cube)
    assert latent.shape == (2, groups, 3, 6, 7)
    assert other.decode(latent).shape == cube.shape
    assert (other.bands, by_window.bands) == (len(centres), 31)
    assert other.wavelength_nm == tuple(centres)
    for mine, shared in zip(by_window.parameters(), other.parameters(), strict=True):
        assert mine is shared
    assert by_window(torch.rand(1, 31, 4, 4)).shape == (1, 31, 4, 4)


def test_windows_in_use_have_the_statistics_of_their_place_in_the_spectrum(by_window):
    part = by_window.for_wavelengths(CAVE[6:26])
    cube = torch.rand(1, 31, 6, 6)
    torch.testing.assert_close(part.encode(cube[:, 6:26]), by_window.encode(cube)[:, 1:4])


def test_what_is_saved_serves_the_sensor_of_the_training(by_window):
    other = by_window.for_wavelengths(CAVE[6:26])
    config = json.loads(json.dumps(other.config()))
    assert len(config["wavelength_nm"]) == 31
    assert config["edges_nm"][0] == [395.0, 475.0]
    loaded = GroupAutoencoder.from_config(config)
    loaded.load_state_dict(other.state_dict())
    cube = torch.rand(1, 31, 6, 6)
    torch.testing.assert_close(loaded.eval()(cube), by_window(cube), atol=0, rtol=0)


def test_the_weights_in_a_checkpoint_do_not_depend_on_the_sensor(by_window, gae_params):
    by_number = GroupAutoencoder(31, gae_params.model_copy(update={"global_decoder": False}))
    assert by_window.state_dict().keys() == by_number.state_dict().keys()


def test_one_that_was_saved_before_there_were_windows_has_none(gae):
    config = gae.config()
    del config["params"]["window_nm"]
    assert GroupAutoencoder.from_config(config).wavelength_nm is None


def test_groups_by_number_serve_no_other_sensor(gae):
    with pytest.raises(ModelInputError, match=r"31 bands by their number.*train one with gae.standard.window_nm"):
        gae.for_wavelengths(CAVE[::2])


@pytest.mark.parametrize("width", [None, 80.0])
def test_windows_are_given_where_they_are_asked_for(gae_params, width):
    sizes = gae_params.model_copy(update={"window_nm": width, "global_decoder": False})
    windows = plan_windows(CAVE, width_nm=80.0, n_subs=8, n_ovls=2) if width is None else None
    with pytest.raises(ParamsError, match=r"window_nm is"):
        GroupAutoencoder(31, sizes, windows=windows)


def test_paper_size_has_about_two_million_parameters(gae_params):
    paper = gae_params.model_copy(
        update={"width": 128, "blocks": 3, "global_width": 32, "global_blocks": 2, "linear_path": False}
    )
    count = sum(
        p.numel() for p in GroupAutoencoder(102, paper.model_copy(update={"n_subs": 16, "n_ovls": 4})).parameters()
    )
    assert 1.8e6 < count < 2.3e6


def identity(gae_params, **sizes):
    plain = {"encoder": "identity", "latent_channels": "all", "global_decoder": False, "linear_path": False}
    return GroupAutoencoder(31, gae_params.model_copy(update={**plain, **sizes})).eval()


@pytest.mark.parametrize(
    ("sizes", "groups", "channels"), [({"n_subs": 3, "n_ovls": 0}, 11, 3), ({"n_subs": "all", "n_ovls": 0}, 1, 31)]
)
def test_without_networks_the_bands_are_the_latents(gae_params, sizes, groups, channels):
    module, cube = identity(gae_params, **sizes), torch.rand(2, 31, 6, 5)
    latent = module.encode(cube)
    assert latent.shape == (2, groups, channels, 6, 5)
    assert module.latent_channels == channels
    assert torch.equal(latent[:, -1], cube[:, -channels:])
    assert not list(module.parameters())
    shape = (groups, channels)
    module.set_whitening(mean=torch.full(shape, 0.3), std=torch.full(shape, 0.1), residual_std=torch.ones(shape))
    torch.testing.assert_close(module(cube), cube)
    assert not torch.equal(module.encode(cube), latent)


def test_one_group_of_all_bands_keeps_its_latent_channels(gae_params):
    module = GroupAutoencoder(31, gae_params.model_copy(update={"n_subs": "all", "n_ovls": 0}))
    cube = torch.rand(1, 31, 4, 4)
    assert module.encode(cube).shape == (1, 1, 3, 4, 4)
    assert module(cube).shape == cube.shape


def test_a_linear_path_needs_as_many_bands_as_components(gae_params):
    with pytest.raises(DataError, match="has 2 bands, too few for the 3 components of a linear path"):
        GroupAutoencoder(2, gae_params.model_copy(update={"n_subs": "all", "n_ovls": 0}))


def test_a_checkpoint_without_the_word_encoder_has_networks(gae):
    config = gae.config()
    del config["params"]["encoder"]
    GroupAutoencoder.from_config(config).load_state_dict(gae.state_dict())
