"""The message about rows that would be paid for twice, with the commands to choose from."""

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from batchswap.ledger.enrolment.duplicates import NAMED, Duplicate
from batchswap.report.formatting import plural, safe

CommandWith = Callable[[str], str]
"""Returns the command with further options."""


def refusal(found: Sequence[Duplicate], db: Path, command: CommandWith) -> str:
    """Return why nothing was sent and what to do. `command`: a run of the same manifests."""
    them = "it" if len(found) == 1 else "them"
    lines = [
        f"{plural(len(found), 'row')} would be paid for again: {db} has {them} under another name",
        *named(found),
        "nothing was sent; to continue, run one of",
        *_choices(found, command),
    ]
    return "\n".join(lines)


def named(found: Sequence[Duplicate]) -> Iterator[str]:
    """Yield the first duplicates, each with its file, line and other task."""
    for each in found[:NAMED]:
        yield safe(f"{_shown(each.file)}:{each.line}: {sentence(each)}")
    if len(found) > NAMED:
        yield f"and {len(found) - NAMED:,} more"


def sentence(each: Duplicate) -> str:
    """Return which other task has the inputs of the row."""
    return f"{each.task.key} has the inputs of {each.other_name} ({each.other.state})"


def _choices(found: Sequence[Duplicate], command: CommandWith) -> Iterator[str]:
    others = {each.other.batch for each in found}
    batches = {each.task.batch for each in found}
    if len(others) == len(batches) == 1 and others != batches and all(each.is_renamed for each in found):
        (other,) = others
        yield safe(f"{command(f'--batch {shlex.quote(other)}')} # this is the manifest of {other} under a new name")
    yield f"{command('--duplicates reuse')} # use the existing results, for 0 credits"
    yield f"{command('--duplicates pay')} # pay for these rows again"


def _shown(place: str) -> str:
    """Return the path of the manifest, relative to the working directory if it is below it."""
    here = os.path.relpath(place)
    return place if here.startswith("..") else here
