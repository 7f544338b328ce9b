"""The text of messages, and when they are sent."""

import hashlib
import hmac
import re
from math import inf
from typing import Any

import msgspec
import pytest

from batchswap.errors import Exit, UsageError
from batchswap.events import LogEvent
from batchswap.notifications import ping, webhook
from batchswap.notifications.alert_rules import Alert, AlertRules
from batchswap.notifications.message import (
    Message,
    alert_message,
    as_test,
    end_message,
    failure_message,
    names_of,
    skip_message,
    without_names,
)
from batchswap.notifications.occasion import NotifyOn, is_due, is_well
from batchswap.notifications.run_end import EarlierRun, OpenNeed, RunEnd
from batchswap.runner.stop_reasons import refusal_words
from batchswap.states import State

COUNTS = dict.fromkeys(map(str, State), 0)
UNCERTAIN = OpenNeed("Uncertain submits", "No clear answer came.", 1, "batchswap tasks --state uncertain")
EARLIER = EarlierRun(1_795_000_000.0, 0, spent=190.0, results=100)
PLAIN = "https://kuma.example.com/api/push/TOKEN?status=up"
CHECK = "https://hc-ping.com/5f0c6b0e-9a5d-4c0f-8a3e-2b1d7c6f5e4d"


def end(exit_code: int | None = 0, reason: str = "all done", **values: Any) -> RunEnd:
    counts = {**COUNTS, State.DONE: 200, **values.pop("counts", {})}
    usual = {
        "batches": ("spring",),
        "mode": "run",
        "spent_now": 400.0,
        "spent": 400.0,
        "reserved": 0.0,
        "exceeded": 0.0,
        "unpriced": 0,
        "balance": 99_600.0,
        "results": 200,
        "seconds": 3_700.0,
        "started_at": 1_795_824_000.0,
        "needs_you": 0,
        "place": "/srv/spring on render01",
        "resume": "batchswap run spring.csv",
    }
    return RunEnd(exit_code=exit_code, reason=reason, counts=counts, **{**usual, **values})


def test_all_done() -> None:
    message = end_message(end(comparable=EARLIER), "The report: /srv/spring/night.html")
    assert message.title == "batchswap: spring: all done"
    assert not message.is_bad
    first, facts, report, place = message.text.split("\n\n")
    assert first == "All 200 tasks are done."
    assert facts.splitlines()[:2] == [
        "Tasks: 200 done",
        "Money: 400 credits in total, 400 in this run, balance 99,600 credits",
    ]
    assert facts.splitlines()[2].startswith("A result cost 2 credits (1.9 in the run of 2026-")
    assert facts.splitlines()[2].endswith(", which spent 190 credits)")
    assert facts.splitlines()[3].startswith("Time: 1 h 1 min, from ")
    assert (report, place) == ("The report: /srv/spring/night.html", "In /srv/spring on render01")


def test_the_cost_of_a_result_is_compared() -> None:
    same = msgspec.structs.replace(EARLIER, spent=200.1)
    assert "\nA result cost 2 credits, as in the run of " in end_message(end(comparable=same)).text
    assert "in the run of" not in end_message(end(comparable=EARLIER, results=0)).text
    assert "in the run of" not in end_message(end(comparable=EARLIER, mode="tick")).text


def test_one_task() -> None:
    assert end_message(end(counts={State.DONE: 1})).text.startswith("The task is done.\n")


def test_some_failed() -> None:
    failed = end(
        Exit.FAILED,
        "3 failed",
        counts={State.DONE: 197, State.FAILED: 3},
        failures=(("501", 2), ("", 1)),
        retry="3 failed. To queue them again: batchswap retry",
        steps="next: batchswap status, then retry and run",
    )
    message = end_message(failed)
    assert (message.title, message.is_bad) == ("batchswap: spring: 3 failed", True)
    assert message.text.startswith("197 of 200 tasks are done. The run ended with exit code 3: not all done.")
    assert (
        "What needs you:\n- 3 failed. To queue them again:\n  batchswap retry\n  By code: 2 × 501, 1 × other\n\n"
        "Next: batchswap status, then retry and run\n" in message.text
    )
    many = msgspec.structs.replace(failed, failures=tuple((str(n), 1) for n in range(7)))
    assert "1 × 4 and 2 more codes\n" in end_message(many).text


def test_uncertain_and_doubtful() -> None:
    counts = {State.DONE: 1, State.UNCERTAIN: 1}
    found = end(Exit.UNCERTAIN, "1 uncertain: it needs your decision", counts=counts, needs_you=3, needs=(UNCERTAIN,))
    message = end_message(found)
    assert message.title == "batchswap: spring: 1 uncertain, 2 to look at"
    assert "1 of 2 tasks is done. The run ended with exit code 4: needs your decision.\n" in message.text
    assert "- 1 × Uncertain submits. No clear answer came.\n  batchswap tasks --state uncertain\n" in message.text


def test_out_of_credits() -> None:
    reason = "out of credits (402): top up, and run again"
    counts = {State.DONE: 50, State.QUEUED: 148, State.RUNNING: 2}
    message = end_message(end(Exit.NO_CREDITS, reason, counts=counts))
    assert message.title == "batchswap: spring: out of credits (402), 150 left"
    tail = "Top up the account first: the next run continues.\nTo resume (148 queued and 2 running):\n"
    assert f"{tail}  batchswap run spring.csv\n" in message.text
    budget = end_message(end(Exit.NO_CREDITS, "the budget is used up: the rest stays queued", counts=counts))
    assert budget.title == "batchswap: spring: the budget is used up, 150 left"
    assert "Top up" not in budget.text


def test_the_account_is_refused() -> None:
    message = end_message(end(Exit.REFUSED, refusal_words("401"), counts={State.DONE: 0, State.QUEUED: 1}))
    assert message.title == "batchswap: spring: the API refuses the key (401), 1 left"
    assert message.text.startswith(
        "0 of 1 task is done. The run ended with exit code 5: the API refuses the key (401)."
    )
    assert "\nSet CRUN_API_KEY, or the line CRUN_API_KEY=… in ~/.crun/.env.\nTo resume" in message.text


def test_work_is_left() -> None:
    counts = {State.QUEUED: 7}
    without = end_message(end(Exit.DEADLINE, "the deadline has passed: the next run", counts=counts, resume=""))
    assert without.text.startswith(
        "200 of 207 tasks are done. The run ended with exit code 7: the deadline has passed."
    )
    assert "\n\nRun the same command again to resume (7 queued).\n\n" in without.text
    assert not without.is_bad
    tick = end_message(end(Exit.DEADLINE, "left", counts=counts, mode="tick"))
    assert "The next run continues with the rest (7 queued).\n" in tick.text
    assert "To resume (7 queued):" in end_message(end(Exit.FAILED, "x", counts=counts, mode="tick")).text
    limited = end_message(end(counts=counts))
    assert limited.title == "batchswap: spring: done, 7 left"
    assert limited.text.startswith("200 of 207 tasks are done. The run ended with exit code 0: done.")


def test_money_that_is_not_known() -> None:
    assert (
        "Money: cost unknown, 0 in this run\n" in end_message(end(unpriced=2, spent=0, spent_now=0, balance=None)).text
    )
    assert "\nMoney: 400 credits in total, balance" in end_message(end(spent_now=None, comparable=EARLIER)).text
    text = end_message(end(unpriced=2, reserved=4.0, exceeded=1.0)).text
    assert "400 in this run, 4 more reserved, cost of 2 attempts unknown, balance 99,600 credits\n" in text
    assert "The budget was exceeded by 1 credit: the API charged more than estimated.\n" in text


def test_a_killed_run() -> None:
    killed = msgspec.structs.replace(EARLIER, exit_code=None)
    assert re.search(
        r"The run of 2026-\S+ \S+ was killed before it ended\. This run", end_message(end(before=killed)).text
    )
    assert "killed" not in end_message(end(before=killed, mode="tick")).text
    assert "killed" not in end_message(end(before=EARLIER)).text
    last = end_message(end(None, "", seconds=None))
    assert last.title == "batchswap: spring: killed before it ended"
    assert last.text.splitlines()[0].endswith("was killed before it ended. The next run resumes it.")
    assert "Time:" not in last.text
    now = end_message(end(None, "", in_progress=True, counts={State.QUEUED: 1}))
    assert now.title == "batchswap: spring: in progress, 1 left"
    assert now.text.splitlines()[0].endswith(" is in progress.")
    assert "resume" not in now.text


def test_orphans_are_counted() -> None:
    orphaned = "2 tasks are no longer in the manifest: queued 2"
    assert "What needs you" not in end_message(end()).text
    assert f"What needs you:\n- {orphaned}\n" in end_message(end(orphaned=orphaned)).text


@pytest.mark.parametrize(
    ("reason", "left"),
    [
        ("out of credits (402): top up, and run again", "out of credits (402)"),
        ("2 rows wait for the result of spring/anna (failed) …", "2 rows wait for the result of others"),
        ("results could not be stored ([Errno 28] no: '/out/anna.mp4'): paid", "results could not be stored"),
        (
            '1 row\'s result cannot be stored in --out r: spring/anna ("anna")',
            "1 row's result cannot be stored in --out",
        ),
        ("a; a: anna; b (anna): c", "a; b"),
        ("", ""),
    ],
)
def test_reasons_are_shown_without_names(reason: str, left: str) -> None:
    assert without_names(reason) == left


def test_a_title_has_room_for_three_batches() -> None:
    assert names_of(("a", "b", "c", "d", "e")) == "a, b, c and 2 more"
    assert len(end_message(end(batches=("b" * 200,))).title) <= 110
    assert names_of(("one\ntwo",)) == "one two"
    assert end_message(end(batches=(), place="")).title == "batchswap: all done"


def test_other_messages() -> None:
    failed = failure_message(("a.csv",), 75, "another run is using it", "batchswap run a.csv", "/srv on host")
    assert failed.title == "batchswap: a.csv: the run failed with exit code 75"
    assert "exit code 75.\n\nanother run is using it\n\nThe command:\n  batchswap run a.csv\n\nIn /srv" in failed.text
    assert "The command" not in failure_message((), 1, "x", "", "/srv on host").text
    assert skip_message((), "skipped", "/srv on host") == Message(
        "batchswap: the run was skipped", "skipped\n\nIn /srv on host"
    )
    test = as_test(Message("a", "b"))
    assert (test.title, test.text[-3:]) == ("TEST: a", "\n\nb")


@pytest.mark.parametrize(
    ("cause", "first"),
    [
        ("credits", "The account is out of credits (402). Top up: the next run continues with the rest.\nThe run col"),
        (
            "refusals",
            "20 submits in a row refused as 422.\nThe run collects the tasks in progress; another message follow",
        ),
        (
            "disk",
            "20 submits in a row refused as 422.\nThe run collects the tasks in progress; another message follows at",
        ),
        ("outage", "The API has been unavailable for 15 minutes. The run waits, for --patience at most.\n\nTasks so "),
    ],
)
def test_messages_during_a_run(cause: str, first: str) -> None:
    words = "20 submits in a row refused as 422: nothing more is submitted"
    message = alert_message(cause, words, ("spring",), {**COUNTS, State.DONE: 5}, "batchswap status")
    assert message.title.startswith("batchswap: spring: ")
    assert message.text.startswith(first)
    assert message.text.endswith("Tasks so far: 5 done\nTo see more: batchswap status")


RUN, TROUBLE = end(), end(Exit.FAILED, "x", counts={State.FAILED: 1})
BEFORE = EarlierRun(0.0, Exit.DEADLINE, open=2)


@pytest.mark.parametrize("always", [True, False])
def test_a_run_has_a_message_for_trouble(always: bool) -> None:
    on: NotifyOn = "always" if always else "trouble"
    assert is_due(RUN, on) is always
    assert is_due(TROUBLE, on)
    assert is_due(msgspec.structs.replace(TROUBLE, before=EarlierRun(0.0, Exit.FAILED)), on)  # again is again
    assert is_due(end(needs_you=1), on)
    assert not is_due(TROUBLE, "never")


def tick(code: int, before: EarlierRun | None = BEFORE, **values: Any) -> RunEnd:
    return end(code, "x", mode="tick", before=before, **values)


def test_a_tick_has_a_message_for_news_only() -> None:
    left = {State.QUEUED: 1}
    assert not is_due(tick(7, counts=left), "always")
    assert not is_due(tick(7, None, counts=left), "always")
    assert is_due(tick(6, counts=left), "trouble")
    assert not is_due(tick(6, EarlierRun(0.0, 6, open=1), counts=left), "always")
    assert is_due(tick(6, EarlierRun(0.0, 6, open=1, reason="y"), counts=left), "trouble")
    assert is_due(tick(7, counts=left, needs_you=1), "trouble")
    assert not is_due(tick(7, EarlierRun(0.0, 7, needs_you=1, open=1), counts=left, needs_you=2), "trouble")
    uncertain = {**left, State.UNCERTAIN: 2}
    before = EarlierRun(0.0, 4, needs_you=1, uncertain=1, open=1)
    assert is_due(tick(4, before, counts=uncertain, needs_you=2), "trouble")


def test_the_end_of_a_batch_is_news_for_a_tick() -> None:
    assert is_due(tick(0), "always")
    assert not is_due(tick(0), "trouble")
    assert not is_due(tick(0, EarlierRun(0.0, 0)), "always")  # nothing to do
    assert is_due(tick(0, None), "always")
    over = tick(3, EarlierRun(0.0, 3, open=1), counts={State.FAILED: 1})
    assert is_due(over, "trouble")
    assert not is_due(msgspec.structs.replace(over, before=EarlierRun(0.0, 3)), "always")


def test_work_that_is_left_is_well_for_a_tick() -> None:
    assert [code for code in (0, 3, 7, None) if is_well(code, "run")] == [0]
    assert [code for code in (0, 3, 7, None) if is_well(code, "tick")] == [0, 7]


def test_trouble_is_told_once_if_the_run_continues() -> None:
    rules = AlertRules(outage=900, grace=20)
    assert rules.due_at == inf
    rules.note(LogEvent.RUN_STOPPING, "the deadline", "", 0.0)
    rules.note(LogEvent.PROGRESS, "x", "", 0.0)
    assert rules.due_at == inf
    rules.note(LogEvent.RUN_STOPPING, "out of credits", "credits", 5.0)
    rules.note(LogEvent.RUN_STOPPING, "again", "credits", 6.0)
    assert (rules.due_at, rules.take(24.9)) == (25.0, [])
    assert rules.take(25.0) == [Alert("credits", "out of credits")]
    rules.note(LogEvent.RUN_STOPPING, "again", "credits", 30.0)
    rules.note(LogEvent.LEDGER_FAILED, "disk full", "", 30.0)
    assert rules.take(100.0) == [Alert("disk", "disk full")]


def test_an_outage_is_told_when_it_lasts() -> None:
    rules = AlertRules(outage=900, grace=20)
    rules.note(LogEvent.API_UNAVAILABLE, "the API", "", 0.0)
    rules.note(LogEvent.API_AVAILABLE, "again", "", 800.0)
    assert rules.take(1_000.0) == []
    rules.note(LogEvent.API_MAINTENANCE, "the API", "", 1_000.0)
    rules.note(LogEvent.API_PAUSE, "the API", "", 1_500.0)
    assert rules.take(1_899.0) == []
    assert [each.cause for each in rules.take(1_900.0)] == ["outage"]
    rules.note(LogEvent.API_UNAVAILABLE, "the API", "", 2_000.0)
    assert rules.take(9_000.0) == []


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        (CHECK, f"{CHECK}/3?rid=r1"),
        (f"{CHECK}/", f"{CHECK}/3?rid=r1"),
        (f"{CHECK}?create=1&x=a%2Fb", f"{CHECK}/3?create=1&x=a%2Fb&rid=r1"),
        (f"{CHECK}/?#frag", f"{CHECK}/3?rid=r1"),
        (
            "https://hc-ping.com/fqOOd6-F4MMNuCEnzTU01w/night",
            "https://hc-ping.com/fqOOd6-F4MMNuCEnzTU01w/night/3?rid=r1",
        ),
        ("https://u:p@hc.example.com:8443/ping/key/night", "https://u:p@hc.example.com:8443/ping/key/night/3?rid=r1"),
        (PLAIN, ""),
        ("https://cronitor.link/p/KEY/night?state=complete", ""),
        ("https://nosnch.in/c2354d53d2", ""),
        ("https://uptime.betterstack.com/api/v1/heartbeat/abc", ""),
        ("https://hc-ping.com/", ""),
        ("https://example.com/ping/key", ""),
    ],
)
def test_healthchecks_gets_the_exit_code(url: str, wanted: str) -> None:
    call = ping.end_call(url, "r1", "3", Message("title", "text"), is_well=False)
    assert ("" if call is None else call.url) == wanted
    begun = ping.start_call(url, "r1")
    assert ("" if begun is None else begun.url) == wanted.replace("/3?", "/start?")


def test_others_get_a_plain_get_after_a_good_run() -> None:
    call = ping.end_call(PLAIN, "r1", "0", Message("title", "text"), is_well=True)
    assert call is not None
    assert (call.method, call.url, call.body, dict(call.headers())) == ("GET", PLAIN, b"", {})


def test_a_digest_is_text_of_at_most_100_kb() -> None:
    call = ping.end_call(CHECK, "r1", "0", Message("title", "ü" * 80_000), is_well=True)
    assert call is not None
    assert call.headers() == {"Content-Type": "text/plain; charset=utf-8"}
    assert len(call.body) == 99_999
    assert call.body.decode().startswith("title\n\nüü")


def test_each_try_of_a_webhook_is_signed_with_its_time() -> None:
    times = iter([1_000.9, 1_010.0])
    call = webhook.webhook_call("https://example.com/", "secret", {"exit_code": 0}, "d1", lambda: next(times))
    assert msgspec.json.decode(call.body) == {"id": "d1", "exit_code": 0}
    for at in ("1000", "1010"):
        headers = call.headers()
        right = hmac.new(b"secret", at.encode() + b"." + call.body, hashlib.sha256).hexdigest()
        assert headers == {
            "Content-Type": "application/json",
            "X-Batchswap-Delivery": "d1",
            "X-Batchswap-Signature": f"t={at},v1={right}",
        }


def test_a_webhook_needs_its_secret() -> None:
    assert webhook.find_secret({"BATCHSWAP_WEBHOOK_SECRET": "s"}) == "s"
    with pytest.raises(UsageError, match="BATCHSWAP_WEBHOOK_SECRET"):
        webhook.find_secret({})
