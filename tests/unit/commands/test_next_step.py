"""The last line of `hsipipe info` is a command that works for the cube."""

import shlex

import numpy as np
import pytest
import scipy.io
import xarray as xr

from hsipipe.commands.cube_facts import CubeFacts
from hsipipe.commands.next_step import next_step
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.formats import save_cube
from hsipipe.methods.domain import Domain
from hsipipe.storage.publish import publish
from tasks.running.check_names import check_names, check_settings
from tasks.running.dvc import changed_params

VISIBLE = np.linspace(400, 700, 31)


@pytest.fixture
def project(copy_project, tmp_path_factory, monkeypatch):
    root = copy_project(tmp_path_factory.mktemp("project"))
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def write(tmp_path):
    """A function that writes a cube and gives its facts."""

    def write(name, shape=(31, 256, 256), nm=VISIBLE, full=1.0):
        values = (full * np.random.default_rng(0).random(shape)).astype(np.float32)
        array = xr.DataArray(values, dims=("band", "y", "x"))
        save_cube(array if nm is None else array.assign_coords(wavelength_nm=("band", nm)), tmp_path / name)
        return CubeFacts.read(tmp_path / name)

    return write


def settings(line, project):
    """The parameters after the overrides of a printed command, checked as the command checks them."""
    words = shlex.split(line)
    assert words[:2] == ["hsipipe", "pipeline"]
    params, _ = changed_params(project, words[3::2])
    check_names(params)
    check_settings(params)
    return params


def test_a_large_scene_that_the_rgb_response_covers_needs_its_place_alone(project, write):
    params = settings(next_step([write("a.nc")]), project)
    assert (params.dataset.root, params.degradation.srf, params.patches.size) == (
        str(write("a.nc").path.parent),
        "rgb",
        64,
    )


def test_a_small_matlab_scene_without_wavelengths_needs_small_patches_and_no_response(project, tmp_path):
    values = np.random.default_rng(0).integers(0, 5437, size=(101, 100, 30)).astype(np.uint16)
    scipy.io.savemat(tmp_path / "scene.mat", {"cube": values})
    scipy.io.savemat(tmp_path / "other.mat", {"cube": values[..., :7]})
    params = settings(next_step([CubeFacts.read(tmp_path / "scene.mat")]), project)
    assert params.dataset.root == str(tmp_path / "scene.mat")
    assert params.dataset.folder.full_scale == 10000
    assert (params.patches.size, params.patches.stride) == (16, 12)
    assert params.degradation.srf is None
    assert params.degradation.crop_remainder
    prepare_scenes(params.dataset, tmp_path / "out")
    assert (tmp_path / "out" / "scenes.json").is_file()


def test_all_cubes_of_a_folder_are_its_scenes(project, write, tmp_path):
    cubes = [write(f"{name}.nc", shape=(31, 48, 48)) for name in "abc"]
    params = settings(next_step(cubes), project)
    assert (params.dataset.root, params.patches.size) == (str(tmp_path), 48)
    assert "put these into a folder without others" in next_step(cubes[:2])


@pytest.mark.parametrize(
    ("shape", "hole", "says"),
    [((31, 64, 64), True, "NaN"), ((31, 24, 24), False, "a patch has 16 or more"), ((31, 6, 6), False, "too small")],
)
def test_a_cube_that_cannot_be_trained_on_is_named_with_its_defect(project, write, tmp_path, shape, hole, says):
    facts = write("a.nc", shape=shape)
    if hole:
        values = facts.cube.load().copy()
        values[3, 2, 1] = np.nan
        facts.cube.close()
        save_cube(values, tmp_path / "b.nc")
        facts = CubeFacts.read(tmp_path / "b.nc")
    line = next_step([facts])
    assert line.startswith("No training works on this as it is: ")
    assert says in line


def test_the_model_of_the_project_predicts_a_cube_of_its_bands(project, write, small_model):
    domain = Domain(tuple(VISIBLE), 0.0, 1.0, 0.01, np.eye(31)[:2], 0.1)
    with publish(project / "models" / "superresolver") as folder:
        small_model().save(folder)
        domain.write(folder)
    facts = write("a.nc", full=9000.0)
    assert shlex.split(next_step([facts])) == [
        *("hsipipe", "predict", str(facts.path), "a_sr.nc"),
        *("--model", str(project / "models" / "superresolver"), "--full-scale", "10000"),
    ]
    assert next_step([write("b.nc", nm=VISIBLE + 300)]).startswith("hsipipe pipeline")
    assert next_step([write("c.nc", shape=(8, 64, 64), nm=None)]).startswith("hsipipe pipeline")


def test_groups_are_no_larger_than_the_cube(project, write):
    params = settings(next_step([write("a.nc", shape=(5, 64, 64), nm=VISIBLE[::7][:5])]), project)
    gae = params.gae["standard"]
    assert (gae["n_subs"], gae["n_ovls"]) == (5, 2)
    one = settings(next_step([write("b.nc", shape=(2, 64, 64), nm=[500.0, 600.0])]), project).gae["standard"]
    assert (one["n_subs"], one["n_ovls"], one["latent_channels"]) == (2, 1, 2)


def test_without_the_pipeline_it_says_what_is_missing_and_how_to_do_without(project, write, monkeypatch):
    monkeypatch.setattr("hsipipe.extras.find_spec", lambda name: None if name == "dvc" else True)
    facts = write("a.nc")
    told, line = next_step([facts]).splitlines()
    assert told == 'A training needs dvc, not installed here; run: pip install "hsipipe[pipeline]"'
    assert shlex.split(line) == ["hsipipe", "sharpen", str(facts.path), "a_sr.nc"]


def test_outside_of_a_project_a_scene_teaches_itself(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facts = write("a.nc")
    assert shlex.split(next_step([facts])) == ["hsipipe", "sharpen", str(facts.path), "a_sr.nc"]
