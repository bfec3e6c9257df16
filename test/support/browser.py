# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium that shows pages from files, and what it wrote to its console."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DRIVER = "chromedriver"
#: The last ones keep the browser from calling home, so that what it loads is what the page loads.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing_browser() -> str:
    """Return what is missing to open pages, or an empty string."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "the Python package selenium is not installed"
    if _browser() is None:
        return f"no browser is installed (looked for {', '.join(BROWSERS)})"
    if shutil.which(DRIVER) is None:
        return f"{DRIVER} is not installed"
    return ""


@dataclass
class Browser:
    """An open browser; `driver` is its selenium driver."""

    driver: Any

    def open(self, page: Path) -> None:
        """Open a file, and wait until its scripts have run."""
        self.driver.get(page.resolve().as_uri())

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page; return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def console(self) -> list[str]:
        """Return warnings and errors in the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def loaded(self) -> list[str]:
        """Return the addresses of everything that the page loaded, without data in it."""
        names = self.run("return performance.getEntriesByType('resource').map((e) => e.name)")
        return [name for name in names if not name.startswith("data:")]


@contextmanager
def open_browser(profile: Path, size: tuple[int, int] = (1280, 900)) -> Iterator[Browser]:
    """Start a browser with an empty profile in this folder, and a window of a size in px."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(_browser())
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which(DRIVER)))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


def _browser() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)
