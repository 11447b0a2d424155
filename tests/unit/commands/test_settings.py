"""`hsipipe methods`, `hsipipe protocol` and `hsipipe compare`."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from flows.__main__ import app
from hsipipe.errors import DataError, FileFormatError, HsipipeError, MissingInputError, ParamsError, UnknownNameError
from hsipipe.methods.catalogue import entries
from hsipipe.protocols import PROTOCOLS, setup_of
from tasks.running.dvc import changed_params


@pytest.fixture
def invoke(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(result.exception, HsipipeError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return invoke


def test_the_methods_are_listed_with_input_training_and_autoencoder(invoke, monkeypatch, repository):
    monkeypatch.chdir(repository)
    lines = invoke("methods").splitlines()
    rows = [line.split() for line in lines]
    assert [row[0] for row in rows[1:]] == list(entries())
    assert "bicubic LR no - yes".split() in rows
    assert "dmgasr LR yes dmgasr-regression yes".split() in rows
    assert "dmgasr-regression LR yes standard yes".split() in rows
    assert "hysure pair no - no".split() in rows
    assert max(map(len, lines)) <= 80


def test_the_list_fits_a_terminal(invoke):
    output = invoke("protocol")
    assert max(len(line.rstrip()) for line in output.splitlines()) <= 80
    assert all(name in output for name in PROTOCOLS)


@pytest.mark.parametrize(("name", "dataset"), [(name, d) for name in PROTOCOLS for d in PROTOCOLS[name].setups])
def test_what_is_printed_sets_all_that_the_protocol_fixes(invoke, name, dataset, repository, tmp_path):
    """The words that a shell makes of the line, through DVC's own parser, into params.yaml."""
    words = invoke("protocol", name, "--dataset", dataset).split()
    assert words[::2] == ["-S"] * (len(words) // 2)
    (tmp_path / "params.yaml").write_text((repository / "params.yaml").read_text())
    patches = ["patches.size=96", "patches.stride=96"] if "degradation.scale=32" in words else []
    params, text = changed_params(tmp_path, [*words[1::2], *patches])  # also checks the pins
    assert (params.protocol, params.dataset.name) == (name, dataset)
    assert yaml.safe_load(text)["split"] == params.split.model_dump()
    assert params.degradation.scale in setup_of(name, dataset).scales


def test_what_cannot_be_printed(invoke):
    with pytest.raises(UnknownNameError, match=r"'sspr'\. Did you mean 'sspsr'"):
        invoke("protocol", "sspr")
    with pytest.raises(ParamsError, match="has the scales 4, got 8"):
        invoke("protocol", "hisr-x4", "--scale", "8")
    with pytest.raises(ParamsError, match="has the scales 2, 4, 8, got 0"):
        invoke("protocol", "sspsr", "--scale", "0")
    with pytest.raises(ParamsError, match="fixes nothing"):
        invoke("protocol", "default")


def _metrics(path, *, gain=0.0, fields=(("degradation.srf", "rgb"),), digest="0123456789abcdef"):
    row = {"mpsnr_db": 30.0 + gain, "mssim": 0.9, "sam_deg": 3.0 - gain, "ergas": None}
    protocol = {"name": "default", "hash": digest, "fields": [list(field) for field in fields]}
    path.write_text(json.dumps({"models": {"bicubic": row, "dmgasr": row}, "protocol": protocol}))
    return path


def test_two_results_side_by_side(invoke, tmp_path):
    output = invoke("compare", _metrics(tmp_path / "a.json"), _metrics(tmp_path / "b.json", gain=0.5))
    words = [line.split() for line in output.splitlines()]
    assert ["dmgasr", "B", "30.50", "0.9000", "2.50", "n/a"] in words
    assert ["B", "-", "A", "+0.50", "+0.0000", "-0.50", "n/a"] in words
    assert max(len(line.rstrip()) for line in output.splitlines()) <= 80


def test_results_of_two_protocols_are_refused_with_what_differs(invoke, tmp_path):
    other = _metrics(tmp_path / "b.json", fields=[("degradation.srf", "ikonos")], digest="f" * 16)
    with pytest.raises(DataError, match=r"different protocols .* degradation.srf: rgb against ikonos"):
        invoke("compare", _metrics(tmp_path / "a.json"), other)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"models": {}}',
        '{"models": {"bicubic": 3}, "protocol": {"name": "default", "hash": "0"}}',
        '{"models": {"bicubic": {"mpsnr_db": "x"}}, "protocol": {"name": "default", "hash": "0"}}',
        '{"models": {}, "protocol": {"hash": "0"}}',
        '{"models": {"a": {}, "b": {}}, "protocol": {"name": "default", "hash": "0123456789abcdef"}}',
        '{"models": {}, "scenes": {"s": {"a": {}}}, "protocol": {"name": "default", "hash": "0123456789abcdef"}}',
        '{"models": {}, "protocol": {"name": "default", "hash": "0", "fields": [3]}}',
    ],
)
def test_files_that_are_no_results(invoke, tmp_path, content):
    (tmp_path / "b.json").write_text(content)
    with pytest.raises(FileFormatError, match=r"is no metrics\.json"):
        invoke("compare", _metrics(tmp_path / "a.json"), tmp_path / "b.json")
    with pytest.raises(MissingInputError, match=r"No file .*c\.json"):
        invoke("compare", tmp_path / "c.json", tmp_path / "b.json")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x89PNG" + bytes(5000), "it is not JSON"),
        (b"# a page", "it is not JSON"),
        (b'{"rows": []}', "it has no key 'models'"),
        (b"[]", "list indices must be integers"),
    ],
)
def test_a_wrong_file_is_one_short_line(invoke, tmp_path, content, reason):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"no metrics\.json of an evaluation") as caught:
        invoke("compare", tmp_path / "a.json")
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 300
