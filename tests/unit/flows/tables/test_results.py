"""The rows of a table beside the paper's numbers."""

import pytest
from rich.console import Console

from flows.tables.paper_tables import paper_table
from flows.tables.results import beside, footnote, keep, kept
from hsipipe.errors import DataError, IntegrityError

PROTOCOL = {"name": "cave-fusion-x32", "hash": "0" * 16, "fields": []}
ROW = {"mpsnr_db": 40.0, "mssim": 0.99, "sam_deg": 4.0, "ergas": 0.25}


def metrics(*names, protocol=PROTOCOL):
    return {"protocol": protocol, "models": {name: ROW for name in names}}


def printed(table, title, found):
    console = Console(width=80, record=True)
    console.print(beside(table, title, found))
    return console.export_text().splitlines()


def test_rows_of_both_parts_stand_beside_the_papers(tmp_path):
    table = paper_table("hsrdiff-1")
    keep(tmp_path, table, table.parts[0], metrics("bicubic", "ual"))
    keep(tmp_path, table, table.parts[1], metrics("bicubic", "hsrdiff-paper"))
    lines = printed(table, "cave x32", kept(tmp_path, table, "cave x32"))
    cells = {words[0]: words[1:] for line in lines if len(words := line.split()) == 9}
    assert cells["hsrdiff-paper"] == ["40.00", "0.9900", "4.00", "0.250", "44.33", "0.9951", "3.71", "0.179"]
    assert cells["bicubic"] == ["40.00", "0.9900", "4.00", "0.250", *4 * ["n/a"]]
    assert cells["cmhf-net"] == [*4 * ["n/a"], "42.54", "0.9939", "4.69", "0.216"]
    assert max(map(len, lines)) <= 80
    assert "another protocol" in footnote(table)


def test_without_a_run_the_papers_numbers_are_shown():
    lines = printed(paper_table("ddpmfus-1"), "cave x16", {})
    assert "no run yet" in lines[0]
    assert any("43.66" in line for line in lines)


def test_parts_of_different_protocols_do_not_share_a_table(tmp_path):
    table = paper_table("hsrdiff-1")
    keep(tmp_path, table, table.parts[0], metrics("bicubic"))
    keep(tmp_path, table, table.parts[1], metrics("bicubic", protocol={**PROTOCOL, "hash": "1" * 16}))
    with pytest.raises(DataError, match="different protocols"):
        kept(tmp_path, table, "cave x32")


def test_a_damaged_result_is_named(tmp_path):
    table = paper_table("ddpmfus-1")
    keep(tmp_path, table, table.parts[0], {})
    with pytest.raises(IntegrityError, match=r"cave-x16-patches-64\.json is damaged"):
        kept(tmp_path, table, "cave x16")
