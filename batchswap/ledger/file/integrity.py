"""Whether a ledger still has everything that the steps of its version made. Another program may have changed it."""

import sqlite3
from contextlib import closing

from sqlite_utils import Database

from batchswap.ledger.schema import migrate

_OURS = "select type, name, sql from sqlite_master where name not like 'sqlite\\_%' escape '\\' and sql is not null"

_ORDER = ("table", "column", "index", "trigger", "view")


def missing(db: sqlite3.Connection) -> list[str]:
    """Tables, columns, indexes and triggers that are not there, or not as they were made: "column tasks.size"."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        migrate(Database(model, execute_plugins=False))
        found = {(kind, name): sql for kind, name, sql in db.execute(_OURS)}
        gone = []
        for kind, name, sql in model.execute(_OURS).fetchall():
            if (kind, name) not in found:
                gone.append(f"{kind} {name}")
            elif kind == "table":
                gone += [f"column {name}.{column}" for column in _columns(model, name) - _columns(db, name)]
            elif found[kind, name] != sql:
                gone.append(f"{kind} {name}")
        return sorted(gone, key=lambda each: (_ORDER.index(each.partition(" ")[0]), each))


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {name for (name,) in db.execute("select name from pragma_table_info(?)", (table,))}
