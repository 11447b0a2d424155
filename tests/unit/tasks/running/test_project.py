import pytest

from hsipipe.checkout import find_root
from hsipipe.errors import MissingInputError, ParamsError
from hsipipe.methods.presets import load_preset
from hsipipe.params import load_params
from hsipipe.params.overrides import as_overrides
from tasks.running.dvc import changed_params
from tasks.running.project import curves, drop_other_rows, model_name


def test_the_root_is_the_nearest_folder_upwards_with_a_dvc_yaml_and_a_params_yaml(tmp_path, monkeypatch):
    inner = tmp_path / "tasks" / "b"
    inner.mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml", "tasks/dvc.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(inner)
    assert find_root() == tmp_path.resolve()


def test_dvc_says_where_the_root_is(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert find_root() == tmp_path.resolve()


def test_outside_a_project_the_error_says_what_to_do(tmp_path):
    with pytest.raises(MissingInputError, match="run this inside the project's folder"):
        find_root(tmp_path)


def test_the_model_is_named_after_data_and_scale(repository):
    assert model_name(load_params(repository / "params.yaml")) == "hsipipe-synthetic-x4"


@pytest.mark.parametrize("task", ["denoise", "deblur"])
def test_the_model_of_another_task_is_named_after_it(task, repository):
    params, _ = changed_params(repository, as_overrides(load_preset(task)))
    assert model_name(params) == f"hsipipe-synthetic-{task}"


def test_what_a_removed_row_left_is_dropped_even_the_lock_of_a_killed_stage(tmp_path):
    for name in ("bicubic", "dmgasr@steps-4", "edsr"):
        (tmp_path / "reports/scores" / name).mkdir(parents=True)
    (tmp_path / "reports/scores/.edsr.lock").touch()
    (tmp_path / "reports/curves").mkdir()
    for name in ("bicubic", "dmgasr", "edsr"):
        (tmp_path / f"reports/curves/{name}.csv").touch()
    drop_other_rows(tmp_path, ["bicubic", "dmgasr@steps-4"])
    assert {path.name for path in (tmp_path / "reports/scores").iterdir()} == {"bicubic", "dmgasr@steps-4"}
    assert {path.name for path in (tmp_path / "reports/curves").iterdir()} == {"bicubic.csv", "dmgasr.csv"}


def test_rows_of_one_training_share_its_curve(tmp_path):
    found = curves(tmp_path, ["pca-residual", "pca-residual@steps-4", "pca-residual@seed-1"])
    assert list(found) == ["pca-residual", "pca-residual@seed-1"]


@pytest.mark.parametrize("name", ["what?x=1", "{brace}", "a\nb", "caf\udce9"])
def test_a_path_that_the_stores_cannot_express_is_refused(tmp_path, name, monkeypatch):
    root = tmp_path / name
    root.mkdir()
    for file in ("dvc.yaml", "params.yaml"):
        (root / file).touch()
    with pytest.raises(ParamsError, match="move the project to") as caught:
        find_root(root)
    assert str(caught.value).isprintable()
    monkeypatch.setenv("DVC_ROOT", str(root))
    with pytest.raises(ParamsError, match="move the project to"):
        find_root()
