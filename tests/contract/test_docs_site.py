"""The documentation site: no broken link, nothing loaded from elsewhere, a search that works from files."""

import json
import re
import subprocess
import sys

import pytest

# One worker builds the site once.
pytestmark = pytest.mark.xdist_group("docs")

LOADED = re.compile(r"<(?:script|img|iframe|source)[^>]+src=\"([^\"]+)\"|<link[^>]+href=\"([^\"]+)\"")


@pytest.fixture(scope="module")
def site(repository, tmp_path_factory):
    """The site with notebooks that have not run, which tests/pipelines/test_notebooks.py runs."""
    out = tmp_path_factory.mktemp("site")
    options = ("--fail-on-warning", "--keep-going", "--quiet", "-D", "nb_execution_mode=off")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(repository / "docs"), str(out)],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


def test_each_page_of_the_docs_is_in_the_navigation(site, repository):
    home = (site / "index.html").read_text(encoding="utf-8")
    for page in (repository / "docs").glob("*.md"):
        assert page.name == "index.md" or f'href="{page.stem}.html"' in home, page
    assert 'href="adr/README.html"' in home


def test_pages_load_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        for match in LOADED.finditer(page.read_text(encoding="utf-8")):
            address = match[1] or match[2]
            assert not re.match(r"(https?:)?//", address), f"{page.name} loads {address}"


def test_the_api_has_the_public_names(site):
    import hsipipe

    page = (site / "api.html").read_text(encoding="utf-8")
    assert [name for name in hsipipe.__all__ if f'id="hsipipe.{name}"' not in page] == []


def test_the_search_finds_a_page_without_a_server(site, open_page):
    page = open_page(site / "index.html")
    page.fill("input[name=q]", "quarantine")
    page.press("input[name=q]", "Enter")
    page.wait_for_selector("#search-results li a")
    assert "Scheduled retraining" in page.inner_text("#search-results")


@pytest.mark.parametrize("width", [400, 1320, 1400])
def test_a_page_with_wide_tables_fits_its_window(site, open_page, width):
    page = open_page(site / "sensors.html", width=width)
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "benchmarks/gpu/README.md"])
def test_links_of_pages_outside_of_the_site_lead_to_files(repository, page):
    text = (repository / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [link for link in links if not ((repository / page).parent / link).exists()] == []


def test_notebooks_are_stored_without_outputs(repository):
    notebooks = list((repository / "docs" / "notebooks").glob("*.ipynb"))
    assert notebooks
    for path in notebooks:
        cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        assert not any(cell["outputs"] or cell["execution_count"] for cell in cells), (
            f"clear the outputs of {path.name}"
        )
