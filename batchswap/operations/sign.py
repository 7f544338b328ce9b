"""Sign results that are on the disk, such as those of an older ledger. Nothing is asked of the API.

A signed file replaces the unsigned one in one step, and then the ledger gets its SHA-256. After a crash in between, the
same command finds the signed file and records it: a result is signed once.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from batchswap.downloads import Place
from batchswap.errors import ProvenanceError, UsageError
from batchswap.ledger import queries, signatures
from batchswap.ledger.enrolment.input_files import hash_file
from batchswap.ledger.queries import Stored
from batchswap.ledger.rows import last_attempt
from batchswap.ledger.submission_log.entries import What
from batchswap.ledger.transitions import Stamp, find_task
from batchswap.network import DIRECT, Routes
from batchswap.operations.ledger_access import find, locked
from batchswap.operations.log_access import write_down
from batchswap.provenance.delivered_file import SigningJob, deliver_signed
from batchswap.provenance.key_checks import check_keys
from batchswap.provenance.new_file import sync_folder
from batchswap.provenance.stamps import check_url
from batchswap.provenance.task_facts import facts_of
from batchswap.sqlite_errors import transaction
from batchswap.states import State
from batchswap.tasks import Attempt, Task


class SignOrder(msgspec.Struct, frozen=True):
    """What to sign, and with which keys.

    `names`: keys of tasks, or paths of their files; none: all results, or those of `batches`.
    """

    db: Path
    out: Path
    keys: Path
    names: tuple[str, ...] = ()
    timestamp_url: str = ""
    label: bool = True
    batches: tuple[str, ...] | None = None
    routes: Routes = DIRECT


class SigningOutcome(msgspec.Struct):
    """The numbers of results that were signed and that were signed before. The rest are sentences, with the names."""

    signed: int = 0
    known: int = 0
    failed: list[str] = []
    remarks: list[str] = []


def check(order: SignOrder) -> tuple[str, ...]:
    """Return remarks about the keys. Raise UsageError if they cannot be used."""
    if order.timestamp_url:
        check_url(order.timestamp_url)
    found = check_keys(order.keys)
    if found.problems:
        raise UsageError("\n".join(found.problems))
    return found.remarks


def _say_nothing(done: int, total: int) -> None:
    """Ignore the progress."""


def sign_results(order: SignOrder, say: Callable[[int, int], None] = _say_nothing) -> SigningOutcome:
    """Sign these results, or all that are unsigned. `say` gets the number of results so far, and in all.

    Raise LedgerBusy during a run, whose results it would replace.
    """
    outcome = SigningOutcome(failed=[], remarks=[])
    logged: list[tuple[tuple[Task, Attempt], dict[str, int | str]]] = []
    try:
        with locked(order.db) as db:
            chosen = _chosen(db, order, outcome)
            for number, task_id in enumerate(chosen, 1):
                item, known = find_task(db, task_id), queries.stored_by(db, task_id)
                if known is not None:
                    try:
                        done = _sign(db, item, known, order, outcome)
                        attempt = last_attempt(db, item.id)
                        if attempt is not None:
                            logged.append(((item, attempt), {"size": done.size, "sha256": done.sha256}))
                    except (ProvenanceError, OSError) as error:
                        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                        outcome.failed.append(f"{item.batch}/{item.key}: {words}")
                say(number, len(chosen))
    finally:
        if logged:
            write_down(order.db, What.SAVED, [each for each, _ in logged], [more for _, more in logged])
    return outcome


def _chosen(db: sqlite3.Connection, order: SignOrder, outcome: SigningOutcome) -> list[int]:
    """Return the ids of the results to sign. Raise UsageError for a name without a result."""
    if not order.names:
        return list(signatures.unsigned(db, order.batches))
    files = _files(db, order.out) if any(os.path.lexists(name) for name in order.names) else {}
    found = []
    for name in dict.fromkeys(order.names):
        task_id = files.get(os.path.realpath(name))
        task = find_task(db, task_id) if task_id is not None else find(db, name, order.db)
        if task.state is not State.DONE:
            raise UsageError(f"{task.batch}/{task.key} is {task.state}: it has no result to sign")
        if signatures.find(db, task.id) is not None:
            outcome.known += 1
        else:
            found.append(task.id)
    return found


def _files(db: sqlite3.Connection, out: Path) -> dict[str, int]:
    """Return the results by the paths of their files."""
    here = str(out.absolute())
    stored = queries.stored(db, queries.batches(db), 2**62)
    return {os.path.realpath(path): each.id for each in stored for path in each.paths(here)}


def _sign(
    db: sqlite3.Connection, item: Task, known: Stored, order: SignOrder, outcome: SigningOutcome
) -> signatures.SignedResult:
    """Sign a result and record it. Raise ProvenanceError and OSError, with the file as it was.

    A review may move the file at any moment, in a transaction of its own: the signed file takes its place in one, too.
    """
    path = _path(known, order.out)
    destination = path.with_name(Place(path.parent, path.name).signed)
    labelled = signatures.find_record(db, item.id)
    job = SigningJob(
        path,
        destination,
        facts_of(db, item),
        order.keys,
        order.timestamp_url,
        order.label,
        labelled.received if labelled else known.sha256,
        stored=known.sha256,
        routes=order.routes,
    )
    try:
        done = deliver_signed(job)
        with transaction(db):
            if queries.stored_by(db, item.id) != known:
                raise ProvenanceError("result", "it has just been changed by another command: repeat this one")
            if done.path != path:
                done.path.replace(path)
                sync_folder(path.parent)
            signatures.record(db, Stamp(time.time(), None), item.id, done.result)
    finally:
        with suppress(OSError):
            destination.unlink()
    outcome.signed += 1
    outcome.remarks += [f"{item.batch}/{item.key}: {words}" for words in done.remarks]
    return done.result


def _path(known: Stored, out: Path) -> Path:
    """Return the file of a result, as it was stored or signed since. Raise ProvenanceError if it is gone."""
    paths = [Path(each) for each in known.paths(str(out.absolute()))]
    regular = [path for path in paths if path.is_file() and not path.is_symlink()]
    if not regular:
        raise ProvenanceError("result", f"{paths[0]} is missing")
    for path in regular:
        if path.stat().st_size == known.size and hash_file(path) == known.sha256:
            return path
    return regular[0]  # perhaps signed before a crash; `deliver_signed` finds out
