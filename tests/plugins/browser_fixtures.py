"""A page in a real browser, for the tests that click; they skip where no browser is installed."""

import os
import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window. HSIPIPE_BROWSER names another program."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = os.environ.get("HSIPIPE_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed (apt-get install chromium)")
    with sync.sync_playwright() as playwright:
        # Containers run tests as root, for whom Chromium has no sandbox; it opens pages of these tests alone.
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_url(browser):
    """Open an address; at the end no error has been logged, and nothing was asked of any other place.

    ``refusals`` are the statuses of answers that the test provokes: the browser logs each as an error of the page.
    """
    problems, contexts = [], []

    def open_url(url, *, allowed, refusals=(), width=1400, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": 1000}, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)

        def note(text, known):
            if not known:
                problems.append(text)

        page.on(
            "console",
            lambda message: note(
                f"console: {message.text}", any(f"a status of {status} " in message.text for status in refusals)
            ),
        )
        page.on("pageerror", lambda error: note(f"error: {error}", False))
        page.on("request", lambda request: note(request.url, request.url.startswith(allowed)))
        page.goto(url)
        return page

    yield open_url
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def open_page(open_url):
    """Open a file without any network."""

    def open_page(path, *, scripts=True, **options):
        return open_url(path.as_uri(), allowed=("file:", "data:"), offline=True, java_script_enabled=scripts, **options)

    return open_page


@pytest.fixture
def open_site(open_url):
    """Open a page of a server of this machine, which may ask that server alone."""

    def open_site(address, path="/", **options):
        return open_url(f"{address}{path}", allowed=(f"{address}/", f"blob:{address}/", "data:"), **options)

    return open_site
