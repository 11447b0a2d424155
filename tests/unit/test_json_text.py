"""JSON and YAML that somebody else wrote: deep nesting and other damage is one line that names the file."""

import pytest

from hsipipe.artifacts.base import read_index
from hsipipe.commands.settings import compare
from hsipipe.datasets import download
from hsipipe.errors import HsipipeError
from hsipipe.json_text import parse_json
from hsipipe.methods.checkpoint import read_config
from hsipipe.methods.provenance import fitted_ground
from hsipipe.params import load_params
from hsipipe.storage.manifest import digest
from tasks.retraining.verdict import last_verdict
from tasks.running.project import read_metrics

DEPTH = 100_000
READERS = {
    "MANIFEST.json": digest,
    "config.json": read_config,
    "provenance.json": fitted_ground,
    "scenes.json": lambda folder: read_index(folder / "scenes.json", stage="download"),
    "checksums.json": download._recorded,
    "a.json": lambda folder: compare(folder / "a.json", folder / "a.json"),
    "params.yaml": lambda folder: load_params(folder / "params.yaml"),
    "reports/metrics.json": read_metrics,
    ".hsipipe/gate.json": last_verdict,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "text",
    ["[" * DEPTH, '{"files": ' * DEPTH, "[" * 5000 + "]" * 5000, "[1]", '"a"', "{", "9" * 5000, '{"a": 2024-13-40}'],
    ids=["lists", "objects", "closed", "list", "text", "cut", "digits", "date"],
)
def test_what_cannot_be_used_is_one_line(tmp_path, name, text):
    path = tmp_path / (download.LOCK if name == "checksums.json" else name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HsipipeError) as caught:
        READERS[name](tmp_path)
    assert path.name in str(caught.value)


def test_deep_nesting_is_an_error_of_the_value():
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * DEPTH)
    assert parse_json(b'{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
