"""Debian's Chromium without a window, for tests and benchmarks. Nothing is downloaded."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

INSTALL = "the tests of the report need a browser: apt-get install chromium chromium-driver"
_ARGUMENTS = (
    "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--no-first-run", "--lang=en-US",
    "--autoplay-policy=no-user-gesture-required", "--window-size=1280,900",
)  # fmt: skip


class NoBrowser(Exception):
    """Chromium or its driver is not installed."""


@contextmanager
def started_browser(profile: Path) -> Iterator[Chrome]:
    """Start the browser with an empty profile, and end it after the block. Raise NoBrowser."""
    program, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if program is None or driver is None:
        raise NoBrowser(INSTALL)
    options = ChromeOptions()
    options.binary_location = program
    for each in (*_ARGUMENTS, f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else [])):
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = Chrome(options=options, service=Service(driver))
    try:
        yield found
    finally:
        found.quit()
