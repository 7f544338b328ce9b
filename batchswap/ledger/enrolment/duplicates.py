"""Rows whose inputs another batch has done or is doing: they would be paid for twice.

A row also counts when the other task's row has left the manifest, as after its id was changed. Rows of one batch with
the same inputs are meant to be: each of them needs a result of its own, so the second one matches a second task only.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path

import msgspec

from batchswap.errors import UsageError
from batchswap.ledger import queries
from batchswap.ledger.enrolment import input_files
from batchswap.ledger.enrolment.input_files import Hash
from batchswap.ledger.rows import TASK_COLUMNS, TASK_FROM, one_of, task
from batchswap.states import MAY_HAVE_RESULT, State
from batchswap.tasks import Task, is_url

NAMED = 3
"""Duplicates that are named one by one."""
_AT_ONCE = 500
"""Digests in one question."""
_WIDTH = len(TASK_COLUMNS.split(","))
_IS_KNOWN = "(o.paid > 0 or o.reuses is not null)"
"""Of a task: something may have been paid for its present inputs. SQLite takes the index only for these very words."""
_IS_PAID = f"""
    {_IS_KNOWN} and (o.reuses is null or o.state = 'done') and exists(
        select 1 from attempts a where a.task_id = coalesce(o.reuses, o.id) and a.account = :account
        and (o.reuses is not null
             or (a.number = o.attempts and {one_of("a.state", MAY_HAVE_RESULT)})))
"""
_OTHERS = TASK_COLUMNS.replace("t.", "o.")
_OTHERS_FROM = TASK_FROM.replace("tasks t", "tasks o {index}").replace("t.", "o.")


class Decision(StrEnum):
    """What to do about them. The ledger stores the last two words; a row without a decision has none."""

    REFUSE = "refuse"
    REUSE = "reuse"
    PAY = "pay"


class Duplicate(msgspec.Struct, frozen=True):
    """A row, where it is written, and the task that has its inputs already."""

    file: str
    line: int
    task: Task
    other: Task
    is_renamed: bool = False
    """Whether none of the manifests that the other task's batch was made from is there any longer."""

    @property
    def name(self) -> str:
        """batch/key."""
        return f"{self.task.batch}/{self.task.key}"

    @property
    def other_name(self) -> str:
        """The other task's batch/key."""
        return f"{self.other.batch}/{self.other.key}"


class DuplicateRows(UsageError):
    """Rows were refused, and nothing was enrolled."""

    def __init__(self, found: list[Duplicate]) -> None:
        super().__init__(f"{len(found):,} rows have the inputs of other tasks")
        self.found = found


class Matches:
    """Finds the task that a row would duplicate. Each task answers for one row of a batch."""

    def __init__(
        self,
        db: sqlite3.Connection | None,
        account: str,
        hash_file: Hash,
        current: Collection[int] | None = None,
    ) -> None:
        """`account`: where the row would be paid for; what is done elsewhere costs nothing there. `db` None: no ledger.

        `current`: the tasks that the manifests still have a row for, where they are not enrolled.
        """
        self._db, self._account, self._hash, self._current = db, account, hash_file, current
        self._taken: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        self._queued: defaultdict[str, list[Task]] = defaultdict(list)

    def known(self, digests: Sequence[str]) -> set[str]:
        """Those of the digests that some submitted task has."""
        found: set[str] = set()
        if self._db is None:
            return found
        for start in range(0, len(digests), _AT_ONCE):
            some = digests[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            sql = f"select o.digest from tasks o indexed by tasks_digest where o.digest in ({marks}) and {_IS_KNOWN}"
            found.update(digest for (digest,) in self._db.execute(sql, tuple(some)))
        return found

    def will_pay(self, item: Task) -> None:
        """This queued row is going to be submitted: the rows of other batches are compared with it."""
        self._queued[item.digest].append(item)

    def of(self, item: Task) -> Task | None:
        """The task whose result would serve this row. Ask once for each row that would be paid for."""
        others, used, paid = self._others(item)
        used |= self._taken[item.batch, item.digest]
        for other, root in others:
            if root in used or not is_same_work(self._db, item, other, self._hash):
                continue
            if paid:
                paid -= 1  # a row of this batch that was paid for on purpose
                continue
            self._taken[item.batch, item.digest].add(root)
            return other
        return None

    def _others(self, item: Task) -> tuple[list[tuple[Task, int]], set[int], int]:
        """The tasks that count as others, done ones first, each with the one that was submitted.

        Of the rows of the same batch: the results that they reuse, and how many are paid for in spite of another task.
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


def is_same_work(db: sqlite3.Connection | None, item: Task, other: Task, hash_file: Hash) -> bool:
    """Whether two tasks with the same inputs as written mean the same files."""
    given = [each for each in input_files.given_by(item) if not is_url(each)]
    try:
        return all(_is_same_file(db, item, other, each, hash_file) for each in given)
    except OSError:
        return False  # an input that is not there: the row cannot be paid for


def _is_same_file(db: sqlite3.Connection | None, item: Task, other: Task, given: str, hash_file: Hash) -> bool:
    new, old = Path(item.folder, given), Path(other.folder, given)
    known = None if db is None or not other.id else input_files.recorded(db, root_of(db, other.id), old)
    if known is not None:
        return input_files.is_same(known, new, hash_file)
    if new.resolve() == old.resolve():
        return True
    if old.exists():
        return new.stat().st_size == old.stat().st_size and hash_file(new) == hash_file(old)
    seen = None if db is None else input_files.enrolled(db, old)
    return seen is None or seen[0] == new.stat().st_size


def root_of(db: sqlite3.Connection, task_id: int) -> int:
    """The task that was submitted: itself, or the one whose result it reuses."""
    row = db.execute("select coalesce(reuses, id) from tasks where id = ?", (task_id,)).fetchone()
    return int(row[0])


def find(
    db: sqlite3.Connection, batches: Sequence[str], matches: Matches, *, rows: int | None, also_paid: bool = False
) -> Iterator[Duplicate]:
    """Queued rows of these batches that would be paid for again, and whose duplicates were not decided to be.

    `rows`: how many the manifests have; None: they are as they were. `also_paid`: whatever was decided. With several
    batches, of the same row in two of them the later one is the duplicate.
    """
    shared = _shared(db, batches) if len(batches) > 1 else set()
    if not shared and not _has_others(db, batches, rows):
        return
    gone = partial(is_gone, db, {})
    order = "select id, name from batches where name in ({}) order by id".format(", ".join("?" * len(batches)))
    sql = (
        f"select {TASK_COLUMNS}, s.path, t.line, t.duplicates, t.digest in (select o.digest from tasks o"
        f" indexed by tasks_digest where o.digest = t.digest and o.id <> t.id and {_IS_KNOWN})"
        " from batches b cross join tasks t indexed by tasks_queued on t.batch_id = b.id"
        " cross join sources s on s.id = t.source_id"
        " where b.id = ? and t.state = 'queued' and t.generation = b.generation and t.reuses is null"
        " order by t.position"
    )
    for batch_id, _ in db.execute(order, tuple(batches)).fetchall():
        for *row, path, line, decision, is_known in db.execute(sql, (batch_id,)):
            if not is_known and row[11] not in shared:
                continue
            item = task(tuple(row))
            other = matches.of(item) if also_paid or decision != Decision.PAY else None
            if other is not None:
                yield Duplicate(path, line, item, other, gone(other.batch))
            elif item.digest in shared:
                matches.will_pay(item)


def _shared(db: sqlite3.Connection, batches: Sequence[str]) -> set[str]:
    """Digests that are queued in more than one of these batches."""
    sql = (
        "select t.digest from batches b cross join tasks t indexed by tasks_queued on t.batch_id = b.id"
        f" where b.name in ({', '.join('?' * len(batches))}) and t.state = 'queued' and t.generation = b.generation"
        " group by t.digest having min(t.batch_id) <> max(t.batch_id)"
    )
    return {digest for (digest,) in db.execute(sql, tuple(batches))}


def _has_others(db: sqlite3.Connection, batches: Sequence[str], rows: int | None) -> bool:
    """Whether another batch has anything but queued tasks, or one of these has tasks without a row.

    From the tallies: a run that goes on with a million rows must not look at each of them.
    """
    own = queries.counts_in(db, batches)
    all_ = queries.counts(db)
    has_left = rows is not None and sum(own.values()) > rows
    return has_left or any(all_[state] > own[state] for state in State if state is not State.QUEUED)


def is_gone(db: sqlite3.Connection | None, known: dict[str, bool], batch: str) -> bool:
    """Whether every manifest of the batch is gone, so that it may have been renamed."""
    if db is None:
        return False
    if batch not in known:
        sql = "select s.folder, s.path from sources s join batches b on b.id = s.batch_id where b.name = ?"
        places = [Path(folder, Path(path).name) for folder, path in db.execute(sql, (batch,))]
        known[batch] = not any(place.exists() for place in places)
    return known[batch]


def decide(db: sqlite3.Connection, found: Iterable[Duplicate], decision: Decision) -> int:
    """Write down that these rows are paid for on purpose, or take the other task's result. Returns how many."""
    values = [
        (decision, root_of(db, each.other.id) if decision is Decision.REUSE else None, each.task.id) for each in found
    ]
    db.executemany("update tasks set duplicates = ?, reuses = ? where id = ? and state = 'queued'", values)
    return len(values)


def pay_after_all(db: sqlite3.Connection, batches: Sequence[str]) -> int:
    """Rows of these batches that wait for another task's result are paid for instead. Returns how many."""
    return db.execute(
        "update tasks set duplicates = 'pay', reuses = null where state = 'queued' and reuses is not null"
        f" and batch_id in (select id from batches where name in ({', '.join('?' * len(batches))}))",
        tuple(batches),
    ).rowcount


def settle(
    db: sqlite3.Connection, batches: Sequence[str], rows: int | None, decision: Decision, account: str, hash_file: Hash
) -> int:
    """Do as decided with the duplicates among the queued rows: part of enrolling. Returns how many there are.

    Raises DuplicateRows. What an earlier run has decided holds until another decision is asked for by its option.
    """
    again = pay_after_all(db, batches) if decision is Decision.PAY else 0
    refused, settled = _settle(db, batches, rows, decision, account, hash_file)
    if refused:
        raise DuplicateRows(refused)
    return again + settled


def settle_late(
    db: sqlite3.Connection, batches: Sequence[str], decision: Decision, account: str, hash_file: Hash
) -> list[Duplicate]:
    """`settle` for rows that were queued during the run. Returns those that are to be refused."""
    return _settle(db, batches, None, decision, account, hash_file)[0]


def _settle(
    db: sqlite3.Connection, batches: Sequence[str], rows: int | None, decision: Decision, account: str, hash_file: Hash
) -> tuple[list[Duplicate], int]:
    """Those to refuse, and how many of the others are decided on."""
    matches = Matches(db, account, hash_file)
    found = list(find(db, batches, matches, rows=rows, also_paid=decision is Decision.REUSE))
    if decision is not Decision.REFUSE:
        return [], decide(db, found, decision)
    refused, reused = list[Duplicate](), list[Duplicate]()
    for each in found:
        (reused if _decision(db, each.task.id) == Decision.REUSE else refused).append(each)
    return refused, decide(db, reused, Decision.REUSE)


def _decision(db: sqlite3.Connection, task_id: int) -> str:
    """What was decided about the row."""
    return str(db.execute("select duplicates from tasks where id = ?", (task_id,)).fetchone()[0])


def same_content(db: sqlite3.Connection, item: Task, content: str | None, account: str) -> Task | None:
    """A task that was made from the same bytes in files of other names, if there is one that can serve this row.

    Known only when the files are about to be used: reading them all before is not cheap.
    """
    if content is None or _decision(db, item.id) == Decision.PAY:
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
    """The queued task takes the other one's result, which was made from the same bytes."""
    sql = "update tasks set duplicates = 'reuse', reuses = ?, content = ? where id = ? and state = 'queued'"
    db.execute(sql, (root_of(db, other.id), content, item.id))


class Prospect(StrEnum):
    """What a waiting row can expect of the task whose result it takes."""

    DONE = "done"
    COMING = "coming"
    NONE = "none"


def prospect(db: sqlite3.Connection, item: Task, other: Task, account: str, batches: Sequence[str]) -> Prospect:
    """`batches`: of this run, which submits what is queued in them."""
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


def source_of(db: sqlite3.Connection, task_id: int) -> int | None:
    """The task whose result this one takes."""
    row = db.execute("select reuses from tasks where id = ?", (task_id,)).fetchone()
    return None if row is None else row[0]


def release(db: sqlite3.Connection, task_id: int) -> None:
    """Its other task has ended without a result: the row is submitted itself."""
    db.execute("update tasks set duplicates = '', reuses = null where id = ? and state = 'queued'", (task_id,))
