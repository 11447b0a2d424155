"""Every command line in README.md and docs/ is one that the command line takes."""

import re
import shlex

import click
import pytest
import typer.main
from typer.testing import CliRunner

from flows.__main__ import app
from flows.tables.paper_tables import paper_table, roots
from hsipipe.commands.named_overrides import preset_overrides
from tasks.running.check_names import check_names, check_settings
from tasks.running.dvc import changed_params

DOCS = (
    "architecture",
    "faults",
    "fusion",
    "index",
    "protocols",
    "report",
    "results",
    "retraining",
    "security",
    "sensors",
    "serving",
    "settings",
    "sharpen",
    "single-image",
    "tables",
    "tasks",
    "trust",
    "uncertainty",
    "use-a-model",
    "view",
)
PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{name}.md" for name in DOCS))


def commands(repository):
    """The commands in the blocks of shell, without comments, by page and line."""
    for page in PAGES:
        text = (repository / page).read_text(encoding="utf-8")
        for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL):
            for line in re.sub(r"\\\n\s*", "", block).splitlines():
                if line.strip() and not line.startswith("#"):
                    yield page, line.split("  #")[0].strip()


def pytest_generate_tests(metafunc):
    if "command" in metafunc.fixturenames:
        found = list(commands(metafunc.config.rootpath))
        metafunc.parametrize("command", [line for _, line in found], ids=[f"{page}: {line}" for page, line in found])


def expanded(line):
    """The words of a line, with what `$(hsipipe ...)` prints in its place."""

    def printed(match):
        result = CliRunner().invoke(app, shlex.split(match[1]))
        assert result.exit_code == 0, result.output
        return result.output

    return shlex.split(re.sub(r"\$\(hsipipe ([^)]*)\)", printed, line))


def parsed(words):
    """The command's name and its parameters, as click reads them; a wrong option is an error."""
    group = typer.main.get_command(app)
    context = click.Context(group, info_name="hsipipe")
    name, command, rest = group.resolve_command(context, words)
    return name, command.make_context(name, rest, parent=context).params


def test_the_command_takes_these_words_and_the_settings_are_valid(command, repository, tmp_path, monkeypatch):
    # A table in the reader's folder is not there.
    words = expanded(re.sub(r"degradation\.srf=/data/\S+", "degradation.srf=rgb", command))
    if words[0] == "make":
        assert f"\n{words[1]}:" in (repository / "Makefile").read_text(encoding="utf-8")
    if words[:2] == ["make", "repro"]:
        (arguments,) = [word.removeprefix("ARGS=") for word in words if word.startswith("ARGS=")] or [""]
        words = ["hsipipe", "pipeline", *shlex.split(arguments)]
    if words[0] != "hsipipe":
        pytest.skip("not a command of this project")
    if "--status" in words:
        # It answers while the words are read.
        monkeypatch.chdir(tmp_path)
        (tmp_path / words[-1]).mkdir()
        with pytest.raises(typer.Exit) as ended:
            parsed(words[1:])
        assert ended.value.exit_code == 0
        return
    name, options = parsed(words[1:])
    if name == "tables" and options["name"]:
        roots(options["root"] or [], paper_table(options["name"]))
    if name != "pipeline":
        return
    (tmp_path / "params.yaml").write_text((repository / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    overrides = [*(preset_overrides(options["preset"]) if options.get("preset") else ()), *options["set_param"]]
    params, _ = changed_params(tmp_path, overrides)
    check_names(params)
    check_settings(params)


def test_the_readme_is_short_and_its_picture_is_small(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 120
    (picture,) = re.findall(r"!\[[^\]]+\]\((docs/[^)]+)\)", text)
    assert (repository / picture).stat().st_size < 200_000
