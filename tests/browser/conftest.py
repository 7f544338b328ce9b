"""One browser for all tests of the page: Debian's Chromium, without a window and without the network."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.browser.chromium import NoBrowser, started_browser
from tests.browser.nights import Night
from tests.cli.conftest import call

_SENT = "Network.requestWillBeSent"


class Browser:
    """The browser, with the requests and the messages of the page that is open."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a file, as if for the first time."""
        self.clear()
        self.driver.get(path.absolute().as_uri() + fragment)

    def clear(self) -> None:
        """Leave the page, and forget its requests and messages."""
        self.driver.get("about:blank")
        self.take_log()

    def run(self, script: str, *arguments: Any) -> Any:
        """Return the value of a function body."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def command(self, name: str, **values: Any) -> Any:
        """Send a command of the protocol of developer tools."""
        return self.driver.execute_cdp_cmd(name, values)

    def size(self, width: int, height: int = 900) -> None:
        """Set the size of the view, in pixels."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def media(self, *, dark: bool = False, kind: str = "", still: bool = False) -> None:
        """Set what the page is told about the medium and the user's wishes."""
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.command("Emulation.setEmulatedMedia", media=kind, features=features)

    def take_log(self) -> tuple[list[str], list[str]]:
        """Return the addresses that were requested, and the messages of the console, since the last call."""
        log: Callable[[str], list[dict[str, Any]]] = self.driver.get_log
        messages = [entry["message"] for entry in log("browser")]
        events = [json.loads(entry["message"])["message"] for entry in log("performance")]
        sent = {e["params"]["requestId"]: e["params"]["request"]["url"] for e in events if e["method"] == _SENT}
        for event in events:
            if event["method"] == "Network.loadingFailed" and event["params"].get("blockedReason") == "csp":
                sent.pop(event["params"]["requestId"], None)
        return [url for url in sent.values() if not url.startswith(("data:", "blob:"))], messages


@pytest.fixture(scope="session")
def _driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    try:
        with started_browser(tmp_path_factory.mktemp("profile")) as found:
            yield found
    except NoBrowser as error:
        pytest.fail(str(error))


@pytest.fixture
def browser(_driver: Chrome) -> Browser:
    found = Browser(_driver)
    found.clear()
    found.size(1280)
    found.media(still=True)
    return found


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a night with a page `night.html`. Of three videos, two have an original."""
    folder = tmp_path_factory.mktemp("night")
    ledger = Night(folder, 260, batches=("spring", "summer"), runs=4).write()
    for n, batch in ((1, "summer"), (2, "spring"), (3, "summer")):
        write_video(folder / "results" / batch / f"clip-{n:05d}.mp4", shade=40 * n)
        if n != 3:
            write_video(folder / "clips" / f"clip-{n:05d}.mp4", shade=200)
    report(ledger, folder / "night.html")
    return folder


def report(ledger: Path, place: Path, *options: str) -> None:
    """Write a report with the command."""
    out = str(ledger.parent / "results")
    done = call("report", "--db", str(ledger), "--out", out, "-o", str(place), *options)
    assert done.exit_code == 0, done.output


def write_video(path: Path, shade: int, seconds: int = 4) -> None:
    """Write a video that a browser can play."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(seconds * 10):
            picture = np.full((64, 96, 3), shade, np.uint8)
            picture[:, : 2 * number + 1] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
