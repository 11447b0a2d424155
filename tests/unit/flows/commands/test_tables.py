"""`hsipipe tables`: the list, the check, and the pipelines that it runs."""

import json

import pytest
from typer.testing import CliRunner

from flows.__main__ import app
from flows.tables.paper_tables import paper_table
from hsipipe.checkout import locks
from hsipipe.errors import AlreadyRunningError, HsipipeError, MissingInputError, ParamsError
from hsipipe.locks import hold
from tasks.running.dvc import changed_params

TINY = ["dataset.name=synthetic", "dataset.synthetic.scenes=4", "dataset.synthetic.bands=8", "protocol=default"]
TINY += ["split.by=auto", "split.test_scenes=[]", "split.val_scenes=[]", "degradation.srf=rgb", "compare=[bicubic,gsa]"]


@pytest.fixture
def invoke(monkeypatch, copy_project, tmp_path):
    """Call the command line in a copy of the project; errors that a person can mend come out as they are."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("HSIPIPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(copy_project(tmp_path / "project"))

    def invoke(*arguments):
        result = CliRunner().invoke(app, ["tables", *map(str, arguments)])
        if isinstance(result.exception, HsipipeError):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def flow_calls(monkeypatch, invoke, tmp_path):
    """Stands in for the flow: writes metrics, changes params.yaml, and keeps the overrides of each call."""
    import flows.commands.tables

    calls, project = [], tmp_path / "project"

    def run(overrides, timeout):
        calls.append((overrides, timeout))
        (project / "params.yaml").write_text(changed_params(project, overrides)[1])
        (project / "reports").mkdir(exist_ok=True)
        models = {name: {"mpsnr_db": 41.0} for name in ("bicubic", "gsa")}
        found = {"protocol": {"name": "default", "hash": "0" * 16, "fields": []}, "models": models}
        (project / "reports/metrics.json").write_text(json.dumps(found))

    monkeypatch.setattr(flows.commands.tables, "run_pipeline", run)
    monkeypatch.setattr(flows.commands.tables, "_params", lambda project, part, overrides: None)
    return calls


def test_each_table_is_listed_on_one_line_of_80_columns(invoke, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = invoke().output.splitlines()
    names = [*(f"dmgasr-{n}" for n in (1, 2, 3, 4)), *(f"hsrdiff-{n}" for n in (1, 2, 3)), "ddpmfus-1"]
    assert [line.split()[0] for line in lines] == ["table", *names]
    assert max(map(len, lines)) <= 80


def test_options_without_a_table_are_refused(invoke):
    assert invoke("--check").exit_code == 2


def test_a_table_is_one_pipeline_for_each_part_and_those_of_the_user_come_last(invoke, flow_calls, tmp_path):
    before = (tmp_path / "project/params.yaml").read_text()
    result = invoke("dmgasr-2", "--root", "harvard=/data/harvard", "--timeout", "5", "-S", "seeds=[1]")
    table = paper_table("dmgasr-2")
    assert flow_calls == [([*part.overrides(), "dataset.root=/data/harvard", "seeds=[1]"], 5.0) for part in table.parts]
    assert (tmp_path / "project/params.yaml").read_text() == before
    for text in ("harvard x2", "harvard x4", "41.00", "43.13", "which has another protocol"):
        assert text in result.output
    assert "41.00" in invoke("dmgasr-2", "--show", "-S", "seeds=[1]").output


def test_a_result_with_overrides_is_another_table(invoke, flow_calls):
    assert "with compare=[bicubic,edsr]" in invoke("dmgasr-2", "-S", "compare=[bicubic,edsr]").output
    assert "41.00" not in invoke("dmgasr-2", "--show").output
    assert "with" not in invoke("dmgasr-2").output.partition("\n\n")[0].partition("protocol default")[2].splitlines()[0]


def test_an_edit_during_a_run_is_kept_and_a_running_pipeline_is_not_disturbed(invoke, monkeypatch, tmp_path):
    import flows.commands.tables

    params = tmp_path / "project/params.yaml"
    edited = params.read_text() + "# an edit\n"
    monkeypatch.setattr(flows.commands.tables, "run_pipeline", lambda overrides, timeout: params.write_text(edited))
    monkeypatch.setattr(flows.commands.tables, "_params", lambda project, part, overrides: None)
    with pytest.raises(MissingInputError):
        invoke("hsrdiff-2")  # the stand-in leaves no metrics
    assert params.read_text() == edited
    with hold(locks(tmp_path / "project") / "pipeline.lock", what="A pipeline"), pytest.raises(AlreadyRunningError):
        invoke("hsrdiff-2")


@pytest.mark.parametrize("folder", ["/data/a=b", "/data/a,b", "/data/x (1)", "/data/o'neil", "/data/#1"])
def test_any_folder_can_be_a_root(invoke, folder, monkeypatch):
    import flows.tables.check

    monkeypatch.setattr(flows.tables.check, "_hours", lambda runs: iter(()))
    result = invoke("hsrdiff-2", "--check", "--root", f"pavia_university={folder}")
    assert f"there is no scene in {folder}; expected" in result.output


def test_a_time_limit_holds_for_all_pipelines_together(invoke, flow_calls, monkeypatch):
    import hsipipe.training.deadline

    set_to = {}
    monkeypatch.setattr(hsipipe.training.deadline, "limit_command", lambda minutes: set_to.update(minutes=minutes))
    assert invoke("hsrdiff-2", "--stop-after", "30").exit_code == 0
    assert set_to == {"minutes": 30.0}
    with pytest.raises(ParamsError, match="expected a positive number"):
        invoke("hsrdiff-2", "--stop-after", "0")


def test_what_a_killed_run_left_is_undone_before_overrides_are_checked(invoke, monkeypatch, tmp_path):
    import flows.commands.pipeline
    from flows.prefect_support import environment

    def stop(root):
        raise MissingInputError("no server")

    monkeypatch.setattr(environment, "prepare", stop)
    root = tmp_path / "project"
    before = (root / "params.yaml").read_text()
    folder = root / ".hsipipe"
    folder.mkdir(exist_ok=True)
    during = before.replace("protocol: default", "protocol: sspsr")
    (folder / "params.before.yaml").write_text(before)
    (folder / "params.during.yaml").write_text(during)
    (root / "params.yaml").write_text(during)
    with pytest.raises(MissingInputError, match="no server"):
        flows.commands.pipeline.run_pipeline(["degradation.scale=2"], None)
    assert (root / "params.yaml").read_text() == before


def test_every_run_is_checked_before_the_first(invoke):
    with pytest.raises(ParamsError, match=r"harvard x2: .*unknown key 'sampling\.tiles'"):
        invoke("dmgasr-2", "-S", "sampling.tiles=3")


def test_the_check_names_missing_data_and_how_to_get_it(invoke, tmp_path, monkeypatch):
    import flows.tables.check

    monkeypatch.setattr(flows.tables.check, "_hours", lambda runs: iter(()))
    result = invoke("hsrdiff-2", "--check")
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if line.startswith("missing  data")]
    assert "run hsipipe download pavia_university (33 MB), or give --root pavia_university=FOLDER with PaviaU" in line
    result = invoke("hsrdiff-2", "--check", "--root", tmp_path)
    assert f"there is no scene in {tmp_path}; expected: PaviaU.mat" in result.output


def test_the_check_of_a_tiny_form_finds_all(invoke, monkeypatch):
    import flows.tables.check

    monkeypatch.setattr(flows.tables.check, "convolution_rate", lambda device: 5e10)
    overrides = [word for override in [*TINY, "compare=[bicubic,ssrnet]"] for word in ("-S", override)]
    result = invoke("ddpmfus-1", "--check", *overrides)
    assert result.exit_code == 0, result.output
    lines = [line.split()[:3] for line in result.output.splitlines()]
    assert ["ok", "data", "synthetic:"] in lines
    assert any("ssrnet" in line and "10000 steps" in line for line in result.output.splitlines())
