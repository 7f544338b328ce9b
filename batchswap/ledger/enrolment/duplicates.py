"""Find rows that would be paid for twice, because a task of another batch has the same inputs.

A task of the same batch counts too if its row has left the manifest, for example after its id was changed. Two rows of
one batch with the same inputs are intended: each needs its own result, so a second row only matches a second task.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path

import msgspec

from batchswap.errors import UsageError
from batchswap.ledger import queries
from batchswap.ledger.enrolment import input_files
from batchswap.ledger.enrolment.input_files import Hash
from batchswap.ledger.rows import TASK_COLUMNS, TASK_FROM, groups, marks, one_of, task
from batchswap.states import MAY_HAVE_RESULT, State
from batchswap.tasks import Task

NAMED = 3
"""The number of duplicates that messages list."""
_IS_KNOWN = "(o.paid > 0 or o.reuses is not null)"
"""The task may have been paid for with its current inputs. SQLite uses the index only for exactly this condition."""
_IS_PAID = f"""
    {_IS_KNOWN} and (o.reuses is null or o.state = 'done') and exists(
        select 1 from attempts a where a.task_id = coalesce(o.reuses, o.id) and a.account = :account
        and (o.reuses is not null
             or (a.number = o.attempts and {one_of("a.state", MAY_HAVE_RESULT)})))
"""
_OTHERS = TASK_COLUMNS.replace("t.", "o.")
_OTHERS_FROM = TASK_FROM.replace("tasks t", "tasks o {index}").replace("t.", "o.")


class Decision(StrEnum):
    """The way to treat duplicates. The ledger stores `reuse`, `pay` and `redo`, and "" for a row without a decision.

    REDO is no option of a run: the user wants another attempt for this row, whatever other tasks have its inputs.
    """

    REFUSE = "refuse"
    REUSE = "reuse"
    PAY = "pay"
    REDO = "redo"


class Duplicate(msgspec.Struct, frozen=True):
    """A row with its place in a manifest, and the task that has the same inputs."""

    file: str
    line: int
    task: Task
    other: Task
    is_renamed: bool = False
    """True if no manifest of the other task's batch exists any longer."""

    @property
    def name(self) -> str:
        """batch/key."""
        return f"{self.task.batch}/{self.task.key}"

    @property
    def other_name(self) -> str:
        """The other task's batch/key."""
        return f"{self.other.batch}/{self.other.key}"


class DuplicateRows(UsageError):
    """Duplicate rows were refused, and nothing was enrolled."""

    def __init__(self, found: list[Duplicate]) -> None:
        super().__init__(f"{len(found):,} rows have the same inputs as other tasks")
        self.found = found


class Matches:
    """Find the task that a row would duplicate. Each task matches at most one row of a batch."""

    def __init__(
        self,
        db: sqlite3.Connection | None,
        account: str,
        hash_file: Hash,
        current: Collection[int] | None = None,
    ) -> None:
        """`account`: tasks of other accounts do not match. `db` is None if there is no ledger.

        `current`: for manifests that are not enrolled, the tasks that still have a row in them.
        """
        self._db, self._account, self._hash, self._current = db, account, hash_file, current
        self._gone: dict[str, bool] = {}
        self._taken: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        self._queued: defaultdict[str, list[Task]] = defaultdict(list)

    def known(self, digests: Sequence[str]) -> set[str]:
        """Return those of the digests that a submitted task has."""
        found: set[str] = set()
        if self._db is None:
            return found
        for some in groups(digests):
            sql = "select o.digest from tasks o indexed by tasks_digest where o.digest in"
            rows = self._db.execute(f"{sql} ({marks(some)}) and {_IS_KNOWN}", tuple(some))
            found.update(digest for (digest,) in rows)
        return found

    def is_gone(self, batch: str) -> bool:
        """Return whether no manifest of the batch exists any longer, so that it may have been renamed."""
        if self._db is None:
            return False
        if batch not in self._gone:
            sql = "select s.folder, s.path from sources s join batches b on b.id = s.batch_id where b.name = ?"
            places = (Path(folder, Path(path).name) for folder, path in self._db.execute(sql, (batch,)).fetchall())
            self._gone[batch] = not any(place.exists() for place in places)
        return self._gone[batch]

    def will_pay(self, item: Task) -> None:
        """Note that this queued row will be submitted, so that rows of other batches are compared with it."""
        self._queued[item.digest].append(item)

    def of(self, item: Task) -> Task | None:
        """Return the task whose result would serve this row. Call this once for each row that would be paid for."""
        others, used, paid = self._others(item)
        used |= self._taken[item.batch, item.digest]
        for other, root in others:
            if root in used or not self._is_same_work(item, other, root):
                continue
            if paid:
                paid -= 1  # this task is matched by a row that is paid for on purpose
                continue
            self._taken[item.batch, item.digest].add(root)
            return other
        return None

    def _others(self, item: Task) -> tuple[list[tuple[Task, int]], set[int], int]:
        """Return the tasks that the row may duplicate, done ones first, each with the id of the submitted task.

        Also return, for rows of the same batch, the tasks whose results they reuse, and the number of rows that are
        paid for although another task has their inputs.
        """
        sql = (
            f"select {_OTHERS}, o.generation = b.generation, o.reuses, o.duplicates"
            f" from {_OTHERS_FROM.format(index='indexed by tasks_digest')}"
            f" where o.digest = :digest and o.id <> :id and {_IS_PAID} order by o.state <> 'done', o.id"
        )
        values = {"digest": item.digest, "id": item.id, "account": self._account}
        others: list[tuple[Task, int]] = []
        used: set[int] = set()
        paid = 0
        for *row, is_new, reuses, decision in () if self._db is None else self._db.execute(sql, values):
            other = task(tuple(row))
            is_current = bool(is_new) if self._current is None else other.id in self._current
            if other.batch != item.batch or not is_current:
                others.append((other, other.id if reuses is None else reuses))
            elif reuses is not None:
                used.add(reuses)
            else:
                paid += decision == Decision.PAY
        others += [(each, each.id) for each in self._queued.get(item.digest, ()) if each.batch != item.batch]
        return others, used, paid

    def _is_same_work(self, item: Task, other: Task, root: int) -> bool:
        """Return whether two tasks whose inputs are written the same way use the same files."""
        try:
            return all(self._is_same_file(item, other, root, each) for each in input_files.local_inputs(item))
        except OSError:
            return False  # an input is missing, so the row cannot be submitted

    def _is_same_file(self, item: Task, other: Task, root: int, given: str) -> bool:
        db, new, old = self._db, Path(item.folder, given), Path(other.folder, given)
        known = None if db is None else input_files.recorded(db, root, old)
        if known is not None:
            return input_files.is_same(known, new, self._hash)
        if new.resolve() == old.resolve():
            return True
        if old.exists():
            return new.stat().st_size == old.stat().st_size and self._hash(new) == self._hash(old)
        seen = None if db is None else input_files.enrolled(db, old)
        return seen is None or seen[0] == new.stat().st_size


def root_of(db: sqlite3.Connection, task_id: int) -> int:
    """Return the id of the task that was submitted: this one, or the one whose result it reuses."""
    row = db.execute("select coalesce(reuses, id) from tasks where id = ?", (task_id,)).fetchone()
    return int(row[0])


def find(
    db: sqlite3.Connection, batches: Sequence[str], matches: Matches, *, rows: int | None, also_paid: bool = False
) -> Iterator[Duplicate]:
    """Yield the queued rows of these batches that would be paid for again.

    `rows` is the number of rows in the manifests, None if they have not changed. `also_paid` includes rows that are
    paid for on purpose. If two of the batches have the same row, the later one is the duplicate.
    """
    shared = _shared(db, batches) if len(batches) > 1 else set()
    if not shared and not _has_others(db, batches, rows):
        return
    order = f"select id from batches where name in ({marks(batches)}) order by id"
    sql = (
        f"select {TASK_COLUMNS}, s.path, t.line, t.duplicates, t.digest in (select o.digest from tasks o"
        f" indexed by tasks_digest where o.digest = t.digest and o.id <> t.id and {_IS_KNOWN})"
        " from batches b cross join tasks t indexed by tasks_queued on t.batch_id = b.id"
        " cross join sources s on s.id = t.source_id"
        " where b.id = ? and t.state = 'queued' and t.generation = b.generation and t.reuses is null"
        " order by t.position"
    )
    for batch_id in db.execute(order, tuple(batches)).fetchall():
        for *row, path, line, decision, is_known in db.execute(sql, batch_id):
            if not is_known and row[11] not in shared:
                continue
            item = task(tuple(row))
            other = None if is_settled(decision, also_paid=also_paid) else matches.of(item)
            if other is not None:
                yield Duplicate(path, line, item, other, matches.is_gone(other.batch))
            elif item.digest in shared:
                matches.will_pay(item)


def is_settled(decision: str, *, also_paid: bool) -> bool:
    """Return whether a row with this stored decision is submitted in any case."""
    return decision == Decision.REDO or (decision == Decision.PAY and not also_paid)


def _shared(db: sqlite3.Connection, batches: Sequence[str]) -> set[str]:
    """Return the digests that are queued in more than one of these batches."""
    sql = (
        "select t.digest from batches b cross join tasks t indexed by tasks_queued on t.batch_id = b.id"
        f" where b.name in ({marks(batches)}) and t.state = 'queued' and t.generation = b.generation"
        " group by t.digest having min(t.batch_id) <> max(t.batch_id)"
    )
    return {digest for (digest,) in db.execute(sql, tuple(batches))}


def _has_others(db: sqlite3.Connection, batches: Sequence[str], rows: int | None) -> bool:
    """Return whether another batch has tasks that are not queued, or one of these has tasks without a row.

    The tallies are enough for this: a run that resumes a million rows must not read each of them.
    """
    own = queries.counts_in(db, batches)
    all_ = queries.counts(db)
    has_left = rows is not None and sum(own.values()) > rows
    return has_left or any(all_[state] > own[state] for state in State if state is not State.QUEUED)


def decide(db: sqlite3.Connection, found: Iterable[Duplicate], decision: Decision) -> int:
    """Record that these rows are paid for on purpose, or reuse the other task's result. Return their number."""
    values = [
        (decision, root_of(db, each.other.id) if decision is Decision.REUSE else None, each.task.id) for each in found
    ]
    db.executemany("update tasks set duplicates = ?, reuses = ? where id = ? and state = 'queued'", values)
    return len(values)


def pay_after_all(db: sqlite3.Connection, batches: Sequence[str]) -> int:
    """Let rows of these batches that wait for another task's result be paid for instead. Return their number."""
    return db.execute(
        "update tasks set duplicates = 'pay', reuses = null where state = 'queued' and reuses is not null"
        f" and batch_id in (select id from batches where name in ({marks(batches)}))",
        tuple(batches),
    ).rowcount


def settle(
    db: sqlite3.Connection, batches: Sequence[str], rows: int | None, decision: Decision, account: str, hash_file: Hash
) -> int:
    """Treat duplicates while enrolling. Return their number. Raise DuplicateRows if rows are refused.

    The decision of an earlier run applies until an option changes it.
    """
    again = pay_after_all(db, batches) if decision is Decision.PAY else 0
    refused, settled = treat(db, batches, rows, decision, account, hash_file)
    if refused:
        raise DuplicateRows(refused)
    return again + settled


def treat(
    db: sqlite3.Connection, batches: Sequence[str], rows: int | None, decision: Decision, account: str, hash_file: Hash
) -> tuple[list[Duplicate], int]:
    """Treat the duplicates among the queued rows as decided. Return those to refuse, and the number of the others."""
    matches = Matches(db, account, hash_file)
    found = list(find(db, batches, matches, rows=rows, also_paid=decision is Decision.REUSE))
    if decision is not Decision.REFUSE:
        return [], decide(db, found, decision)
    refused, reused = list[Duplicate](), list[Duplicate]()
    for each in found:
        (reused if _decision(db, each.task.id) == Decision.REUSE else refused).append(each)
    return refused, decide(db, reused, Decision.REUSE)


def _decision(db: sqlite3.Connection, task_id: int) -> str:
    """Return the stored decision about a row."""
    return str(db.execute("select duplicates from tasks where id = ?", (task_id,)).fetchone()[0])


def same_content(db: sqlite3.Connection, item: Task, content: str | None, account: str) -> Task | None:
    """Return a task whose input files have other names and the same bytes, if its result can serve this row.

    This is found only before the submit, because reading all files during enrolment would take too long.
    """
    if content is None or is_settled(_decision(db, item.id), also_paid=False):
        return None
    sql = (
        f"select {_OTHERS} from {_OTHERS_FROM.format(index='indexed by tasks_content')}"
        f" where o.content = :content and o.id <> :id and o.digest <> :digest and {_IS_PAID}"
        " and (b.name <> :batch or o.generation < b.generation) and not exists(select 1 from tasks u"
        " where u.reuses = o.id and u.batch_id = (select batch_id from tasks where id = :id))"
        " order by o.state <> 'done', o.id limit 1"
    )
    values = {
        "content": content, "id": item.id, "digest": item.digest, "batch": item.batch, "account": account
    }  # fmt: skip
    row = db.execute(sql, values).fetchone()
    return None if row is None else task(row)


def wait_for(db: sqlite3.Connection, item: Task, other: Task, content: str) -> None:
    """Let the queued task reuse the result of the other one, which was made from the same bytes."""
    sql = "update tasks set duplicates = 'reuse', reuses = ?, content = ? where id = ? and state = 'queued'"
    db.execute(sql, (root_of(db, other.id), content, item.id))


class Prospect(StrEnum):
    """The state of the result that a waiting row reuses."""

    DONE = "done"
    COMING = "coming"
    NONE = "none"


def prospect(db: sqlite3.Connection, item: Task, other: Task, account: str, batches: Sequence[str]) -> Prospect:
    """Return whether the other task's result exists, or will. `batches` are those that this run submits."""
    sql = (
        f"select o.state = 'queued' and o.reuses is null and o.generation = b.generation, {_IS_PAID}"
        f" from {_OTHERS_FROM.format(index='')}, tasks t"
        " where o.id = :other and t.id = :id and (o.digest = t.digest or o.content = t.content)"
    )
    row = db.execute(sql, {"other": other.id, "id": item.id, "account": account}).fetchone()
    is_queued, is_paid = row or (False, False)
    if is_paid:
        return Prospect.DONE if other.state is State.DONE else Prospect.COMING
    return Prospect.COMING if is_queued and other.batch in batches else Prospect.NONE


def release(db: sqlite3.Connection, task_id: int) -> None:
    """Let a waiting row be submitted itself, because the other task has ended without a result."""
    db.execute("update tasks set duplicates = '', reuses = null where id = ? and state = 'queued'", (task_id,))
