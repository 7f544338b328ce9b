"""The text of a message: plain text that reads well in a mail, in a chat and on a phone. Pure."""

import re
from collections.abc import Iterator

import msgspec

from batchswap.errors import Exit
from batchswap.notifications.run_end import EarlierRun, RunEnd
from batchswap.report.formatting import counted, fit, moment, money, outcome, plural, priced, safe, span
from batchswap.states import TO_DO, State

NAMED = 3
"""Batches that a title names."""
_TITLE, _NAMES = 110, 50
"""Columns of a title, and of the names in it."""
_REMEDY = re.compile(r"\((?:401|403|505)\): ([^;]+)")
"""Finds the remedy in the reason for a refusal of the whole account. This program wrote that sentence."""
CODES = 5
"""Codes of failures that are listed."""


class Message(msgspec.Struct, frozen=True):
    """A title of one line and a text of several. `is_bad` chooses the colour where a service has one."""

    title: str
    text: str
    is_bad: bool = False


def without_names(reason: str) -> str:
    """Return why a run ended, without the parts that may name tasks and files; "" if nothing is left."""
    parts = []
    for part in reason.split("; "):
        head = re.sub(r" \((?!\d{3}\)).*", "", part.partition(": ")[0])
        head = re.sub(r"( for the result) of .*", r"\1 of others", head)
        parts.append(re.sub(r" (in|to|of) --out \S.*", r" \1 --out", head))
    return "; ".join(dict.fromkeys(filter(None, parts)))


def end_message(end: RunEnd, attached: str = "") -> Message:
    """Return the message about the end of a run. `attached`: a sentence about the report."""
    paragraphs = [
        [_sentence(end)],
        list(_facts(end)),
        *(list(each) for each in (_needs(end), _comes_next(end))),
        [attached] if attached else [],
        [f"In {end.place}"] if end.place else [],
    ]
    text = "\n\n".join("\n".join(map(_line, lines)) for lines in paragraphs if lines)
    return Message(_titled(names_of(end.batches), _headline(end)), text, is_bad=_is_bad(end))


def _line(text: str) -> str:
    """Return a safe line with its indent."""
    return " " * (len(text) - len(text.lstrip(" "))) + safe(text)


def names_of(batches: tuple[str, ...]) -> str:
    """Return the names of the batches, as a title has room for them."""
    more = f" and {len(batches) - NAMED} more" if len(batches) > NAMED else ""
    return fit(safe(", ".join(batches[:NAMED])), _NAMES) + more


def _titled(names: str, headline: str) -> str:
    return fit(safe(": ".join(filter(None, ["batchswap", names, headline]))), _TITLE)


def _is_bad(end: RunEnd) -> bool:
    return end.exit_code not in (Exit.DONE, Exit.DEADLINE) or end.needs_you > 0


def _why(end: RunEnd) -> str:
    """Return why the run ended, in a few words."""
    if end.exit_code is None:
        return "in progress" if end.in_progress else "killed before it ended"
    if end.exit_code == Exit.DONE:
        return "all done" if not end.open else "done"
    return outcome(end.exit_code, without_names(end.reason))


def _headline(end: RunEnd) -> str:
    """Return the outcome for the title: why the run ended, and the numbers that need the user."""
    failed, rest = end.counts[State.FAILED], end.needs_you - end.uncertain
    numbers = [
        f"{failed:,} failed" if failed else "",
        f"{end.uncertain:,} uncertain" if end.uncertain else "",
        f"{rest:,} to look at" if rest > 0 else "",
        f"{end.open:,} left" if end.open else "",
    ]
    numbers = [each for each in numbers if each]
    why = _why(end)
    if numbers and why in ("not all done", "needs your decision"):
        return ", ".join(numbers)
    return ", ".join([why, *numbers])


def _sentence(end: RunEnd) -> str:
    """Return the outcome as a sentence."""
    tasks = sum(end.counts.values())
    if end.exit_code is None:
        run = f"The run of {moment(end.started_at)}"
        return f"{run} is in progress." if end.in_progress else f"{run} was {_why(end)}. The next run resumes it."
    if end.exit_code == Exit.DONE and end.counts[State.DONE] == tasks:
        return f"{'The task is' if tasks == 1 else f'All {tasks:,} tasks are'} done."
    done = end.counts[State.DONE]
    are = "is" if 1 in (done, tasks) else "are"
    return f"{done:,} of {plural(tasks, 'task')} {are} done. The run ended with exit code {end.exit_code}: {_why(end)}."


def _facts(end: RunEnd) -> Iterator[str]:
    yield f"Tasks: {counted(end.counts)}"
    yield f"Money: {_money(end)}"
    if end.exceeded:
        yield f"The budget was exceeded by {priced(end.exceeded)}: the API charged more than estimated."
    if end.mode == "run" and end.comparable is not None and end.results and end.spent_now is not None:
        yield _comparison(end.spent_now / end.results, end.comparable)
    if end.seconds is not None and end.exit_code is not None:
        yield f"Time: {span(end.seconds)}, from {moment(end.started_at)}"
    if end.mode == "run" and end.before is not None and end.before.exit_code is None:
        yield f"The run of {moment(end.before.started_at)} was killed before it ended. This run has resumed it."


def _money(end: RunEnd) -> str:
    total = "cost unknown" if end.unpriced and not end.spent else f"{priced(end.spent)} in total"
    parts = [total] if end.spent_now is None else [total, f"{money(end.spent_now)} in this run"]
    if end.reserved:
        parts.append(f"{money(end.reserved)} more reserved")
    if end.unpriced and end.spent:
        parts.append(f"cost of {plural(end.unpriced, 'attempt')} unknown")
    if end.balance is not None:
        parts.append(f"balance {priced(end.balance)}")
    return ", ".join(parts)


def _comparison(cost: float, other: EarlierRun) -> str:
    """Return what a result cost, compared with the last run that had results for credits."""
    now, before = round(cost, 2), round(other.spent / other.results, 2)
    where = f"in the run of {moment(other.started_at)[:-3]}, which spent {priced(other.spent)}"
    return (
        f"A result cost {priced(now)}, as {where}"
        if now == before
        else (f"A result cost {priced(now)} ({money(before)} {where})")
    )


def _needs(end: RunEnd) -> Iterator[str]:
    """Yield what needs the user, with a command that lists the tasks: their keys may be names."""
    failed = end.counts[State.FAILED]
    if end.needs or failed or end.orphaned:
        yield "What needs you:"
    for each in end.needs:
        yield f"- {each.count:,} × {each.title}. {each.words}"
        yield f"  {each.command}"
    if failed:
        words, _, command = end.retry.rpartition(": ")
        yield f"- {words}:"
        yield f"  {command}"
        listed = ", ".join(f"{n:,} × {code or 'other'}" for code, n in end.failures[:CODES])
        more = f" and {len(end.failures) - CODES} more codes" if len(end.failures) > CODES else ""
        yield f"  By code: {listed}{more}"
    if end.orphaned:
        yield f"- {end.orphaned}"


def _comes_next(end: RunEnd) -> Iterator[str]:
    if end.exit_code == Exit.NO_CREDITS and "402" in end.reason:
        yield "Top up the account first: the next run continues."
    if remedy := _REMEDY.search(end.reason):
        yield f"{remedy[1][:1].upper()}{remedy[1][1:]}."
    if end.steps:
        yield end.steps[:1].upper() + end.steps[1:]
    if not end.open or end.in_progress:
        return
    left = " and ".join(f"{end.counts[state]:,} {state}" for state in TO_DO if end.counts[state])
    if end.mode != "run" and end.exit_code in (Exit.DONE, Exit.DEADLINE):
        yield f"The next run continues with the rest ({left})."
    elif end.resume:
        yield f"To resume ({left}):"
        yield f"  {end.resume}"
    else:
        yield f"Run the same command again to resume ({left})."


def failure_message(names: tuple[str, ...], code: int, words: str, resume: str, place: str) -> Message:
    """Return the message about a run of these manifests that could not start, or that an error ended."""
    lines = [f"The run did not start, or an error ended it: exit code {code}.", "", safe(words), ""]
    lines += ["The command:", f"  {safe(resume)}", ""] if resume else []
    return Message(
        _titled(names_of(names), f"the run failed with exit code {code}"),
        "\n".join([*lines, f"In {place}"]),
        is_bad=True,
    )


def skip_message(names: tuple[str, ...], words: str, place: str) -> Message:
    """Return the message about a run of these manifests that did nothing, because another one was in progress."""
    return Message(_titled(names_of(names), "the run was skipped"), f"{safe(words)}\n\nIn {place}")


ALERTS = {
    "credits": "out of credits",
    "refusals": "many refusals in a row",
    "disk": "trouble with the disk",
    "outage": "the API is unavailable",
}
"""The subjects of messages during a run, by cause."""
_SENTENCES = {
    "credits": "The account is out of credits (402). Top up: the next run continues with the rest.",
    "outage": "The API has been unavailable for 15 minutes. The run waits, for --patience at most.",
}
_COLLECTS = "The run collects the tasks in progress; another message follows at its end."


def alert_message(cause: str, words: str, batches: tuple[str, ...], counts: dict[str, int], status: str) -> Message:
    """Return a message during a run. `status`: the command that shows more."""
    said = without_names(words)
    sentence = _SENTENCES.get(cause) or f"{said[:1].upper()}{said[1:]}."
    lines = [safe(sentence), *([] if cause == "outage" else [_COLLECTS]), ""]
    lines += [f"Tasks so far: {counted(counts)}", f"To see more: {safe(status)}"]
    return Message(_titled(names_of(batches), ALERTS[cause]), "\n".join(lines), is_bad=True)


def as_test(message: Message) -> Message:
    """Return the message marked as a test."""
    return msgspec.structs.replace(
        message,
        title=f"TEST: {message.title}",
        text=f"This is a test of `batchswap notify --test`.\n\n{message.text}",
    )
