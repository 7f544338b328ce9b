"""`batchswap watch` in a browser: it follows a real run, and its buttons decide."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.alert import Alert

from manifests.demo_media import copier, find_data
from tests.browser.conftest import Browser
from tests.browser.nights import Night
from tests.cli.conftest import Place, call, place
from tests.processes import ROOT, started
from tests.waits import wait_until
from tests.watch.conftest import watching

__all__ = ["place"]
"""A fixture of tests/cli."""
HOSTILE = """it's -"x" <b>&amp;</b> $(id); --db x"""


def rows(browser: Browser) -> list[dict[str, Any]]:
    """Return the tasks that the page shows."""
    script = "batchswap.tasks.map(({ key, state, review }) => ({ key, state, review }))"
    found: list[dict[str, Any]] = browser.run(f"return typeof batchswap === 'undefined' ? [] : {script}")
    return found


def connected(browser: Browser) -> bool:
    return bool(browser.run("return document.documentElement.dataset.connected !== undefined"))


def is_of_run(browser: Browser, number: int) -> bool:
    """Return whether the page was made during or after this run."""
    script = "return JSON.parse(document.getElementById('live-data')?.textContent ?? '{}').mark?.run"
    return bool(browser.run(script) == number)


def open_task(browser: Browser, key: str) -> None:
    [button] = [each for each in browser.all("#canvas .key") if each.text == key]
    button.click()


def pressed(browser: Browser, mark: str) -> bool:
    return browser.find(f'#detail [data-mark="{mark}"]').get_attribute("aria-pressed") == "true"


def tasks() -> dict[str, Any]:
    return {each["key"]: each for each in json.loads(call("tasks", "--format", "json").stdout)}


def test_the_page_follows_a_real_run(place: Place, browser: Browser) -> None:
    """It is open before there is a ledger, and is not loaded again by hand."""
    copier(find_data("skimage", "data/astronaut.png"))(Path("anna.png"))
    copier(find_data("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"))(Path("grace.jpg"))
    lines = [f"r{n},anna.png,grace.jpg" for n in range(3)]
    Path("m.csv").write_text("\n".join(["id,image,face", *lines, ""]))
    with watching(place.folder) as server:
        browser.driver.get(server.address)
        assert "There is no ledger yet" in browser.find("h1").text
        env = {**os.environ, "PYTHONPATH": str(ROOT), "BATCHSWAP_NO_SCORE": "1"}
        command = [sys.executable, "-m", "batchswap", "run", "m.csv", "--provider", "local", "--in-flight", "1", "-q"]
        with started(command, env=env, stderr=subprocess.PIPE) as run:
            wait_until(lambda: is_of_run(browser, 1) and connected(browser), "the page shows the run", 120)
            browser.run("window.stays = true")
            before = rows(browser)
            wait_until(lambda: {each["state"] for each in rows(browser)} == {"done"}, "all tasks are done", 120)
            assert run.wait(timeout=60) == 0
        assert "done" not in {each["state"] for each in before}
        assert browser.run("return window.stays") is True, "the page was not loaded again"
        wait_until(
            lambda: "3" in browser.find(".figures").text and "done" in browser.find("h1").text.lower(), "the title"
        )
        open_task(browser, "r1")
        browser.find('#detail [data-mark="reject"]').click()
        wait_until(lambda: pressed(browser, "reject"), "the button shows what the ledger has")
        assert [path.stem for path in Path("results/rejected/m").iterdir()] == ["r1"]
        browser.find('#detail [data-mark="reject"]').click()
        wait_until(lambda: not pressed(browser, "reject"), "the second click takes it back")
        assert tasks()["r1"]["review"] == ""
        [redo] = [each for each in browser.all("#detail .do") if "--redo" in str(each.get_attribute("aria-label"))]
        redo.click()
        question = asked(browser)
        assert question.text.startswith("another attempt will probably cost ")
        question.accept()
        wait_until(lambda: tasks()["r1"]["state"] == "queued", "the task is queued")
        wait_until(lambda: {"key": "r1", "state": "queued", "review": ""} in rows(browser), "the page shows it")
        assert browser.take_log()[1] == []


def asked(browser: Browser) -> Alert:
    """Return the question that the page asks."""

    def is_there() -> bool:
        try:
            return bool(browser.driver.switch_to.alert.text)
        except NoAlertPresentException:
            return False

    wait_until(is_there, "the question")
    return browser.driver.switch_to.alert


def test_a_command_of_a_hostile_name_is_carried_out_after_a_question(tmp_path: Path, browser: Browser) -> None:
    ledger = Night(tmp_path, 8, texts=[{"key": HOSTILE, "state": "failed", "code": "501", "quality": ""}]).write()
    with watching(tmp_path) as server:
        browser.driver.get(server.address)
        wait_until(lambda: connected(browser), "the page is connected")
        browser.take_log()
        open_task(browser, HOSTILE)
        [retry] = [each for each in browser.all("#detail .do") if "retry" in str(each.get_attribute("aria-label"))]
        for answer in ("dismiss", "accept"):
            retry.click()
            question = asked(browser)
            assert question.text.startswith("batchswap retry ")
            assert failed(ledger) == [HOSTILE], "nothing is done before the answer"
            getattr(question, answer)()
        wait_until(lambda: "queued again" in browser.find("#said").text, "the page says what was done")
        assert failed(ledger) == []
        assert browser.take_log()[1] == []


def failed(ledger: Path) -> list[str]:
    said = call("tasks", "--db", str(ledger), "--format", "json", "--state", "failed").stdout
    return [each["key"] for each in json.loads(said) if each["key"] == HOSTILE]
