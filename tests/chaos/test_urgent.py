"""Messages about money appear at every verbosity, and on any stream that still works."""

import json
import resource
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.shop import Shop
from tests.chaos.vendor import Vendor
from tests.http.scripted import Act, Request
from tests.ports import callback_options
from tests.processes import started


def fill_disk(vendor: Vendor, kind: str, request: Request) -> Act | None:
    """Make all files of the run unable to grow from the first submit on."""
    if kind == "submit":
        resource.prlimit(vendor.victim, resource.RLIMIT_FSIZE, (0, 0))
    return None


def run(shop: Shop, *more: str, stderr: Path | None = None, before: tuple[str, ...] = ()) -> tuple[str, str]:
    """Return stdout and stderr of a run that can no longer write files."""
    shop.rows(1)
    shop.vendor.spoil = fill_disk
    with ExitStack() as stack:
        error = subprocess.PIPE if stderr is None else stack.enter_context(stderr.open("w"))
        command = [*before, sys.executable, "-m", "batchswap", *shop.arguments("--rate", "none", *more)]
        process = stack.enter_context(
            started(command, cwd=shop.folder, env=shop.environment(), stdout=subprocess.PIPE, stderr=error)
        )
        shop.vendor.victim = process.pid
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1, (out, err)
    assert len(shop.vendor.tasks) == 1
    return out, err or ""


@pytest.mark.parametrize("how", [["-q"], ["-q", "--log-format", "json"], ["--no-progress"]])
def test_the_id_of_a_paid_task_that_cannot_be_recorded_is_shown(shop: Shop, how: list[str]) -> None:
    _, err = run(shop, *how)
    (line,) = [line for line in err.splitlines() if "cannot be recorded" in line]
    assert next(iter(shop.vendor.tasks)) in line
    if "json" in how:
        assert json.loads(line)["level"] == "warning"


def test_an_id_that_stderr_cannot_take_is_written_to_stdout(shop: Shop) -> None:
    out, _ = run(shop, "-q", stderr=shop.folder / "night.log")
    assert next(iter(shop.vendor.tasks)) in out


def test_an_id_that_a_closed_stderr_cannot_take_is_written_to_stdout(shop: Shop) -> None:
    out, _ = run(shop, "-q", before=("sh", "-c", 'exec "$@" 2>&-', "sh"))
    assert next(iter(shop.vendor.tasks)) in out


def test_an_id_that_stderr_cannot_take_is_in_the_document(shop: Shop) -> None:
    out, _ = run(shop, "-q", "--json", stderr=shop.folder / "night.log")
    assert any(next(iter(shop.vendor.tasks)) in line for line in json.loads(out)["warnings"])


def test_without_trouble_quiet_is_one_line(shop: Shop) -> None:
    shop.rows(1)
    done = shop.process("--rate", "none", "-q", *callback_options())
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1)
