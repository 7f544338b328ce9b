"""The report of a night: how long it takes to make, and how quickly Chromium shows and filters it.

`python -m tests.benchmarks.bench_report [TASKS]` measures pages of 2,000 tasks (one file) and 100,000 (a folder).
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from selenium.webdriver import Chrome

from tests.benchmarks.bench_rows import Cost, cost
from tests.benchmarks.table import Goal, at_most
from tests.browser.chromium import started_browser
from tests.browser.nights import Night
from tests.waits import wait_until

FEW, MANY = 2_000, 100_000
MEMORY = 150.0
ROUNDS = ("clip-0", "no face", "release-113", "anna", "501", "zzz", "")
"""What is typed into the search field, one after the other."""
FILTER = """
const [text, done] = arguments, field = document.getElementById('filter-q'), start = performance.now();
field.value = text;
field.dispatchEvent(new Event('input'));
requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
"""


def made(folder: Path, place: str, pictures: str) -> Cost:
    command = [sys.executable, "-m", "batchswap", "report", "-o", place, "--pictures", pictures]
    return cost(folder, command)


@contextmanager
def opened(page: Path, tasks: int, profile: Path) -> Iterator[tuple[Chrome, float]]:
    """Open a page in a new browser; give it and the seconds until the first paint."""
    with started_browser(profile) as driver:
        driver.get(page.as_uri())
        paint = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        first = wait_until(lambda: driver.execute_script(paint), "the first paint", 60.0)
        wait_until(lambda: driver.execute_script("return batchswap.tasks.length") == tasks, "all tasks", 120.0)
        yield driver, float(first) / 1000


def filtered(driver: Chrome) -> float:
    """Return the median of the seconds from a key to the next picture."""
    return median(float(driver.execute_async_script(FILTER, text)) for text in ROUNDS) / 1000


def megabytes(profile: Path) -> float:
    """Return the proportional memory of the largest process that draws pages."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
            if "--type=renderer" in command and str(profile) in command:
                lines = (process / "smaps_rollup").read_text().splitlines()
                found += [int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")]
        except OSError:
            continue
    return max(found)


def one_file(folder: Path) -> list[Goal]:
    Night(folder, FEW, runs=7).write()
    bare, trouble, every = (made(folder, f"{name}.html", name) for name in ("none", "trouble", "all"))
    sizes = [(folder / f"{name}.html").stat().st_size / 1e6 for name in ("trouble", "all")]
    with opened(folder / "trouble.html", FEW, folder / "profile") as (driver, first):
        quick = filtered(driver)
    with opened(folder / "all.html", FEW, folder / "profile-2") as (_, first_of_all):
        pass
    detail = f" (with the pictures of trouble {trouble.wall:.1f} s, with all {every.wall:.1f} s)"
    return [
        at_most(f"report of {FEW:,} tasks without pictures", bare.wall, 10.0, " s", detail),
        at_most("its size with the pictures of trouble", sizes[0], 5.0, " MB"),
        at_most("its size with all pictures", sizes[1], 25.0, " MB"),
        at_most("first paint in Chromium", first, 1.0, " s", f" (with all pictures {first_of_all:.2f} s)"),
        at_most("filter, from the key to the next picture", quick, 0.1, " s"),
    ]


def one_folder(folder: Path, tasks: int) -> list[Goal]:
    Night(folder, tasks, runs=7, strips=False).write()
    cost_ = made(folder, "night", "trouble")
    with opened(folder / "night" / "index.html", tasks, folder / "profile") as (driver, first):
        quick = filtered(driver)
        memory = megabytes(folder / "profile")
    return [
        at_most(f"report of {tasks:,} tasks", cost_.wall, 30.0, " s"),
        at_most("its peak memory", cost_.megabytes, MEMORY, " MB"),
        at_most("first paint in Chromium", first, 3.0, " s"),
        at_most("filter, from the key to the next picture", quick, 0.3, " s"),
        at_most("memory of the page in Chromium", memory, 400.0, " MB"),
    ]


def main(tasks: int = MANY) -> list[Goal]:
    with tempfile.TemporaryDirectory() as few, tempfile.TemporaryDirectory() as many:
        return [*one_file(Path(few)), *one_folder(Path(many), tasks)]


if __name__ == "__main__":
    print(*main(*map(int, sys.argv[1:])), sep="\n")
