"""What earlier runs tell of how long tasks take. The last tasks are asked for, so it costs no more as more finish."""

import sqlite3

import msgspec

from batchswap.tasks import Model


class Past(msgspec.Struct, frozen=True):
    """How long a task took at the API, and how long its target is, where that was known. Both in seconds."""

    model: Model
    took: float
    seconds: float | None = None


def took(db: sqlite3.Connection, most: int = 500) -> list[Past]:
    """The last tasks that ended, oldest first: what later runs start from."""
    sql = (
        "select t.model, a.took, a.seconds from attempts a indexed by attempts_took join tasks t on t.id = a.task_id"
        " where a.took is not null order by a.id desc limit ?"
    )
    rows = db.execute(sql, (most,)).fetchall()
    return [Past(Model(model), took_, seconds) for model, took_, seconds in reversed(rows)]
