"""Rows that would be paid for twice, in words, with the commands that go on."""

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from batchswap.ledger.enrolment.duplicates import NAMED, Duplicate
from batchswap.report.formatting import plural, safe

CommandWith = Callable[[str], str]
"""The command with further options."""


def refusal(found: Sequence[Duplicate], db: Path, command: CommandWith) -> str:
    """Why nothing is sent, and what to do. `command`: a run of the same manifests."""
    them = "it" if len(found) == 1 else "them"
    lines = [
        f"{plural(len(found), 'row')} would be paid for again: {db} has {them} under another name",
        *named(found),
        "nothing was sent; go on with one of",
        *_choices(found, command),
    ]
    return "\n".join(lines)


def named(found: Sequence[Duplicate]) -> Iterator[str]:
    """The first of them, each with its place and its other task."""
    for each in found[:NAMED]:
        yield safe(f"{_shown(each.file)}:{each.line}: {sentence(each)}")
    if len(found) > NAMED:
        yield f"and {len(found) - NAMED:,} more"


def sentence(each: Duplicate) -> str:
    """Which task has the row's inputs."""
    return f"{each.task.key} has the inputs of {each.other_name} ({each.other.state})"


def _choices(found: Sequence[Duplicate], command: CommandWith) -> Iterator[str]:
    others = {each.other.batch for each in found}
    batches = {each.task.batch for each in found}
    if len(others) == len(batches) == 1 and others != batches and all(each.is_renamed for each in found):
        (other,) = others
        yield safe(f"{command(f'--batch {shlex.quote(other)}')} # it is the manifest of {other}, renamed")
    yield f"{command('--duplicates reuse')} # take the results that are there: 0 credits"
    yield f"{command('--duplicates pay')} # pay for these rows again"


def _shown(place: str) -> str:
    """The manifest, as short as it can be named from here."""
    here = os.path.relpath(place)
    return place if here.startswith("..") else here
