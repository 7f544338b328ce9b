"""Test the output folder before anything is paid, and stop submits when results cannot be stored later."""

import asyncio
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import PurePosixPath

from batchswap.downloads import Trial
from batchswap.downloads.fsync_batch import to_its_end
from batchswap.errors import DownloadError, Exit
from batchswap.events import LogEvent
from batchswap.ledger import queries
from batchswap.ledger.file import connection
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.stop_reasons import Stop
from batchswap.settings import Settings
from batchswap.tasks import clean

IN_A_ROW = 3
"""Number of results in a row that cannot be stored after which submitting stops."""
_NAMED = 5
_LOOKED_AT = 10_000
_SHOWN = 60
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
_PLAIN = re.compile("[A-Za-z0-9]").match
_PART = r"(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:[./]|$))[a-z0-9_-]++(?:\.[a-z0-9_-]++)*+"
_is_ordinary = re.compile(rf"{_PART}(?:/{_PART})*+", re.IGNORECASE | re.ASCII).fullmatch
_LONG = 100
"""Length of a path in bytes that every file system accepts."""
_DISK = ("disk", "disk-full")


def samples(names: Iterable[str]) -> list[str]:
    """Return a few representative outputs: one for each unusual character, ending and device name, and the longest."""
    found: dict[str, str] = {}
    longest: dict[str, tuple[int, str]] = {}
    for output in names:
        for part in PurePosixPath(output).parts:
            for kind in _kinds(part):
                found.setdefault(kind, output)
            for encoding in ("utf-8", "utf-16-le"):
                size = len(part.encode(encoding, "replace"))
                longest[encoding] = max(longest.get(encoding, (0, "")), (size, output))
    return list(dict.fromkeys([*found.values(), *(output for _, output in longest.values())]))


def _kinds(part: str) -> set[str]:
    """Return the properties for which a name may be refused. Non-ASCII letters are grouped by their Unicode block."""
    kinds = {letter if letter.isascii() else f"U+{ord(letter) >> 7:x}" for letter in part if not _PLAIN(letter)}
    kinds.add(f"ends with {part[-1] if not _PLAIN(part[-1]) else 'a letter'}")
    stem = part.partition(".")[0].lower()
    return kinds | {f"is {stem}"} if stem in _DEVICES else kinds


async def try_out(run: RunContext) -> None:
    """Test --out before the first submit. Paid results are collected in the meantime."""
    if run.store.is_writable():  # otherwise, the check of the free space reports it
        await _try_out(run)
    run.state.is_storage_tried = True


async def _try_out(run: RunContext) -> None:
    names = await to_its_end(asyncio.ensure_future(asyncio.to_thread(_samples, run.settings)))
    trial = await run.store.try_out(names)
    if trial.traits.words:
        words = f"the file system of --out {run.settings.out} {trial.traits.words}"
        run.report(LogEvent.STORAGE_LIMITED, words)
    if trial.obstacle:
        words = f"no result can be stored in --out {run.settings.out} ({trial.obstacle}): nothing is submitted"
        run.state.stop_submits(Stop(Exit.USAGE, f"{words}; choose another folder with --out", "disk"))
    elif trial.refused:
        rows = list(islice(odd_outputs(run.ledger.db, run.settings.batches), _LOOKED_AT))
        trial = await run.store.try_out(dict.fromkeys(output for _, output in rows))
        run.state.stop_submits(Stop(Exit.USAGE, _refusal(rows, trial, str(run.settings.out)), "disk"))


def _samples(settings: Settings) -> list[str]:
    """Read all queued outputs (perhaps a million) on a separate connection."""
    with closing(connection.connect(settings.db, write=False)) as db:
        return samples(output for _, output in odd_outputs(db, settings.batches))


def odd_outputs(db: sqlite3.Connection, batches: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield ("batch/key", output) of queued rows whose output name a file system might refuse."""
    for name, output in queries.queued_outputs(db, batches):
        if len(output) > _LONG or not _is_ordinary(output):
            yield name, output


def _refusal(rows: list[tuple[str, str]], trial: Trial, out: str) -> str:
    """Return the message that names the rows whose outputs cannot be stored, with the reasons."""
    found = [(name, output, trial.refused[output]) for name, output in rows if output in trial.refused]
    named = ", ".join(f'{name} ("{_short(output)}": {why})' for name, output, why in found[:_NAMED])
    more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
    count = "1 row's result" if len(found) == 1 else f"{len(found):,} rows' results"
    remedy = "give them another output, or choose another folder with --out"
    return f"{count} cannot be stored in --out {out}: {named}{more}: nothing is submitted; {remedy}"


def _short(output: str) -> str:
    return output if len(output) <= _SHOWN else f"{output[: _SHOWN - 1]}…"


class Troubles:
    """Paid results that cannot be stored. Their tasks stay `fetching`, so the next run downloads them."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._in_a_row = 0
        self._is_reported = False

    def clear(self) -> None:
        """Reset the count, because a result was stored."""
        self._in_a_row = 0

    def take(self, error: DownloadError) -> bool:
        """Return whether the disk failed, which does not fail the task. Several failures in a row stop submits."""
        if error.reason not in _DISK or error.final:
            return False
        run = self._run
        self._in_a_row += 1
        if not self._is_reported:
            self._is_reported = True
            words = f"results could not be stored ({clean(str(error))}): they are paid for, the next run fetches them"
            run.state.add_stop(Stop(Exit.FAILED, words, "disk"))
        if self._in_a_row == IN_A_ROW:
            words = f"{IN_A_ROW} results in a row could not be stored: nothing more is submitted"
            run.state.stop_submits(Stop(Exit.FAILED, words, "disk"))
        return True
