"""A real browser for tests: headless Chromium that may talk to this machine alone."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

REASON = "pip install playwright; apt-get install --no-install-recommends chromium fonts-dejavu-core"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


class Tab:
    """A tab, and what went wrong in it: errors, words on the console, dialogs, requests to other places."""

    def __init__(self, page: Any, home: str) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("dialog", lambda dialog: (self.problems.append("a dialog"), dialog.dismiss()))
        page.on("request", lambda request: self._note(request.url, home))

    def _note(self, url: str, home: str) -> None:
        if not url.startswith((home, home.replace("http", "ws", 1), "data:", "blob:")):
            self.problems.append(f"asked {url}")


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright, or a skip that says how to get one."""
    api = pytest.importorskip("playwright.sync_api", reason=REASON)
    path = shutil.which("chromium")
    if path is None:
        pytest.skip(REASON)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def tab(browser: Any, home: str, **options: Any) -> Iterator[Tab]:
    """A tab of its own; it has no memory of others."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    context.set_default_timeout(10_000)
    try:
        yield Tab(context.new_page(), home)
    finally:
        context.close()
