"""The report in a real browser: it needs nothing else, and everything in it works with a mouse, keys, and on paper."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from batchswap.ledger.page_queries import ReportRow
from batchswap.operations.ledger_access import reading
from batchswap.report.page import facts, render
from batchswap.report.page.render import PageForm
from tests.browser.conftest import Browser, report
from tests.browser.nights import Night
from tests.waits import wait_until

pytestmark = pytest.mark.xdist_group("browser")
SECTIONS = ["verdict", "needs", "strips", "problems", "money", "timeline", "tasks", "compared", "rights", "colophon"]


@pytest.fixture
def page(browser: Browser, night: Path) -> Iterator[Browser]:
    browser.open(night / "night.html")
    yield browser
    assert browser.run("return document.querySelectorAll('[data-broken]').length") == 0


def names(page: Browser) -> list[str]:
    """Return the tasks of the list, filtered and sorted."""
    found: list[str] = page.run("return batchswap.shown.map((task) => task.key)")
    return found


def type_in(page: Browser, selector: str, text: str) -> None:
    field = page.find(selector)
    field.clear()
    field.send_keys(text)


def choose(page: Browser, selector: str, value: str) -> None:
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))"
    page.run(script, page.find(selector), value)


def test_it_opens_without_a_request_and_without_an_error(page: Browser, night: Path) -> None:
    requested, messages = page.take_log()
    assert requested == [(night / "night.html").as_uri()]
    assert messages == []
    assert [each.get_attribute("id") for each in page.all("main > [id]")] == SECTIONS
    assert len(names(page)) == 260


def test_a_folder_loads_its_own_files_only(browser: Browser, night: Path) -> None:
    report(night / "batchswap.db", night / "folder", "--pictures", "all")
    browser.open(night / "folder" / "index.html")
    wait_until(lambda: len(names(browser)) == 260, "the tasks")
    browser.run("document.getElementById('strips').scrollIntoView()")
    wait_until(lambda: browser.run("return document.querySelector('#strip-list img').naturalWidth"), "a picture")
    requested, messages = browser.take_log()
    assert messages == []
    base = (night / "folder").as_uri() + "/"
    assert {url.removeprefix(base).split("/")[0] for url in requested} == {"index.html", "data", "strips"}


def test_a_missing_part_of_a_folder_is_named(browser: Browser, night: Path) -> None:
    report(night / "batchswap.db", night / "torn")
    (night / "torn" / "data" / "0001.js").unlink()
    browser.open(night / "torn" / "index.html")
    wait_until(lambda: "data/0001.js is missing" in browser.find("#matches").text, "the message")


def test_the_filter_is_in_the_address(page: Browser, night: Path) -> None:
    choose(page, "#filter-state", "failed")
    type_in(page, "#filter-q", "any frame")
    found = names(page)
    assert found
    assert all(page.run("return batchswap.shown.map((t) => t.state === 'failed' && t.code === '501')"))
    assert page.find("#matches").text == f"{len(found)} of 260 tasks"
    fragment = page.run("return location.hash")
    page.open(night / "night.html", fragment)
    assert names(page) == found
    assert page.find("#filter-q").get_attribute("value") == "any frame"
    page.find("#reset").click()
    assert len(names(page)) == 260
    assert page.run("return location.hash") == "#tasks"


@pytest.mark.parametrize(
    ("selector", "value", "condition"),
    [
        ("#filter-batch", "summer", "t.batch === 'summer'"),
        ("#filter-quality", "look", "['partly', 'unchanged', 'no_face'].includes(t.quality)"),
        ("#filter-quality", "unknown", "t.quality === 'unknown'"),
        ("#filter-state", "uncertain", "t.state === 'uncertain'"),
    ],
)
def test_each_filter(page: Browser, selector: str, value: str, condition: str) -> None:
    choose(page, selector, value)
    every = f"(t) => {condition}"
    assert page.run(f"return batchswap.shown.every({every})")
    assert page.run(f"return batchswap.shown.length === batchswap.tasks.filter({every}).length")


def test_a_link_of_a_problem_leads_to_its_tasks(page: Browser) -> None:
    page.run("document.querySelector('.problem a').click()")
    wait_until(lambda: len(names(page)) < 260, "the filter")
    assert page.run("return new Set(batchswap.shown.map((t) => t.code)).size") == 1


def test_columns_sort_both_ways(page: Browser) -> None:
    head = page.find("#heads [data-sort=credits] button")
    head.click()
    rising = page.run("return batchswap.shown.map((t) => t.credits).filter((c) => c !== null)")
    assert rising == sorted(rising)
    assert page.find("#heads [data-sort=credits]").get_attribute("aria-sort") == "ascending"
    head.click()
    assert page.run("return batchswap.shown.map((t) => t.credits).filter((c) => c !== null)") == rising[::-1]
    head.click()
    assert names(page)[:3] == ["clip-00001", "clip-00002", "clip-00003"]


def test_the_list_draws_only_what_is_in_sight(page: Browser) -> None:
    assert len(page.all("#canvas .row")) < 45
    page.run("document.getElementById('window').scrollTop = 1e9")
    last = "return [...document.querySelectorAll('#canvas .key')].at(-1).textContent"
    wait_until(lambda: page.run(last) == "clip-00260", "the last row")
    assert len(page.all("#canvas .row")) < 45


def test_a_copy_button_copies_the_command(page: Browser) -> None:
    page.run("document.getElementById('needs').scrollIntoView()")
    button = page.find("#needs .need .copy")
    command = button.get_attribute("data-copy")
    assert command is not None
    assert command.startswith("batchswap show ")
    ActionChains(page.driver).move_to_element(button).click().perform()
    wait_until(lambda: page.find("#said").text == "Copied", "the message")
    shown = "[...document.querySelectorAll('.command')].map((e) => e.querySelector('code').textContent)"
    copied = "[...document.querySelectorAll('.command .copy')].map((e) => e.dataset.copy)"
    assert page.run(f"return {shown}") == page.run(f"return {copied}")
    assert pasted(page) == command


def pasted(page: Browser) -> str:
    """Paste into the search field, and return what was in the clipboard."""
    field = page.find("#filter-q")
    field.clear()
    field.send_keys(Keys.CONTROL, "v")
    return str(field.get_attribute("value"))


def test_marks_become_commands(page: Browser) -> None:
    buttons = page.all("#needs .mark-button[data-mark=reject]")[:2]
    for button in buttons:
        page.run("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", button)
    marked = [str(button.get_attribute("data-name")) for button in buttons]
    commands = [each.text for each in page.all("#marked code")]
    assert len(commands) == 1
    assert commands[0].startswith(f"batchswap review {marked[0]} {marked[1]} --reject --db ")
    assert "cannot write to the ledger" in page.find("#marked").text
    page.find("#unmark").click()
    assert not page.find("#marked").is_displayed()


def test_a_video_plays_next_to_its_original(page: Browser) -> None:
    page.media(still=False)
    page.run("document.querySelector('#canvas .key').click()")
    original, result = page.all("#detail video")
    assert (original.get_attribute("data-which"), result.get_attribute("data-which")) == ("original", "file")
    wait_until(lambda: page.run("return arguments[0].currentTime > 0.4", result), "the video plays")
    in_step = "const [a, b] = arguments; return !a.paused && Math.abs(a.currentTime - b.currentTime) < 0.25"
    wait_until(lambda: page.run(in_step, original, result), "they play in step")
    page.run("arguments[0].pause(); arguments[0].currentTime = 2.5", result)
    at_rest = "return arguments[0].paused && Math.abs(arguments[0].currentTime - 2.5) < 0.05"
    wait_until(lambda: page.run(at_rest, original), "the original follows")
    assert page.take_log()[1] == []
    page.find("#detail button").click()
    assert not page.all("#detail video")


def test_a_video_without_an_original_is_alone(page: Browser) -> None:
    type_in(page, "#filter-q", "clip-00003")
    page.find("#canvas .key").click()
    assert [each.get_attribute("data-which") for each in page.all("#detail video")] == ["file"]


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_an_enlarged_picture_stays_in_the_window(page: Browser, at: int) -> None:
    strip = page.all("#strip-list .strip")[at]
    page.run("arguments[0].scrollIntoView({block: 'center'})", strip)
    small = page.run("return arguments[0].querySelector('img').getBoundingClientRect().width", strip)
    page.run("arguments[0].focus({focusVisible: true, preventScroll: true})", strip)
    left, width = page.run(
        "const r = arguments[0].querySelector('img').getBoundingClientRect(); return [r.left, r.width]", strip
    )
    assert width > 1.5 * small
    assert left >= 0
    assert left + width <= 1280
    assert page.run("return document.documentElement.scrollWidth") <= 1280


def test_a_task_without_files_says_so(page: Browser) -> None:
    type_in(page, "#filter-q", "clip-00004")
    page.find("#canvas .key").click()
    assert "The files are not where they were saved." in page.find("#detail").text
    assert page.all("#detail .sheet > img")


def test_money_is_downloaded_as_csv(page: Browser, tmp_path: Path) -> None:
    page.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.run("document.querySelector('[data-csv=money]').click()")
    path = tmp_path / "batchswap-money.csv"
    wait_until(path.exists, "the file")
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == "by,name,tasks,spent,reserved,unknown_attempts,unknown_expected,lost,estimate,actual"
    assert {line.split(",")[0] for line in lines[1:]} == {"batch", "tag", "face", "consent"}
    rows = [line.split(",") for line in lines[1:]]
    by_batch, by_consent = (sum(float(row[3]) for row in rows if row[0] == name) for name in ("batch", "consent"))
    assert by_batch == pytest.approx(by_consent)


def test_everything_works_with_keys(page: Browser) -> None:
    """Tab reaches the link that skips the contents first. Arrows move in the list, Enter opens, Escape closes."""

    def press(*keys: str) -> None:
        ActionChains(page.driver).send_keys(*keys).perform()

    def focused() -> str:
        return str(page.run("return document.activeElement.className || document.activeElement.id"))

    press(Keys.TAB)
    assert focused() == "skip"
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"
    press(Keys.ENTER)
    assert page.run("return location.hash") == "#main"
    page.run("document.getElementById('reset').focus()")
    while focused() != "key":
        press(Keys.TAB)
    press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.PAGE_DOWN)
    assert page.run("return document.activeElement.textContent") == "clip-00013"
    press(Keys.END)
    assert page.run("return document.activeElement.textContent") == "clip-00260"
    press(Keys.HOME, Keys.ENTER)
    assert page.find("#detail h2").text == "summer/clip-00001"
    press(Keys.ESCAPE)
    assert not page.find("#detail").is_displayed()
    assert page.run("return document.activeElement.textContent") == "clip-00001"


def test_every_control_has_a_name_and_every_section_a_heading(page: Browser) -> None:
    tree = page.command("Accessibility.getFullAXTree")["nodes"]
    named = {"button", "link", "searchbox", "combobox", "image", "region", "dialog", "navigation", "table", "figure"}
    found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]]
    assert [role for role, name in found if role in named and not name.strip()] == []
    roles = {role for role, _ in found}
    assert {"main", "navigation", "region", "search", "table", "row", "columnheader"} <= roles
    assert page.run("return [...document.querySelectorAll('main > section')].every((s) => s.querySelector('h2'))")


CONTRAST = """
const parse = (c) => c.match(/[\\d.]+/g).map(Number);
const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const parts = [0.2126, 0.7152, 0.0722];
const light = (c) => c.slice(0, 3).map((v) => linear(v / 255)).reduce((sum, v, i) => sum + v * parts[i], 0);
const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
const poor = [];
for (const e of document.querySelectorAll('main *, nav *')) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !e.getClientRects().length || e.closest('svg')) continue;
  const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) poor.push([e.className || e.tagName, e.textContent.trim().slice(0, 30), ratio]);
}
return poor;
"""


@pytest.mark.parametrize("dark", [False, True])
def test_texts_have_enough_contrast(page: Browser, dark: bool) -> None:
    page.media(dark=dark, still=True)
    assert page.run(CONTRAST) == []


@pytest.mark.parametrize("width", [320, 360, 768, 1280, 3840])
def test_no_width_needs_sideways_scrolling(browser: Browser, night: Path, width: int) -> None:
    browser.size(width)
    browser.open(night / "night.html")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    wide = browser.run(
        "return [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1"
        " && !e.closest('#list, svg, thead, .strip, dialog')).map((e) => e.className || e.tagName)"
    )
    assert wide == []


def test_it_prints_all_sections_without_controls(page: Browser) -> None:
    page.media(kind="print")
    assert not page.find("#filters").is_displayed()
    assert not page.find("nav").is_displayed()
    page.media()
    printed = base64.b64decode(page.driver.print_page())
    assert printed.startswith(b"%PDF")
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert len(page.all("#canvas .row")) == 260
    page.media(kind="print")
    ends = "['#canvas', '#canvas .row:last-child'].map((s) => document.querySelector(s).getBoundingClientRect().bottom)"
    canvas, row = page.run(f"return {ends}")
    assert canvas - row < 3, "no empty pages after the list"
    page.media()
    page.run("dispatchEvent(new Event('afterprint'))")
    assert len(page.all("#canvas .row")) < 45


def test_without_scripts_the_rest_can_be_read(browser: Browser, night: Path) -> None:
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(night / "night.html")
        text = browser.find("main").text
    finally:
        browser.command("Emulation.setScriptExecutionDisabled", value=False)
    assert "Needs you" in text
    assert "The list of tasks and the pictures need JavaScript" in text


def test_a_program_can_bring_it_up_to_date(page: Browser) -> None:
    """The functions that a live page calls: tasks and sections are replaced, and the place in the list stays."""
    page.find("#canvas .key").click()
    ActionChains(page.driver).send_keys(Keys.ESCAPE, *[Keys.PAGE_DOWN] * 4).perform()
    page.run("document.getElementById('window').scrollTop = 1500")
    focused = page.run("return document.activeElement.textContent")
    assert focused == "clip-00041"
    first = page.run("return batchswap.tasks[0]")
    names_ = ["summer", "done", "swapped", "accepted", "", "clips/x.mp4", "faces/a.jpg", "r", "tag", "video"]
    cells = [
        first["id"],
        0,
        "clip-00001",
        1,
        2,
        1.0,
        0.9,
        3,
        4,
        4,
        5,
        6,
        7,
        8,
        1,
        2.5,
        1795730400,
        9.0,
        9,
        "",
        4,
        "",
        1,
        4,
    ]
    page.run("batchswap.update({names: arguments[0], rows: [arguments[1]]})", names_, cells)
    assert page.run("return [batchswap.tasks.length, batchswap.tasks[0].review]") == [260, "accepted"]
    assert page.run("return document.getElementById('window').scrollTop") == 1500
    assert page.run("return document.activeElement.textContent") == focused
    made = page.run("return batchswap.section('rights', '<section id=rights data-section><h2>New</h2></section>')")
    assert made
    assert page.find("#rights").text == "New"


def test_an_update_keeps_the_focus_on_a_task_that_moves(page: Browser) -> None:
    page.find("#heads [data-sort=credits] button").click()
    key = page.run("return batchswap.shown[0].key")
    page.find("#canvas .key").click()
    ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()
    page.run("batchswap.shown[0].credits = 1e6; batchswap.update({names: [], rows: []})")
    assert page.run("return document.activeElement.textContent") == key
    assert page.run("return batchswap.shown[0].key") != key


def test_an_update_shows_new_pictures_and_leaves_the_others(browser: Browser, tmp_path: Path) -> None:
    """They come while the page is open. Those that did not change are not drawn again."""
    report(Night(tmp_path, 3, trouble=False, strips=False).write(), tmp_path / "night.html")
    browser.open(tmp_path / "night.html")
    assert browser.all("#strip-list .strip") == []
    browser.run("batchswap.tasks[0].strip = 'a.webp'; batchswap.update({names: [], rows: []})")
    assert len(browser.all("#strip-list .strip")) == 1
    browser.run("window.drawn = document.querySelector('#strip-list .strip'); drawn.focus()")
    browser.run("batchswap.update({names: [], rows: []})")
    assert browser.run("return document.activeElement === drawn")
    browser.run("batchswap.tasks[1].strip = 'b.webp'; batchswap.update({names: [], rows: []})")
    assert len(browser.all("#strip-list .strip")) == 2
    assert browser.run("return document.activeElement.dataset.task") == "1"


def test_short_cells_of_the_list_are_not_cut(page: Browser) -> None:
    script = "[...document.querySelectorAll('#canvas .row > :not(.rest)')].filter((e) => e.scrollWidth > e.clientWidth)"
    assert page.run(f"return {script}.map((e) => e.textContent)") == []


def test_each_section_can_be_replaced(page: Browser, night: Path) -> None:
    """`render.sections` makes them for a live page, from the template of the whole page."""
    ledger = night / "batchswap.db"
    with reading(ledger) as db:
        scope = facts.scope_of(db, ledger, (), "last", night / "results")
        found = facts.gather(db, scope, no_strip, None)
        made = render.sections(found, scope, PageForm(260, "trouble"))
    assert list(made) == SECTIONS
    page.run("document.querySelectorAll('[data-section]').forEach((s) => { s.dataset.old = '1'; })")
    replaced = [
        name
        for name, html in made.items()
        if page.run("return batchswap.section(arguments[0], arguments[1])", name, html)
    ]
    assert replaced == [name for name in SECTIONS if name != "tasks"]
    assert page.all("[data-old]") == []
    assert page.take_log()[1] == []
    assert len(page.all(".need")) > 10


def no_strip(_: ReportRow) -> str:
    return ""


def test_an_empty_ledger_has_a_page(browser: Browser, tmp_path: Path) -> None:
    ledger = Night(tmp_path, 0, runs=0).write()
    report(ledger, tmp_path / "empty.html", "--run", "all")
    browser.open(tmp_path / "empty.html")
    assert browser.find("h1").text == "There was no run yet."
    assert browser.take_log()[1] == []
    assert json.loads(browser.run("return JSON.stringify(batchswap.shown)")) == []
