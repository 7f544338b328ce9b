"""Commands that come next, as they are typed."""

import shlex
from pathlib import Path

from batchswap.settings import Settings
from batchswap.states import State


def command(words: str, db: Path) -> str:
    """`batchswap WORDS`, with --db where the ledger is not the usual one."""
    return f"batchswap {words}" if db == Settings().db else f"batchswap {words} --db {shlex.quote(str(db))}"


def next_steps(counts: dict[str, int], db: Path) -> list[str]:
    """What a person can do about tasks that have failed or are uncertain."""
    steps = []
    if counts[State.UNCERTAIN]:
        steps.append(f"decide on the uncertain ones: {command('tasks --state uncertain', db)}, then resolve each")
    if counts[State.FAILED]:
        steps.append(f"see why: {command('tasks --state failed', db)}; try again: {command('retry', db)}")
    return steps
