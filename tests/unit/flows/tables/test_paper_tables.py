"""The file of the tables: every table, the settings of its runs, and the papers' numbers."""

import re

import pytest

from flows.tables.paper_tables import COLUMNS, paper_table, paper_tables, roots
from hsipipe.errors import ParamsError, UnknownNameError
from hsipipe.methods.catalogue import entries
from hsipipe.protocols.metrics import METRIC
from tasks.running.dvc import changed_params

RUNS = [(table.name, number) for table in paper_tables().values() for number in range(len(table.parts))]


@pytest.mark.parametrize(("name", "number"), RUNS)
def test_the_settings_of_every_run_are_valid_and_fit_the_protocol(name, number, repository, tmp_path):
    part = paper_table(name).parts[number]
    (tmp_path / "params.yaml").write_bytes((repository / "params.yaml").read_bytes())
    params, _ = changed_params(tmp_path, part.overrides())
    assert (params.dataset.name, params.degradation.scale, params.patches.size) == (
        part.dataset,
        part.scale,
        part.patch,
    )
    assert params.compare == list(part.methods)
    assert part.patch % part.scale == 0
    assert (params.seeds, params.steps.methods, params.dataset.root) == ([], [], None)


def test_every_method_is_in_the_catalogue_and_the_first_is_the_baseline():
    for table in paper_tables().values():
        for part in table.parts:
            assert set(part.methods) <= set(entries())
            assert part.methods[0] == "bicubic"


def test_published_numbers_are_of_rows_of_the_table_and_plausible():
    for table in paper_tables().values():
        assert set(table.published) <= set(table.titles())
        for title, rows in table.published.items():
            assert set(rows) <= set(table.methods(title))
            for values in rows.values():
                psnr, *others = (0 if value is None else value for value in values)
                assert 25 < psnr < 60
                assert all(value < most for value, most in zip(others, (1, 10, 10), strict=True))


def test_the_numbers_in_the_docs_are_those_of_the_file(repository):
    """One line for the paper's own method: | table | data | method | PSNR | SSIM | SAM | ERGAS |."""
    text = (repository / "docs/tables.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| `([a-z]+-\d)` \| (\w+ x\d+) \| `([\w-]+)` \| (.+) \|$", text, flags=re.MULTILINE)
    own = ("dmgasr-paper", "dmgasr-latent", "dmgasr-16-4", "hsrdiff-paper", "ddpmfus-paper")
    found = {(table, title, name): values.split(" | ") for table, title, name, values in lines}
    expected = {
        (table.name, title, name): [f"{value:g}" for value in values]
        for table in paper_tables().values()
        for title, rows in table.published.items()
        for name, values in rows.items()
        if name in own
    }
    assert {key: [f"{float(value):g}" for value in values] for key, values in found.items()} == expected


def test_a_table_names_what_differs_and_its_columns_are_metrics():
    assert all(table.differs and table.paper for table in paper_tables().values())
    assert all(key in METRIC for key in COLUMNS)


def test_rows_of_two_parts_are_of_one_table():
    table = paper_table("hsrdiff-1")
    assert table.titles() == ["cave x32"]
    assert table.methods("cave x32")[-1] == "hsrdiff-paper"
    assert table.methods("cave x32").count("bicubic") == 1


def test_an_unknown_table_names_the_closest():
    with pytest.raises(UnknownNameError, match="Did you mean 'dmgasr-1'"):
        paper_table("dmgasr1")


def test_a_root_is_a_data_set_and_its_folder():
    assert roots(["cave=/a=b"], paper_table("hsrdiff-1")) == {"cave": "/a=b"}
    assert roots(["/data"], paper_table("hsrdiff-1")) == {"cave": "/data"}
    with pytest.raises(ParamsError, match="expected DATASET=FOLDER with one of pavia_center, chikusei"):
        roots(["/data"], paper_table("dmgasr-1"))
    with pytest.raises(ParamsError, match="one of cave"):
        roots(["harvard=/data"], paper_table("hsrdiff-1"))
