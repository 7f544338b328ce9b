"""The report of `batchswap show`: one task with its attempts and events."""

import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from batchswap.ledger import report_queries
from batchswap.ledger.deliveries import quality_words
from batchswap.ledger.report_queries import AttemptRow, EventRow, TaskLine
from batchswap.ledger.transitions import NAMED
from batchswap.report.formatting import iso, moment, money, priced, safe, size, span
from batchswap.report.next_commands import command
from batchswap.report.task_list import record
from batchswap.states import RESERVED, AttemptState, Event, Quality, State
from batchswap.tasks import Task, public


class TaskDetail(msgspec.Struct, frozen=True):
    """A task, its attempts and its events."""

    task: Task
    line: TaskLine
    attempts: list[AttemptRow]
    events: list[EventRow]


def gather(db: sqlite3.Connection, task: Task) -> TaskDetail:
    return TaskDetail(
        task,
        report_queries.line(db, task.id),
        report_queries.attempts(db, task.id),
        report_queries.events(db, task.id),
    )


def to_json(found: TaskDetail) -> dict[str, Any]:
    return {
        **record(found.line),
        "share": found.line.share,
        "evidence": evidence_of(found.line),
        "note": found.line.note,
        "faces": {str(face_id): public(url) for face_id, url in found.task.faces},
        "attempts": [_attempt_json(each) for each in found.attempts],
        "events": [{**msgspec.structs.asdict(each), "at": iso(each.at)} for each in found.events],
    }


def _attempt_json(each: AttemptRow) -> dict[str, Any]:
    times = {name: iso(getattr(each, name)) for name in ("submitted_at", "accepted_at", "ended_at")}
    return {**msgspec.structs.asdict(each), **times, "media": [public(url) for url in each.media]}


def to_lines(story: TaskDetail, db: Path) -> Iterator[str]:
    found, line = record(story.line), story.line
    explained = {each.reason for each in story.attempts}
    reason = line.code if line.code and line.reason in explained else line.reason or line.code
    yield safe(f"{story.task.batch}/{story.task.key}: {found['state']}{f', {reason}' if reason else ''}")
    face = () if story.task.faces else ("face",)
    for name in ("model", "target", *face, "output", "consent"):
        if found[name]:
            more = ", which was withdrawn" if name == "consent" and line.is_withdrawn else ""
            yield "  " + safe(f"{name}: {found[name]}{more}")
    for face_id, url in story.task.faces:
        yield "  " + safe(f"face {face_id}: {public(url)}")
    if found["tags"]:
        yield "  " + safe(f"tags: {', '.join(found['tags'])}")
    for name, value in found["extra"].items():
        yield "  " + safe(f"{name}: {value}")
    if found["file"]:
        yield "  " + safe(f"file: {found['file']}, {size(story.line.size)}, SHA-256 {story.line.sha256}")
    if line.quality is not None:
        yield from _quality_lines(line)
    for each in story.attempts:
        yield from _attempt_lines(each)
    yield "events"
    for event in story.events:
        run = "" if event.run_id is None else f" (run {event.run_id})"
        detail = f": {event.detail}" if event.detail and event.detail not in explained else ""
        after = f" → {event.state}" if event.state else ""
        yield "  " + safe(f"{moment(event.at)} {event.event}{after}{run}{detail}")
    if story.task.state is State.UNCERTAIN:
        yield from _choices(story, db)


def _quality_lines(line: TaskLine) -> Iterator[str]:
    score = "" if line.score is None else f", score {line.score:.2f}"
    yield f"  swap: {quality_words(Quality(str(line.quality)), line.share)}{score}"
    yield from ("    " + safe(words) for words in evidence_words(evidence_of(line)))
    if line.review or line.note:
        yield "  " + safe(f"review: {line.review or 'none'}" + (f", {line.note}" if line.note else ""))


def evidence_of(line: TaskLine) -> dict[str, Any]:
    """Return what the proof of the swap recorded."""
    found = msgspec.json.decode(line.evidence) if line.evidence else {}
    return found if isinstance(found, dict) else {}


def evidence_words(evidence: dict[str, Any]) -> Iterator[str]:
    """Yield the reason for the quality, and what could not be examined."""
    if reason := evidence.get("reason"):
        yield str(reason)
    missing = evidence.get("missing")
    for role, problem in missing.items() if isinstance(missing, dict) else ():
        yield f"without the {role}: {problem}"


def _attempt_lines(each: AttemptRow) -> Iterator[str]:
    yield safe(f"attempt {each.number}: {each.state}, {_cost(each)} (run {each.run_id} at {each.account})")
    for name, at in (("submitted", each.submitted_at), ("accepted", each.accepted_at), ("ended", each.ended_at)):
        if at is not None:
            yield f"  {name} {moment(at)}" + (f", took {span(each.took)}" if name == "ended" and each.took else "")
    yield f"  idempotency key: {each.ref}"
    if each.remote_id:
        yield "  " + safe(f"task id at the API: {each.remote_id}")
    if each.reason or each.code:
        yield "  " + safe(f"{each.code}: {each.reason}" if each.code else each.reason)
    for url in each.media:
        yield "  " + safe(f"media: {public(url)}")
    if evidence := balance_words(each):
        yield f"  {evidence}"


def _cost(each: AttemptRow) -> str:
    if each.charged is not None:
        return priced(each.charged)
    match each.state:
        case state if state in RESERVED:
            return f"{priced(each.reserved)} reserved"
        case AttemptState.REFUSED:
            return "not charged"
        case _:
            return "cost unknown" + (f", {priced(each.reserved)} expected" if each.reserved else "")


def balance_words(each: AttemptRow) -> str:
    """Return what the account's balance suggests about an attempt without a clear answer; it proves nothing."""
    if each.balance_before is None or each.balance_after is None:
        return ""
    fell = each.balance_before - each.balance_after
    if fell > 0:
        return f"evidence: the balance fell by {money(fell)} from {money(each.balance_before)}: probably accepted"
    if fell < 0:
        return f"evidence: none, because the balance rose by {money(-fell)} meanwhile"
    return f"evidence: the balance stayed at {money(each.balance_after)}: probably not accepted"


def _choices(story: TaskDetail, db: Path) -> Iterator[str]:
    name = f"{story.task.batch}/{story.task.key}"
    remote_id = named_id(story.events) or "ID"
    yield "It is unknown whether the API accepted the last attempt."
    yield "Look for the task on your account's page at the API, then type one of:"
    for meaning, words in (
        ("if it was accepted:    ", f"--task-id {shlex.quote(remote_id)}"),
        ("if not, to submit again:", "--not-accepted"),
        ("to leave it as failed: ", "--give-up"),
    ):
        yield f"  {meaning:24} " + safe(command("resolve", db, name, options=words))


def named_id(events: list[EventRow]) -> str:
    """Return the task id in an unclear answer to the last submit; "" if there was none."""
    for each in reversed(events):
        if each.event in (NAMED, Event.SUBMITTED):
            return each.detail if each.event == NAMED else ""
    return ""
