"""Commands that come next, as they are typed."""

import shlex
from pathlib import Path

from batchswap.ledger.enrolment.orphans import Orphans
from batchswap.report.formatting import plural
from batchswap.settings import Settings
from batchswap.states import State


def command(verb: str, db: Path, *names: str, options: str = "") -> str:
    """`batchswap VERB NAMES OPTIONS`, with --db where the ledger is not the usual one.

    Names are anybody's: a shell takes each for one word, and batchswap none for an option.
    """
    given = [options] if options else []
    if db != Settings().db:
        given.append(f"--db {shlex.quote(str(db))}")
    words = [shlex.quote(name) for name in names]
    if any(name.startswith("-") for name in names):
        return " ".join(["batchswap", verb, *given, "--", *words])
    return " ".join(["batchswap", verb, *words, *given])


def next_steps(counts: dict[str, int], db: Path) -> list[str]:
    """What a person can do about tasks that have failed or are uncertain."""
    steps = []
    if counts[State.UNCERTAIN]:
        steps.append(f"decide on the uncertain ones: {command('tasks --state uncertain', db)}, then resolve each")
    if counts[State.FAILED]:
        steps.append(f"see why: {command('tasks --state failed', db)}; try again: {command('retry', db)}")
    return steps


def no_longer_asked_for(orphans: Orphans, db: Path) -> str:
    """Tasks whose row has left the manifest, and how to be rid of them: no run does that by itself."""
    total = sum(orphans.counts.values())
    are = "is" if total == 1 else "are"
    states = ", ".join(f"{state} {n:,}" for state, n in orphans.counts.items())
    more = " …" if total > len(orphans.names) else ""
    cancel = command("cancel", db, *orphans.names)
    return f"{plural(total, 'task')} {are} no longer in the manifest: {states}; `{cancel}`{more}"
