"""What earlier runs tell of how long tasks take. The last tasks are asked for, so it costs no more as more finish."""

import sqlite3

import msgspec

from batchswap.tasks import Model


class Past(msgspec.Struct, frozen=True):
    """How long a task took at the API, and how long its target is, where that was known. Both in seconds."""

    model: Model
    took: float
    seconds: float | None = None


class Charge(msgspec.Struct, frozen=True):
    """What a task cost, and what was estimated. `is_done`: it succeeded."""

    model: Model
    seconds: float | None
    estimate: float
    charged: float
    is_done: bool


def charges(db: sqlite3.Connection, account: str, most: int = 500) -> list[Charge]:
    """The last attempts that the account's API priced, newest first."""
    sql = (
        "select t.model, a.seconds, coalesce(a.estimate, a.reserved), a.charged, a.state = 'succeeded'"
        " from (select * from attempts indexed by attempts_charged where charged is not null"
        " order by id desc limit ?) a join tasks t on t.id = a.task_id where a.account = ?"
    )
    return [
        Charge(Model(model), seconds, estimate, charged, bool(is_done))
        for model, seconds, estimate, charged, is_done in db.execute(sql, (most, account))
    ]


def took(db: sqlite3.Connection, most: int = 500) -> list[Past]:
    """The last tasks that ended, oldest first: what later runs start from."""
    sql = (
        "select t.model, a.took, a.seconds from attempts a indexed by attempts_took join tasks t on t.id = a.task_id"
        " where a.took is not null order by a.id desc limit ?"
    )
    rows = db.execute(sql, (most,)).fetchall()
    return [Past(Model(model), took_, seconds) for model, took_, seconds in reversed(rows)]
