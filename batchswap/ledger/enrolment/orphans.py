"""Find orphans: tasks whose row has left the manifest. Runs collect the paid ones, and do not submit the others."""

import sqlite3
from collections.abc import Collection, Iterator

import msgspec

from batchswap.states import State

NAMED = 3
"""The number of orphans that messages list."""
_LEFT = {State.QUEUED: "tasks_queued", State.FAILED: "tasks_failed"}
"""The states in which no run does anything for an orphan, each with its index, so that done tasks are not read."""


class Orphans(msgspec.Struct, frozen=True):
    """Orphans that are queued or have failed. `names` holds "batch/key" of the first few."""

    counts: dict[str, int] = {}
    names: tuple[str, ...] = ()

    def without(self, counts: dict[str, int]) -> dict[str, int]:
        """Subtract the orphans from the counts of tasks by state."""
        return {state: n - self.counts.get(state, 0) for state, n in counts.items()}


def find(db: sqlite3.Connection, batches: Collection[str]) -> Orphans:
    """Return the orphans of these batches."""
    counts = dict.fromkeys(map(str, _LEFT), 0)
    names: list[str] = []
    for batch in batches:
        for state in _LEFT:
            n = db.execute(f"select count(*) {_from(state)}", (batch,)).fetchone()[0]
            counts[state] += n
            if n and len(names) < NAMED:
                names += _names(db, batch, state, NAMED - len(names))
    return Orphans({state: n for state, n in counts.items() if n}, tuple(names))


def is_orphan(db: sqlite3.Connection, task_id: int) -> bool:
    """Return whether the task's row was missing when its batch was last enrolled."""
    sql = "select t.generation <> b.generation from tasks t join batches b on b.id = t.batch_id where t.id = ?"
    return bool(db.execute(sql, (task_id,)).fetchone()[0])


def _names(db: sqlite3.Connection, batch: str, state: State, most: int) -> Iterator[str]:
    for (key,) in db.execute(f"select t.key {_from(state)} limit ?", (batch, most)):
        yield f"{batch}/{key}"


def _from(state: State) -> str:
    return (
        f"from batches b cross join tasks t indexed by {_LEFT[state]} on t.batch_id = b.id"
        f" where b.name = ? and t.state = '{state}' and t.generation <> b.generation"
    )
