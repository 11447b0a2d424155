"""The notebooks of docs/notebooks run from the first cell to the last."""

import re

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def printed(repository, environment, tmp_path):
    """A function that runs a notebook in a folder, and returns what its cells printed."""

    def printed(name, folder):
        book = nbformat.read(repository / "docs" / "notebooks" / name, as_version=4)
        client = NotebookClient(book, timeout=300, resources={"metadata": {"path": str(folder)}}, coalesce_streams=True)
        client.execute(env={**environment, "PYTHONPATH": str(repository), "TMPDIR": str(tmp_path)})
        outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
        return "".join(output.text for output in outputs if output.output_type == "stream")

    return printed


def test_a_cube_from_info_to_a_sharper_file(printed, tmp_path):
    text = printed("own-scene.ipynb", tmp_path)
    interpolation, result = (float(value) for value in re.findall(r"MPSNR ([\d.]+) dB, SAM", text))
    assert result > interpolation
    (made,) = tmp_path.glob("hsipipe-*")
    assert {"scene.png", "sharper.tif", "sharper.json", "compare.html"} <= {path.name for path in made.iterdir()}


def test_a_result_and_its_uncertainty(printed, project):
    text = printed("read-a-result.ipynb", project)
    assert "protocol default" in text
    assert re.search(r"intervals hold [\d.]+ % of the values", text)
    assert re.search(r"of the truth +[\d.]+", text)
    assert "equal to the values above: True" in text
