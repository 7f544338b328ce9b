"""Texts of manifests and of the API are untrusted: in the page they are text, whatever they look like."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from batchswap.operations.ledger_access import reading
from batchswap.report import page as pages
from batchswap.report.page.task_cells import embedded
from batchswap.settings import Settings
from tests.browser.conftest import Browser, report
from tests.browser.nights import Night
from tests.chaos.test_hostile_text import ANSI, BIDI, FORMULAS, MARKUP, TITLE, WORDS
from tests.waits import wait_until

pytestmark = pytest.mark.xdist_group("browser")

CODE = "window.ran = (window.ran || 0) + 1"
MARKUPS = (
    f"</script><script>{CODE}</script>",
    f"<!--<script>{CODE}//",
    f"<img src=x onerror='{CODE}'>",
    f"<svg onload='{CODE}'></svg>",
    f"'\"><script>{CODE}</script>",
    f"<iframe srcdoc='<script>parent.{CODE}</script>'></iframe>",
    f"javascript:{CODE}",
    "</style><style>*{display:none}</style>",
    "<base href='https://evil.example/'><meta http-equiv=refresh content='0;url=https://evil.example'>",
    "{{ 7 * 7 }}{% raw %}${7*7}",
    "a\u2028b\u2029c",
    "]]>--!><plaintext>",
    *(ANSI, TITLE, BIDI, MARKUP, WORDS, *FORMULAS),
)
FIELDS = ("key", "target", "face", "consent", "tags", "reason", "code", "evidence")
SECRETS = (
    "https://cdn.example/a.mp4?X-Amz-Signature=SIGNATURE0",
    "https://user:PASSWORD0@cdn.example/b.mp4",
    "ak_" + "KEYKEY0" * 5,
    "https://hooks.example/0f0f0f0f-1111-2222-3333-444444444444/abcdef0123456789",
)
HIDDEN = ("SIGNATURE0", "PASSWORD0", "KEYKEY0", "abcdef0123456789")


def hostile() -> list[dict[str, Any]]:
    """Return one task for each text in each field, done and failed."""
    rows: list[dict[str, Any]] = []
    for text in (*MARKUPS, *SECRETS):
        for state, quality in (("done", "unchanged"), ("failed", ""), ("uncertain", "")):
            row: dict[str, Any] = dict.fromkeys(FIELDS, text)
            row |= {"key": f"{text}{len(rows)}", "state": state, "quality": quality}
            if state == "done":
                row |= {"code": "", "reason": ""}
            rows.append(row)
    return rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the page of a night that is hostile in every field, and in the name of its batch."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = hostile()
    Night(folder, len(rows), batches=(MARKUPS[0],), texts=rows, runs=2).write()
    report(folder / "batchswap.db", folder / "night.html", "--pictures", "all")
    report(folder / "batchswap.db", folder / "folder", "--pictures", "all")
    return folder


@pytest.mark.parametrize("page", ["night.html", "folder/index.html"])
def test_nothing_of_a_text_runs(browser: Browser, place: Path, page: str) -> None:
    browser.open(place / page)
    assert browser.run("return document.querySelector('main, nav') !== null")
    for at in range(0, len(hostile()), 7):
        browser.run("document.getElementById('window').scrollTop = arguments[0] * 44", at)
        browser.run("batchswap.shown[arguments[0]] && document.querySelector('#canvas .key').click()", at)
        browser.run("document.getElementById('detail').close()")
    browser.run("for (const b of document.querySelectorAll('#needs .mark-button')) b.click()")
    assert browser.run("return window.ran") is None
    assert (
        browser.run("return document.querySelectorAll('iframe, base, plaintext, meta[http-equiv=refresh]').length") == 0
    )
    assert browser.run("return document.querySelectorAll('script:not([type])').length") == 1
    assert browser.run("return document.querySelectorAll('style').length") == 1
    assert browser.find("h1").is_displayed()
    requested, messages = browser.take_log()
    assert messages == []
    assert all(url.startswith(place.as_uri()) for url in requested)


def test_the_texts_are_there(browser: Browser, place: Path) -> None:
    """They are shown as they are, on one line and without control characters."""
    browser.open(place / "night.html")
    keys = browser.run("return batchswap.tasks.map((task) => task.key)")
    assert f"{MARKUPS[0]}0" in keys
    assert f"{MARKUP}{3 * MARKUPS.index(MARKUP)}" in keys
    assert not [key for key in keys if re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", key)]
    assert MARKUPS[0] in browser.run("return document.querySelector('.need h4').textContent")


def test_the_policy_refuses_what_would_run(browser: Browser, place: Path, tmp_path: Path) -> None:
    """Even with a script, an address or a handler inside of the page, nothing runs and nothing is requested."""
    bad = (
        f"<script>{CODE}</script><img src=x onerror='{CODE}'><script src='https://evil.example/x.js'></script>"
        "<img src='https://evil.example/x.png'><iframe src='https://evil.example'></iframe><a href='javascript:1'>x</a>"
    )
    for name in ("night.html", "folder/index.html"):
        text = (place / name).read_text(encoding="utf-8")
        path = tmp_path / Path(name).name
        path.write_text(text.replace("<main", f"{bad}<main", 1), encoding="utf-8")
        browser.open(path)
        assert browser.run("return window.ran") is None
        requested, messages = browser.take_log()
        assert [url for url in requested if "evil" in url] == []
        assert any("Content Security Policy" in message for message in messages)


@pytest.mark.parametrize("page", ["night.html", "folder"])
def test_no_secret_is_in_the_page(place: Path, page: str) -> None:
    found = place / page
    texts = [path.read_bytes() for path in ([found] if found.is_file() else found.rglob("*")) if path.is_file()]
    assert texts
    assert [secret for secret in HIDDEN if any(secret.encode() in text for text in texts)] == []


def test_a_spreadsheet_takes_no_cell_for_a_formula(browser: Browser, place: Path, tmp_path: Path) -> None:
    browser.open(place / "night.html")
    browser.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    for kind in ("money", "tasks"):
        browser.run("document.querySelector(`[data-csv=${arguments[0]}]`).click()", kind)
    paths = [tmp_path / f"batchswap-{kind}.csv" for kind in ("money", "tasks")]
    wait_until(lambda: all(path.exists() for path in paths), "the files")
    text = "".join(path.read_text(encoding="utf-8-sig") for path in paths)
    assert "'=cmd|" in text
    assert not re.search(r"(^|[,\n\"])[=+@]", text, re.MULTILINE)


@pytest.mark.parametrize("text", [*MARKUPS, "\ud800 lone", "\udfff", "\x7f\x9b\x00"])
def test_embedded_json_is_the_text_and_ends_nothing(text: str) -> None:
    made = embedded({"text": text})
    assert json.loads(made) == {"text": text}
    assert made.isascii()
    assert not re.search(r"[<>&]", made)


def test_the_settings_show_no_secret(place: Path, tmp_path: Path) -> None:
    """Addresses of settings come without what gives access."""
    settings = Settings(
        callback_url="https://hooks.example/TOKEN0", base_url="https://me:PASSWORD0@api.example", workers=7
    )
    with reading(place / "batchswap.db") as db:
        pages.write(db, place / "batchswap.db", tmp_path / "x.html", settings=settings)
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "TOKEN0" not in text
    assert "PASSWORD0" not in text
    assert re.search(r"<dt>setting workers</dt><dd>7</dd>", text)
