"""Compare the rows of manifests with the tasks of the ledger, as a stream. Nothing is written."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from batchswap.downloads import movie_seconds
from batchswap.ledger import report_queries
from batchswap.ledger.enrolment.duplicate_preview import Lookout
from batchswap.ledger.enrolment.duplicates import Decision, Duplicate
from batchswap.ledger.enrolment.kept_outputs import KeptOutputs
from batchswap.ledger.rows import split_query
from batchswap.ledger.selections import Selection
from batchswap.manifest import Chunk
from batchswap.runner.prepare.steps import STEPS, Step
from batchswap.runner.task_context import TaskClass, class_of
from batchswap.states import TO_COLLECT, UNCLEAR, State
from batchswap.tasks import Row, is_url

_PAGE = 500
KINDS = (
    "new",
    "changed",
    "unfinished",
    "done",
    "failed",
    "uncertain",
    "cancelled",
    "orphaned",
    "left_out",
    "duplicate",
)
"""Kinds of rows. left_out: excluded by --filter, --tag or --limit. orphaned: tasks without a row in the manifest.
duplicate: another batch has a task with the same inputs, so the row is refused or reused, not paid for."""


class Sample(msgspec.Struct, frozen=True):
    """A row whose price stands for its class, with its folder. `seconds`: length of its video, if known."""

    row: Row
    folder: str
    seconds: float = 0.0

    @property
    def rank(self) -> tuple[bool, float]:
        """Prefer a row whose inputs are URLs, then the longest video: the price of a class must not be too low."""
        return all(is_url(given) for given in inputs_of(self.row)), self.seconds


def inputs_of(row: Row) -> list[str]:
    """Return the URLs and paths of a row, the target first."""
    return [row.target, *([row.face] if row.face else []), *(face for _, face in row.faces)]


class Work(msgspec.Struct):
    """The work of a run. `submits`: attempts to pay for, by price class. `running`: tasks that are already submitted.
    `uploads` and `detections` count different files and targets."""

    batches: list[str]
    rows: dict[str, int]
    submits: dict[TaskClass, int]
    samples: dict[TaskClass, Sample]
    running: int
    uploads: int
    detections: int = 0
    priced: int = 0
    """Targets that are priced one by one, because the run has a budget."""
    kept: str = ""
    """A sentence about tasks that keep an output that their row no longer names."""
    duplicates: list[Duplicate] = []
    looks: int = 0
    """Targets in which --preflight would look for a face."""


def _in_none(_: str) -> bool:
    return False


class Surveyor:
    """Counts the rows in one pass; only counts and hashes of files and targets stay in memory."""

    def __init__(
        self,
        db: sqlite3.Connection | None,
        selection: Selection,
        *,
        has_budget: bool = False,
        looks_at: Callable[[str], bool] = _in_none,
        lookout: Lookout | None = None,
        decision: Decision = Decision.REFUSE,
    ) -> None:
        """`db` None: there is no ledger yet, so every row is new. `has_budget`: a run would price each target.

        `looks_at` returns whether a run looks for a face in this target before it is submitted.
        `lookout` finds duplicates; `decision` is --duplicates.
        """
        self._lookout, self._decision = lookout, decision
        self._paid: dict[tuple[str, str], tuple[str, TaskClass]] = {}
        self._db, self._selection, self._has_budget = db, selection, has_budget
        self._rows: Counter[str] = Counter()
        self._submits: Counter[TaskClass] = Counter()
        self._samples: dict[TaskClass, Sample] = {}
        self._files: dict[int, float | None] = {}
        """Seconds of each local video, None for other files, by a hash of the path."""
        self._targets: set[int] = set()
        self._priced: set[int] = set()
        self._looks_at = looks_at
        self._looks: set[int] = set()
        self._matched: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._running = 0
        self._kept = None if db is None else KeptOutputs(db)

    def survey(self, chunks: Iterable[Chunk]) -> Work:
        """Count all rows. Raise what `chunks` raises (ManifestErrors)."""
        for chunk in chunks:
            self._seen[chunk.batch] += 0
            if self._kept is not None:
                self._kept.look(chunk)
            for start in range(0, len(chunk.rows), _PAGE):
                self._take(chunk, chunk.rows[start : start + _PAGE])
        duplicates = self._take_duplicates()
        batches = list(self._seen)
        if self._db is not None:
            self._rows["orphaned"] = sum(report_queries.size_of(self._db, name) - self._seen[name] for name in batches)
        rows = {kind: self._rows[kind] for kind in KINDS}
        return Work(
            batches,
            rows,
            dict(+self._submits),
            self._samples,
            self._running,
            uploads=len(self._files),
            detections=len(self._targets),
            priced=len(self._priced),
            kept="" if self._kept is None else self._kept.words,
            duplicates=duplicates,
            looks=len(self._looks),
        )

    def _take_duplicates(self) -> list[Duplicate]:
        """Return the duplicates, and count them as such unless --duplicates pay."""
        found = [] if self._lookout is None else self._lookout.found(also_paid=self._decision is Decision.REUSE)
        for each in found if self._decision is not Decision.PAY else ():
            kind, group = self._paid.get((each.task.batch, each.task.key), ("", None))
            if group is None:
                continue
            self._rows[kind] -= 1
            self._rows["duplicate"] += 1
            self._submits[group] -= 1
            if not self._submits[group]:
                del self._samples[group]
        return found

    def _take(self, chunk: Chunk, rows: list[Row]) -> None:
        known = report_queries.known(self._db, chunk.batch, [row.key for row in rows]) if self._db is not None else {}
        self._seen[chunk.batch] += len(known)
        if self._lookout is not None:
            self._lookout.take(chunk, rows, known)
        for row in rows:
            if self._is_selected(chunk.batch, row):
                self._count(chunk, row, known.get(row.key))
            else:
                self._rows["left_out"] += 1

    def _is_selected(self, batch: str, row: Row) -> bool:
        """Return whether a run would select the row, as `selections.Queue` does: URLs match without their query."""
        wanted = self._selection
        texts = (row.key, split_query(row.target)[0], split_query(row.face)[0], row.output)
        if wanted.text and not any(wanted.text in text for text in texts):
            return False
        if any(tag not in row.tags for tag in wanted.tags):
            return False
        self._matched[batch] += 1
        return wanted.limit is None or self._matched[batch] <= wanted.limit

    def _count(self, chunk: Chunk, row: Row, known: report_queries.KnownTask | None) -> None:
        kind, submitted = classify(row, known)
        self._rows[kind] += 1
        if known is not None and known.state in TO_COLLECT:
            self._running += 1
        if not submitted:
            return
        for given in inputs_of(row):
            self._look(chunk.folder, given)
        seconds = None if is_url(row.target) else self._files[hash((chunk.folder, row.target))]
        group = class_of(row.model, seconds)
        self._submits[group] += 1
        if self._lookout is not None and self._lookout.has(chunk.batch, row):
            self._paid[chunk.batch, row.key] = kind, group
        target = hash((row.model.target_field, "" if is_url(row.target) else chunk.folder, row.target))
        if Step.DETECT in STEPS[row.model]:
            self._targets.add(target)
        if self._looks_at(row.target):
            self._looks.add(target)
        if self._has_budget and not group.step:
            self._priced.add(hash((row.model, target)))
        sample, known_one = Sample(row, chunk.folder, seconds or 0.0), self._samples.get(group)
        if known_one is None or sample.rank > known_one.rank:
            self._samples[group] = sample

    def _look(self, folder: str, given: str) -> None:
        """A local file is looked at once, however many rows name it."""
        if not is_url(given) and (place := hash((folder, given))) not in self._files:
            self._files[place] = movie_seconds(Path(folder, given))


def classify(row: Row, known: report_queries.KnownTask | None) -> tuple[str, bool]:
    """Return the kind of the row, one of `KINDS`, and whether the next run would submit it."""
    if known is None:
        return "new", True
    if known.digest != row.digest:
        # An unclear task needs a decision first; a submitted one is collected by the same run, then submitted again.
        return "changed", known.state not in UNCLEAR
    match known.state:
        case State.DONE | State.FAILED | State.UNCERTAIN | State.CANCELLED:
            return str(known.state), False
        case State.QUEUED:
            return ("duplicate", False) if known.is_waiting else ("unfinished", True)
        case _:
            return "unfinished", False
