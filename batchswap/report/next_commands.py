"""Commands that come next, as they are typed."""

import shlex
from pathlib import Path

from batchswap.ledger.enrolment.orphans import Orphans
from batchswap.report.formatting import plural
from batchswap.settings import Settings
from batchswap.states import State


def command(verb: str, db: Path, *names: str, options: str = "") -> str:
    """Return `batchswap VERB NAMES OPTIONS`, with --db unless the ledger is the default one.

    Names may contain anything: they are quoted for the shell and cannot be mistaken for options.
    """
    given = [options] if options else []
    if db != Settings().db:
        given.append(f"--db {shlex.quote(str(db))}")
    words = [shlex.quote(name) for name in names]
    if any(name.startswith("-") for name in names):
        return " ".join(["batchswap", verb, *given, "--", *words])
    return " ".join(["batchswap", verb, *words, *given])


def next_steps(counts: dict[str, int], db: Path, *, to_review: bool = False) -> list[str]:
    """Return what to do about failed, uncertain and doubtful tasks, in the order of typing, and a shorter form."""
    verbs = [verb for verb, state in (("resolve", State.UNCERTAIN), ("retry", State.FAILED)) if counts[state]]
    first = f"next: {command('status', db)}"
    if not verbs:
        return [f"{first}, then review", first] if to_review else []
    review = ["review"] if to_review else []
    return [f"{first}, then {', '.join([*review, *verbs])} and run", first]


def orphans_words(orphans: Orphans) -> str:
    """Return how many tasks have lost their row in the manifest."""
    total = sum(orphans.counts.values())
    states = ", ".join(f"{state} {n:,}" for state, n in orphans.counts.items())
    return f"{plural(total, 'task')} {'is' if total == 1 else 'are'} no longer in the manifest: {states}"


def cancel_orphans(orphans: Orphans, db: Path) -> str:
    """Return how many tasks have lost their row in the manifest, and the command that cancels them."""
    total = sum(orphans.counts.values())
    more = " …" if total > len(orphans.names) else ""
    cancel = command("cancel", db, *orphans.names)
    return f"{orphans_words(orphans)}; to cancel: `{cancel}`{more}"
