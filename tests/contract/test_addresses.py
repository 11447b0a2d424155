"""Only what a user names in so many words becomes an address: no name of a file makes this machine send requests."""

import re
from pathlib import Path

import pytest
from file_server import serving

from hsipipe.datasets.folder import FOLDER
from hsipipe.errors import MissingInputError
from hsipipe.formats import is_cube, open_cube

ROOT = Path(__file__).resolve().parents[2]
MAKERS = {
    "flows/products.py",  # a parameter of a run; who may start runs may run any code
    "hsipipe/commands/batch.py",
    "hsipipe/commands/batch_scenes.py",  # assets of a list that a user names
    "hsipipe/commands/data.py",
    "hsipipe/commands/look.py",
    "hsipipe/commands/models.py",
    "hsipipe/formats/open_save.py",  # a text that is given to open_cube
    "hsipipe/storage/urls.py",
}


def test_addresses_are_made_in_these_files_alone():
    calls = re.compile(r"\b(?:place_of|Url)\(")
    sources = [path for part in ("hsipipe", "tasks", "flows") for path in (ROOT / part).rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix() for path in sources if calls.search(path.read_text("utf-8"))}
    assert found == MAKERS


def test_the_network_is_read_by_these_files_alone():
    clients = re.compile(r"^\s*(?:import|from) (?:aiohttp|fsspec|s3fs|requests|urllib3|httpx)\b", re.MULTILINE)
    found = {p.relative_to(ROOT).as_posix() for p in (ROOT / "hsipipe").rglob("*.py") if clients.search(p.read_text())}
    # The second downloads the published data sets.
    assert found == {"hsipipe/storage/ranges.py", "hsipipe/datasets/transfer.py"}


@pytest.mark.parametrize("name", ["x.tif", "x.zarr"])
def test_a_root_or_a_name_is_no_address(tmp_path, name):
    with serving(tmp_path) as files:
        place = Path(f"{files.address}/{name}")
        assert not is_cube(place)
        with pytest.raises(MissingInputError):
            open_cube(place)
        assert not FOLDER.is_place(place)
        assert files.requests == 0
