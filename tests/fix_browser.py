"""A real browser: Debian's Chromium without a window, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

PICTURES: Final = Path(__file__).parents[1] / "build" / "pictures"
"""What the pages look like, for people."""

PATIENCE_MS: Final = 60_000
SIZES: Final = {"desk": (1280, 900), "phone": (360, 740)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser, once a file."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "there is no Chromium: `apt-get install chromium` (see .ci/run)"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def opened(
    browser: Browser, token: str, url: str, *, size: str = "desk", theme: str = "light", may_fail: bool = False
) -> Iterator[Page]:
    """A page of somebody who is logged in, which must not complain.

    Args:
        browser: opens it.
        token: of the person, from Airflow.
        url: Airflow's address.
        size: one of SIZES.
        theme: light or dark, as the system wishes it.
        may_fail: requests of the page may be refused, which a browser complains about.
    """
    width, height = SIZES[size]
    options: Any = {"viewport": {"width": width, "height": height}, "color_scheme": theme, "base_url": url}
    context = browser.new_context(**options)
    context.add_cookies([{"name": "_token", "value": token, "url": url}])
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page
    finally:
        context.close()
    assert may_fail or complaints == []


def picture(page: Page, name: str) -> None:
    """Keep what the page looks like."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
