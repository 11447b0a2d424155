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
def open_page(browser):
    """Open a file; at the end no error has been logged, and nothing was asked of any server."""
    problems, contexts = [], []

    def open_page(path, *, width=1400, scripts=True):
        contexts.append(
            browser.new_context(viewport={"width": width, "height": 1000}, java_script_enabled=scripts, offline=True)
        )
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:")) else problems.append(request.url),
        )
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
