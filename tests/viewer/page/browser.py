"""A page of the viewer in Chromium, without network, with everything noted that it should not do."""

from __future__ import annotations

import base64
import io
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
]

EXPECTED = ("Failed to load resource: the server responded with a status of 4",)
"""What Chromium itself writes to the console where an answer is an error that a test asks for."""


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser, or the test is skipped."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Page:
    """A tab that shows an address.

    Attributes:
        problems: console messages, errors of scripts, dialogs, requests that failed or were meant for another machine.
    """

    def __init__(self, browser: Any, address: str, fragment: str = "", size: tuple[int, int] = (1280, 800)) -> None:
        self.problems: list[str] = []
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        self.tab = self.context.new_page()
        origin = address.partition("#")[0]

        def pass_on(route: Any) -> None:
            if route.request.url.startswith((origin, "blob:" + origin)):
                route.continue_()
                return
            self.problems.append(f"request to {route.request.url}")
            route.abort()

        def dismiss(dialog: Any) -> None:
            self.problems.append("a dialog")
            dialog.dismiss()

        self.context.route("**", pass_on)
        self.tab.on("console", lambda message: self.problems.append(f"console: {message.text}"))
        self.tab.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.tab.on("dialog", dismiss)
        self.tab.goto(address + (f"&{fragment}" if fragment else ""))

    def __call__(self, script: str, argument: object = None) -> Any:
        """The value of an expression, or of a function of an argument, in the page."""
        return self.tab.evaluate(script, argument)

    def until(self, script: str, seconds: float = 30) -> Any:
        """Waits for an expression to be true."""
        end = time.monotonic() + seconds
        while not (value := self._value(script)):
            if time.monotonic() > end:
                shown = self.tab.evaluate("document.body.innerText")[:800]
                raise AssertionError(f"never true: {script}\n{self.problems}\n{shown}")
            time.sleep(0.03)
        return value

    def _value(self, script: str) -> Any:
        """The value of an expression; none while another page comes."""
        from playwright.sync_api import Error

        try:
            return self.tab.evaluate(script)
        except Error as error:
            if "Execution context was destroyed" in str(error):
                return None
            raise

    def pixels(self, selector: str) -> npt.NDArray[np.uint8]:
        """(H, W, 4) uint8, what a canvas holds, as it lies in memory."""
        script = "selector => document.querySelector(selector).toDataURL()"
        data = base64.b64decode(self.tab.evaluate(script, selector).partition(",")[2])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))

    def overlay(self, side: str = "t") -> npt.NDArray[np.uint8]:
        """(H, W, 4) uint8, the drawn objects alone, upright."""
        return self.pixels(f"canvas[data-overlay={side}]").transpose(1, 0, 2)

    def wait_for_overlay(self, expected: npt.NDArray[Any], channels: slice = slice(None), seconds: float = 20) -> None:
        """Waits for the drawn objects to be these, (H, W, C): they are painted a moment after the page says the image."""
        end = time.monotonic() + seconds
        while not np.array_equal(self.overlay()[..., channels], expected):
            assert time.monotonic() < end, f"{(self.overlay()[..., channels] != expected).sum()} values differ"
            time.sleep(0.03)

    def go(self, fragment: str) -> None:
        """Another address of the same page."""
        self.tab.evaluate("fragment => { location.hash = fragment; }", fragment)

    def close(self) -> None:
        """Close the tab, which must have had no problem."""
        self.context.close()
        assert [text for text in self.problems if not any(known in text for known in EXPECTED)] == []


Open = Callable[..., Page]


@contextmanager
def pages(browser: Any) -> Iterator[Open]:
    """Opens pages of packs; each pack is served once."""
    from segdata.viewer import server

    running: dict[tuple[Path, Path | None, Path | None], Any] = {}
    opened: list[Page] = []

    def open_page(
        pack: Path,
        fragment: str = "",
        *,
        predictions: Path | None = None,
        other: Path | None = None,
        size: tuple[int, int] = (1280, 800),
    ) -> Page:
        name = (pack, predictions, other)
        if name not in running:
            running[name] = server.view(pack, predictions, other)
        page = Page(browser, running[name].address, fragment, size)
        opened.append(page)
        return page

    try:
        yield open_page
        for page in opened:
            page.close()
    finally:
        for viewer in running.values():
            viewer.stop()
