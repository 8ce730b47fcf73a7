"""A real Chromium for the run page, with what every test holds it to: its own host alone, and no error."""

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Request, async_playwright, expect

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--no-first-run"]  # fmt: skip
WAIT_MS = 5000
REFUSALS = "Failed to load resource:"

expect.set_options(timeout=WAIT_MS)


class Visitor:
    """A person with one tab of their own: what it asked the network for, and what went wrong in it."""

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context, self.page, self._url = context, page, url
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        page.on("request", lambda one: self.requests.append(one))
        page.on("pageerror", lambda fault: self.complaints.append(str(fault)))
        page.on("console", lambda told: self._hear(told.type, told.text))

    def _hear(self, kind: str, text: str) -> None:
        if kind == "error" and REFUSALS not in text:
            self.complaints.append(text)

    async def visit(self, run_id: str, fragment: str = "") -> Page:
        await self.page.goto(f"{self._url}/agents/status/{run_id}{fragment}")
        return self.page

    def posts(self, tail: str) -> list[Request]:
        return [one for one in self.requests if one.method == "POST" and urlsplit(one.url).path.endswith(tail)]

    def hosts(self) -> set[str]:
        return {
            urlsplit(one.url).netloc for one in self.requests if urlsplit(one.url).scheme in ("http", "https", "ws")
        }


class Room:
    """A browser that knows where hocket is."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser, self.url = browser, url
        self._visitors: list[Visitor] = []

    async def visitor(self, beside: Visitor | None = None, **options: Any) -> Visitor:
        """Another person, or another tab of the one that is given."""
        context = beside.context if beside else await self._browser.new_context(**options)
        context.set_default_timeout(WAIT_MS)
        visitor = Visitor(context, await context.new_page(), self.url)
        self._visitors.append(visitor)
        return visitor

    def check(self) -> None:
        """Nobody asked another host, and nothing failed in a page: no exception, no blocked script or style."""
        here = {urlsplit(self.url).netloc}
        for visitor in self._visitors:
            assert visitor.hosts() <= here, visitor.hosts() - here
            assert visitor.complaints == [], visitor.complaints


@contextlib.asynccontextmanager
async def open_room(url: str) -> AsyncIterator[Room]:
    """A Chromium of its own; what `Room.check` says is checked on the way out."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        try:
            room = Room(browser, url)
            yield room
            room.check()
        finally:
            await browser.close()


def chromium() -> Path:
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        pytest.fail("The tests of the run page need a Chromium on the path: install the package chromium.")
    return Path(found)
