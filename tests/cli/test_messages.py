"""Messages about runs, to real receivers: a mail server, a dead man's switch, a webhook."""

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from batchswap.cli.console import Console
from batchswap.cli.progress import watch_nothing
from batchswap.errors import AccountRefused, LedgerBusy
from batchswap.events import LogEvent, report
from batchswap.ledger.file.lock import hold
from batchswap.notifications import alerts as alerts_module
from batchswap.notifications import apprise_sender, delivery, http_call, run_end
from batchswap.notifications.alert_rules import AlertRules
from batchswap.notifications.alerts import Alerts
from batchswap.notifications.channels import Channels, open_channels
from batchswap.notifications.http_call import Sent
from batchswap.notifications.message import Message
from batchswap.notifications.run_messages import RunMessages
from batchswap.runner.background import RunView
from batchswap.states import State
from batchswap.workers import worker_pool
from tests.cli.conftest import Place, call, use, work
from tests.cli.processes import environment, finish, start
from tests.cli.quick import KEY, QuickEngine
from tests.docs.pages import DOCS, ROOT, Page
from tests.http.local import Running, running
from tests.http.proxies import Authority, TestProxy, proxying
from tests.receivers import CLOSE, HANG, Receiver, mail_server, receiver, wait_for
from tests.waits import until

CHECK = "/ping/5f0c6b0e-9a5d-4c0f-8a3e-2b1d7c6f5e4d"
SECRET = "hook-s3cr3t"
TOKENS = ("T0KENinPATH", "T0KENinQUERY", "T0KENinUSER", SECRET)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Return a receiver that gets pings and webhook calls of all commands."""
    with receiver() as found:
        monkeypatch.setattr(http_call, "PAUSES", (0.01, 0.01))
        monkeypatch.setenv("BATCHSWAP_PING_URL", f"{found.url}{CHECK}/?create=1")
        monkeypatch.setenv("BATCHSWAP_WEBHOOK_URL", f"{found.url}/hook")
        monkeypatch.setenv("BATCHSWAP_WEBHOOK_SECRET", SECRET)
        yield found


def documented_check() -> Any:
    """Return the function of the documentation that verifies a call."""
    [block] = [each for each in Page(DOCS / "unattended.md").blocks if each.info == ("python", "verify.py")]
    names: dict[str, Any] = {}
    exec("\n".join(block.lines), names)
    return names["is_genuine"]


def last_line(done: Result) -> str:
    return done.stderr.splitlines()[-1]


def test_a_run_pings_its_start_and_its_end_and_calls_the_webhook(shop: Place, hub: Receiver) -> None:
    done = work(shop.manifest("spring.csv", 2), "--json")
    assert done.exit_code == 0, done.stderr
    begun, ended = hub.of(CHECK)
    run_id = begun.target.rpartition("rid=")[2]
    assert re.fullmatch(r"[0-9a-f-]{36}", run_id)
    assert [each.target for each in (begun, ended)] == [
        f"{CHECK}/{end}?create=1&rid={run_id}" for end in ("start", "0")
    ]
    assert ended.body.decode().startswith("batchswap: spring: all done\n\nAll 2 tasks are done.\n\nTasks: 2 done\n")
    [hook] = hub.of("/hook")
    document = json.loads(hook.body)
    assert document.pop("id") == hook.headers["x-batchswap-delivery"]
    assert document == json.loads(done.stdout)
    assert hook.headers["content-type"] == "application/json"
    is_genuine = documented_check()
    header = hook.headers["x-batchswap-signature"]
    assert is_genuine(hook.body, header, SECRET)
    assert not is_genuine(hook.body + b" ", header, SECRET)
    assert not is_genuine(hook.body, header, "other")
    assert not is_genuine(hook.body, header.replace("t=1", "t=2"), SECRET)
    assert not is_genuine(hook.body, "", SECRET)


def test_a_mail_says_what_happened(shop: Place) -> None:
    name = shop.manifest("spring.csv", 2, "broken")
    with mail_server() as (port, box):
        url = f"mailto://127.0.0.1:{port}?from=batchswap@example.com&to=you@example.com&mode=insecure"
        done = work(name, "--notify", url, "--report", "night.html")
    assert done.exit_code == 3
    [mail] = box.mails
    assert mail["subject"] == "batchswap: spring: 2 failed"
    body = mail.get_body(("plain",))
    assert body is not None
    text = body.get_content().replace("\r\n", "\n")
    assert "0 of 2 tasks are done. The run ended with exit code 3: not all done." in text
    assert "- 2 failed. To queue them again:\n  batchswap retry\n  By code: 2 × 501" in text
    assert [part.get_filename() for part in mail.iter_attachments()] == ["night.html"]
    assert "message-failed" not in done.stderr


def test_a_good_run_has_a_message_only_with_always(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1)
    with receiver() as found:
        url = found.url.replace("http:", "json:") + "/chat"
        assert work(name, "--notify", url).exit_code == 0
        assert work(name, "--notify", url, "--notify-on", "never").exit_code == 0
        assert found.requests == []
        assert work(name, "--notify", url, "--notify-on", "always").exit_code == 0
        [message] = found.requests
    assert json.loads(message.body)["title"] == "batchswap: spring: all done"
    assert json.loads(message.body)["type"] == "success"


def test_the_ping_of_the_end_waits_for_that_of_the_start(
    shop: Place, hub: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_call, "PAUSES", (1.0, 1.0))
    hub.answers = {f"{CHECK}/start": [500]}
    assert work(shop.manifest("spring.csv", 1)).exit_code == 0
    assert [each.target.partition("?")[0] for each in hub.of(CHECK)] == [f"{CHECK}/start"] * 2 + [f"{CHECK}/0"]


def test_three_tries_with_one_delivery_id(shop: Place, hub: Receiver) -> None:
    hub.answers = {"/hook": [500, CLOSE], f"{CHECK}/0": [503, 429]}
    done = work(shop.manifest("spring.csv", 1))
    assert (done.exit_code, "failed" in done.stderr) == (0, False)
    hooks = hub.of("/hook")
    assert len(hooks) == len(hub.of(f"{CHECK}/0")) == 3
    assert len({each.headers["x-batchswap-delivery"] for each in hooks}) == len({each.body for each in hooks}) == 1
    assert all(documented_check()(each.body, each.headers["x-batchswap-signature"], SECRET) for each in hooks)


@pytest.mark.parametrize(
    ("answers", "words", "tries"),
    [
        ([HANG] * 3, "no answer in 0.2 s", 3),
        ([500] * 3, "it answered 500", 3),
        ([CLOSE] * 3, "it closed the connection", 3),
        ([404], "it answered 404", 1),
        ([301], "it answered 301 with a redirect, which is not followed", 1),
    ],
)
def test_what_cannot_be_delivered_is_a_warning(
    shop: Place, hub: Receiver, monkeypatch: pytest.MonkeyPatch, answers: list[int], words: str, tries: int
) -> None:
    monkeypatch.setattr(http_call, "ONE_TRY", 0.2)
    hub.answers = {"/hook": list(answers)}
    done = work(shop.manifest("spring.csv", 1))
    assert (done.exit_code, last_line(done)[:7]) == (0, "done: 1")
    assert f"the call of the webhook at http://127.0.0.1 failed: {words}" in done.stderr.replace("\n", " ")
    assert (len(hub.of("/hook")), hub.of("/elsewhere")) == (tries, [])


def test_a_receiver_that_refuses_connections_is_a_warning(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_call, "PAUSES", (0.01, 0.01))
    with receiver() as gone:
        pass
    address = f"{gone.url.replace('http:', 'json:')}/T0KENinPATH"
    done = work(
        shop.manifest("spring.csv", 1), "--ping-url", f"{gone.url}{CHECK}", "--notify", address, "--notify-on", "always"
    )
    assert (done.exit_code, last_line(done)[:7]) == (0, "done: 1")
    assert "the ping to http://127.0.0.1 failed: it cannot be reached: Connection refused" in done.stderr
    assert "the message to json:// failed: the connection failed: check the host, the port" in done.stderr


def test_a_name_server_that_hangs_does_not_hold_the_run(
    shop: Place, hub: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def hang(host: str, *more: Any, **options: Any) -> Any:
        return hub.ended.wait() if host == "hooks.example" else look_up(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(http_call, "ONE_TRY", 0.05)
    done = work(shop.manifest("spring.csv", 1), "--webhook-url", "https://hooks.example/T0KENinPATH")
    assert (done.exit_code, last_line(done)[:7]) == (0, "done: 1")
    assert "the call of the webhook at https://hooks.example failed: no answer in 0.05 s" in done.stderr


def test_a_name_that_cannot_exist_is_a_warning(shop: Place, hub: Receiver) -> None:
    done = work(shop.manifest("spring.csv", 1), "--webhook-url", "https://hooks..example/T0KENinPATH")
    assert (done.exit_code, last_line(done)[:7]) == (0, "done: 1")
    assert "the call of the webhook at https://hooks..example failed: its name cannot be found" in done.stderr


def test_a_run_begins_although_no_thread_can_be_started_for_its_ping(
    shop: Place, hub: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "start ping":
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = work(shop.manifest("spring.csv", 1))
    assert (done.exit_code, last_line(done)[:7]) == (0, "done: 1")
    assert "the ping to http://127.0.0.1 failed: no thread could be started" in done.stderr
    assert [each.target.partition("?")[0] for each in hub.of(CHECK)] == [f"{CHECK}/0"]


def test_the_end_of_all_messages_is_the_end_of_those_that_hang(
    shop: Place, hub: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ALL", 1.5)
    monkeypatch.setattr(delivery, "SOON", 0.1)
    hub.answers = {"/chat": [HANG], "/hook": [HANG], f"{CHECK}/start": [HANG], f"{CHECK}/0": [HANG]}
    chat = f"{hub.url.replace('http:', 'json:')}/chat"
    done = work(shop.manifest("spring.csv", 1), "--notify", chat, "--notify-on", "always")
    assert (done.exit_code, last_line(done)[:7]) == (0, "done: 1")
    failed = [line.rpartition(": ")[2] for line in done.stderr.splitlines() if " failed: " in line]
    assert failed == ["no answer in time"] * 3
    sending = next(line for line in done.stderr.splitlines() if "sending messages" in line)
    assert "done: 1 done" in sending


def test_a_check_that_does_not_exist_is_a_warning(shop: Place, hub: Receiver) -> None:
    hub.text = b"OK (not found)"
    done = work(shop.manifest("spring.csv", 1))
    assert done.exit_code == 0
    assert "the ping to http://127.0.0.1 failed: it answered that the check is not found" in done.stderr


def test_a_bug_in_a_message_changes_nothing(shop: Place, hub: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("T0KENinPATH")

    monkeypatch.setattr(run_end, "gather", fail)
    done = work(shop.manifest("spring.csv", 1))
    assert (done.exit_code, last_line(done)[:7]) == (0, "done: 1")
    assert "messages about this run may be missing (RuntimeError)" in done.stderr
    assert "T0KENinPATH" not in done.output


def test_a_ledger_that_cannot_be_read_does_not_hold_the_messages(
    shop: Place, hub: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(run_end, "own_run", fail)
    assert work(shop.manifest("spring.csv", 2)).exit_code == 0
    text = hub.of(f"{CHECK}/0")[0].body.decode()
    assert text.startswith("batchswap: spring: all done\n\nAll 2 tasks are done.\n\nTasks: 2 done\n")
    assert "Money: 2 credits in total, balance " in text


def test_a_run_that_cannot_start_is_told_without_names(shop: Place, hub: Receiver) -> None:
    (shop.folder / "spring.csv").write_text("id,video,face\nanna-intro,missing-anna.mp4,face-of-anna.png\n")
    done = call("run", "spring.csv", "--notify", f"{hub.url.replace('http:', 'json:')}/chat")
    assert done.exit_code == 2
    assert [each.target.partition("?")[0] for each in hub.of(CHECK)] == [f"{CHECK}/2"]
    [hook] = hub.of("/hook")
    assert json.loads(hook.body)["exit_code"] == 2
    [chat] = hub.of("/chat")
    text = json.loads(chat.body)["message"]
    assert json.loads(chat.body)["title"] == "batchswap: spring.csv: the run failed with exit code 2"
    assert "the manifests have 2 mistakes: `batchswap check` lists them" in text
    assert "anna" not in text
    assert "batchswap run spring.csv\n" in text
    assert "json://" not in text


@pytest.mark.parametrize("manifest", ["https://cdn.example/spring.csv?X-Amz-Signature=T0KENinQUERY", f"{KEY}.csv"])
def test_a_run_that_cannot_start_shows_no_secret(shop: Place, hub: Receiver, manifest: str) -> None:
    done = call("run", manifest, "--json", "--notify", f"{hub.url.replace('http:', 'json:')}/chat")
    assert done.exit_code == 2
    assert "does not exist" in json.loads(done.stdout)["reason"]
    assert "does not exist" in json.loads(hub.of("/hook")[0].body)["reason"]
    texts = [done.output, *(each.body.decode() for each in hub.requests)]
    assert len(texts) == 4
    assert [text for text in texts if KEY in text or "T0KENinQUERY" in text] == []


def test_a_run_that_is_skipped_is_no_sign_of_life(shop: Place, hub: Receiver) -> None:
    name = shop.manifest("spring.csv", 1)
    work(name)
    hub.requests.clear()
    with hold(Path("batchswap.db"), wait=False):
        done = call("run", name, "--if-running", "skip", "--json")
        assert (done.exit_code, json.loads(done.stdout)["reason"]) == (0, "skipped: another run is using batchswap.db")
        plain = call("run", name, "--if-running", "skip", "--ping-url", f"{hub.url}/api/push/x?status=up")
        busy = call("run", name)
    assert (plain.exit_code, busy.exit_code) == (0, 75)
    assert [each.target.partition("?")[0] for each in hub.of(CHECK)] == [f"{CHECK}/log", f"{CHECK}/75"]
    assert (len(hub.of("/hook")), hub.of("/api")) == (3, [])


def test_a_plain_url_is_requested_after_a_good_run_only(shop: Place, hub: Receiver) -> None:
    plain = ["--ping-url", f"{hub.url}/api/push/x?status=up&msg=OK&ping="]
    assert work(shop.manifest("bad.csv", 1, "broken"), *plain).exit_code == 3
    assert hub.of("/api") == []
    assert work(shop.manifest("good.csv", 1), *plain).exit_code == 0
    [got] = hub.of("/api")
    assert (got.method, got.target, got.body) == ("GET", "/api/push/x?status=up&msg=OK&ping=", b"")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ping-url", "http://example.com/T0KENinPATH"], "--ping-url: the URL must be https"),
        (["--webhook-url", "ftp://T0KENinUSER@example.com/"], "--webhook-url: the URL must be https"),
        (["--webhook-url", "https://[T0KENinPATH"], "--webhook-url: the URL must be https"),
        (["--webhook-url", "https://127.0.0.1/"], "set BATCHSWAP_WEBHOOK_SECRET"),
        (["--notify", "T0KENinPATH"], "--notify: an address begins with a scheme, such as mailto://"),
        (["--notify", ""], "--notify: an address begins with a scheme, such as mailto://"),
        (["--notify", "json://127.0.0.1/T0KENinPATH mailto://a@example.com"], "json://… has several addresses in one"),
        (["--notify", "json://127.0.0.1/T0KENinPATH,mailto://a@example.com"], "json://… has several addresses in one"),
        (["--notify", "nosuch://T0KENinPATH"], "--notify: nosuch://… is not an address of Apprise"),
    ],
)
def test_addresses_are_checked_before_anything_is_paid(shop: Place, arguments: list[str], words: str) -> None:
    done = work(shop.manifest("spring.csv", 1), *arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())
    assert not Path("batchswap.db").exists()
    assert not any(token in done.output for token in TOKENS)


@pytest.mark.parametrize("option", ["notify", "ping-url", "webhook-url", "proxy"])
def test_addresses_that_are_not_text_are_not_shown(place: Place, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    address = b"https://T0KENinPATH/\xff"
    env = environment("http://127.0.0.1:9", place.folder.parent / "home")
    for arguments in ([f"--{option}", os.fsdecode(address)], [f"--{option}={os.fsdecode(address)}"]):
        done = finish(place.folder, env, "run", "x.csv", *arguments)
        assert (done.returncode, "is not UTF-8" in done.stderr, "T0KEN" in done.stderr) == (2, True, False)
    done = finish(
        place.folder, env | {f"BATCHSWAP_{option.upper().replace('-', '_')}": os.fsdecode(address)}, "run", "x.csv"
    )
    assert (done.returncode, "is not UTF-8" in done.stderr, "T0KEN" in done.stderr) == (2, True, False)


def test_without_apprise_the_error_names_the_extra(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apprise_sender, "find_spec", lambda _: None)
    name = shop.manifest("spring.csv", 1)
    done = work(name, "--notify", "json://127.0.0.1/")
    assert (done.exit_code, "pip install 'batchswap[notify]'" in done.stderr) == (2, True)
    assert work(name).exit_code == 0


def secret_options(hub: Receiver) -> list[str]:
    _, _, host = hub.url.partition("//")
    return [
        "--notify", f"json://T0KENinUSER:pw@{host}/T0KENinPATH", "--notify-on", "always",
        f"--ping-url=http://T0KENinUSER:pw@{host}/T0KENinPATH{CHECK}?k=T0KENinQUERY",
        "--webhook-url", f"{hub.url}/T0KENinPATH?k=T0KENinQUERY",
    ]  # fmt: skip


@pytest.mark.parametrize("code", [200, 500])
@pytest.mark.parametrize("style", [["-v"], ["--log-format", "json"], ["--json", "-q"]])
def test_no_secret_is_shown_or_kept(shop: Place, hub: Receiver, code: int, style: list[str]) -> None:
    hub.answers = {"/": [code] * 20}
    name = shop.manifest("spring.csv", 2)
    shop.video("spring1.mp4", "broken")
    done = work(name, *secret_options(hub), *style, "--report", "night.html", "--max-duration", "1h")
    assert done.exit_code == 3
    assert len(hub.requests) >= 4
    texts = [done.output, (shop.folder / "night.html").read_text()]
    texts += [call("status", "--json").output, call("status").output]
    texts += [path.read_bytes().decode(errors="replace") for path in shop.folder.glob("batchswap.db*")]
    texts += [each.body.decode() for each in hub.requests]
    assert [token for text in texts for token in TOKENS if token in text] == []
    for each in hub.requests:
        assert "ak_" not in each.body.decode()
        assert "face.png" not in each.body.decode()


def chats(hub: Receiver) -> list[str]:
    """Return the texts of the messages to people."""
    return [json.loads(each.body)["message"] for each in hub.requests if b'"title"' in each.body]


def test_the_command_to_resume_has_no_addresses(shop: Place, hub: Receiver) -> None:
    name = shop.manifest("spring.csv", 2)
    done = call("run", name, *secret_options(hub), "--rate", "none", "--budget", "1", "--no-backup")
    assert done.exit_code == 6
    command = f"batchswap run {name} --notify-on always --rate none --budget 1 --no-backup"
    assert last_line(done).endswith(f"; to resume: {command}; run the same command again to resume") or (
        last_line(done).endswith(f"to resume: {command}")
    )
    assert not any(token in done.output for token in TOKENS)
    [text] = chats(hub)
    assert f"To resume (1 queued):\n  {command}\n" in text


def test_filters_may_be_names_and_are_not_in_messages(shop: Place, hub: Receiver) -> None:
    name = shop.manifest("spring.csv", 2)
    done = work(
        name,
        "--filter",
        "anna",
        "--budget",
        "0",
        "--notify",
        f"{hub.url.replace('http:', 'json:')}/chat",
        "--notify-on",
        "always",
    )
    assert done.exit_code == 0
    [chat] = hub.of("/chat")
    assert "anna" not in chat.body.decode()
    assert "Run the same command again to resume (2 queued)." in json.loads(chat.body)["message"]


def test_addresses_of_the_working_directory_are_refused(shop: Place) -> None:
    for key in ("notify", "ping-url", "webhook-url"):
        (shop.folder / "batchswap.yaml").write_text(f"{key}: https://127.0.0.1/T0KENinPATH\n")
        done = call("run", shop.manifest("spring.csv", 1))
        assert (done.exit_code, f'"{key}" is not taken from' in done.stderr) == (2, True)
        assert "T0KENinPATH" not in done.output


def test_a_file_of_addresses_that_others_can_read_is_a_warning(shop: Place, hub: Receiver, tmp_path: Path) -> None:
    folder = tmp_path / "home" / ".config" / "batchswap"
    folder.mkdir(parents=True)
    own = folder / "config.yaml"
    own.write_text(f"notify: ['json://127.0.0.1:{hub.port}/chat']\nnotify-on: always\n")
    name = shop.manifest("spring.csv", 1)
    own.chmod(0o644)
    assert f"other users can read the addresses in {own}: chmod 600 {own}" in work(name).stderr.replace("\n", " ")
    own.chmod(0o600)
    assert "other users" not in work(name).stderr
    own.write_text("budget: 5\n")
    own.chmod(0o644)
    assert "other users" not in work(name).stderr
    assert len(hub.of("/chat")) == 2


def test_a_test_is_shown_and_sent_everywhere(shop: Place, hub: Receiver) -> None:
    chat = ["--notify", f"{hub.url.replace('http:', 'json:')}/chat"]
    before = call("notify", "--test", *chat)
    assert (before.exit_code, "There was no run with this ledger yet." in before.stdout) == (0, True)
    work(shop.manifest("spring.csv", 1, "broken"))
    hub.requests.clear()
    done = call("notify", "--test", *chat)
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:3] == ["TEST: batchswap: spring: 1 failed", "", "This is a test of `batchswap notify --test`."]
    assert lines[-3:] == [
        "message to json://: sent",
        "ping to http://127.0.0.1: sent",
        "webhook to http://127.0.0.1: sent",
    ]
    [sent] = hub.of("/chat")
    assert json.loads(sent.body)["message"].splitlines()[0] == lines[2]
    assert [each.target.partition("?")[0] for each in hub.of(CHECK)] == [f"{CHECK}/log"]
    [hook] = hub.of("/hook")
    assert (json.loads(hook.body)["test"], json.loads(hook.body)["exit_code"]) == (True, 3)
    hub.answers = {"/hook": [400], "/chat": [403] * 3}
    again = call("notify", "--test", *chat)
    assert (again.exit_code, again.stdout.splitlines()[-1]) == (1, "webhook to http://127.0.0.1: it answered 400")
    assert again.stdout.splitlines()[-3] == "message to json://: it answered 403"


def test_a_test_needs_its_option_and_an_address(place: Place) -> None:
    without = call("notify")
    assert (without.exit_code, "`batchswap notify --test`" in without.stderr) == (2, True)
    nowhere = call("notify", "--test")
    assert (nowhere.exit_code, "no address is set, so nothing was sent: set BATCHSWAP_NOTIFY" in nowhere.stderr) == (
        2,
        True,
    )
    assert nowhere.stdout.startswith("TEST: batchswap: no run yet\n"), "the message is shown anyway"


def test_the_process_that_sends_has_no_key_and_shows_no_address(shop: Place, _server: Running, hub: Receiver) -> None:
    """While a message arrives, no process has its address in its arguments, and the sender has no key."""
    seen: list[tuple[str, str]] = []

    def look() -> None:
        for each in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (each / "cmdline").read_text()
                if str(os.getuid()) and (each / "environ").stat().st_uid == os.getuid() and "batchswap" in arguments:
                    seen.append((arguments, (each / "environ").read_text() if "apprise_child" in arguments else ""))
            except OSError:
                continue

    hub.on_request = look
    env = environment(_server.base_url, shop.folder.parent / "home")
    env |= {
        "BATCHSWAP_NOTIFY": f"{hub.url.replace('http:', 'json:')}/T0KENinPATH",
        "BATCHSWAP_NOTIFY_ON": "always",
        "BATCHSWAP_WEBHOOK_SECRET": SECRET,
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    done = finish(shop.folder, env, "run", shop.manifest("spring.csv", 1))
    assert done.returncode == 0, done.stderr
    assert len(hub.requests) == 1  # not through the proxy
    children = [environ for arguments, environ in seen if "apprise_child" in arguments]
    assert children
    assert not any("T0KENinPATH" in arguments for arguments, _ in seen)
    assert not any(word in text for text in children for word in ("CRUN_API_KEY", SECRET, "T0KENinPATH", "127.0.0.1:9"))


def test_the_working_directory_cannot_replace_apprise(shop: Place, _server: Running, hub: Receiver) -> None:
    for name in ("apprise.py", "json.py"):
        (shop.folder / name).write_text("import pathlib; pathlib.Path('was-run').touch()\n")
    env = environment(_server.base_url, shop.folder.parent / "home") | {"PYTHONSAFEPATH": "1"}
    env |= {"BATCHSWAP_NOTIFY": f"{hub.url.replace('http:', 'json:')}/chat", "BATCHSWAP_NOTIFY_ON": "always"}
    del env["BATCHSWAP_NO_SCORE"]  # workers, too
    done = finish(shop.folder, {"PYTHONPATH": str(ROOT)} | env, "run", shop.manifest("spring.csv", 1))
    assert (done.returncode, len(hub.of("/chat"))) == (0, 1), done.stderr
    assert not (shop.folder / "was-run").exists()


def test_workers_have_no_secrets() -> None:
    kept = worker_pool.environment_of(
        {"CRUN_API_KEY": "x", "BATCHSWAP_NOTIFY": "x", "BATCHSWAP_WEBHOOK_SECRET": "x", "A": "1"}
    )
    assert kept.keys() == {"A", "PYTHONPATH"}


@pytest.mark.parametrize(
    ("proxy", "kept"), [("", {}), ("env", {"https_proxy": "p", "no_proxy": "n,localhost,127.0.0.1,::1"})]
)
def test_the_sender_gets_proxies_only_when_asked_to(proxy: str, kept: dict[str, str]) -> None:
    given = {
        "CRUN_API_KEY": "x",
        "HTTPS_PROXY": "p",
        "no_proxy": "n",
        "HOME": "/h",
        "LC_ALL": "C",
        "SSL_CERT_FILE": "ca",
    }
    own = {"HOME": "/h", "LC_ALL": "C", "SSL_CERT_FILE": "ca", "REQUESTS_CA_BUNDLE": "ca", "NETRC": os.devnull}
    found = apprise_sender.environment_of(given, proxy)
    assert found.pop("PYTHONPATH")
    assert found == own | kept
    assert apprise_sender.environment_of({}, "http://p:1")["https_proxy"] == "http://p:1"


TICK = Path("batchswap.db")


def test_messages_go_through_the_proxy(shop: Place, _server: Running, tmp_path: Path) -> None:
    name, authority = "hooks.test.example", Authority(tmp_path)
    env = environment(_server.base_url, tmp_path / "home") | {
        "SSL_CERT_FILE": str(authority.root),
        "BATCHSWAP_NOTIFY": f"jsons://{name}/chat",
        "BATCHSWAP_NOTIFY_ON": "always",
        "BATCHSWAP_PING_URL": f"https://{name}{CHECK}",
        "BATCHSWAP_WEBHOOK_URL": f"https://{name}/hook",
        "BATCHSWAP_WEBHOOK_SECRET": SECRET,
    }
    manifest = shop.manifest("spring.csv", 1)
    with (
        receiver(authority.context(name)) as found,
        proxying(TestProxy({name: found.port}, credentials="night:pw")) as proxy,
    ):
        right = env | {"BATCHSWAP_PROXY": f"http://night:pw@127.0.0.1:{proxy.port}"}
        done = finish(shop.folder, right, "run", manifest)
        assert (done.returncode, " failed: " in done.stderr) == (0, False), done.stderr
        sent = sorted(each.target.partition("?")[0] for each in found.requests)
        assert sent == ["/chat", "/hook", f"{CHECK}/0", f"{CHECK}/start"]
        assert proxy.seen[name] == 4
        wrong = env | {"BATCHSWAP_PROXY": f"http://night:T0KENinUSER@127.0.0.1:{proxy.port}"}
        done = finish(shop.folder, wrong, "run", manifest)
    assert done.returncode == 0
    refused = f"failed: the proxy http://127.0.0.1:{proxy.port} refuses the user and password (407)"
    assert f"the call of the webhook at https://{name} {refused}" in done.stderr
    assert "T0KENinUSER" not in done.stderr
    assert len(found.requests) == 4


def test_a_tick_that_cannot_start_says_it_once(place: Place, hub: Receiver) -> None:
    chat = (f"{hub.url.replace('http:', 'json:')}/chat",)
    channels = open_channels(chat, "trouble", None, None)
    for error in (LedgerBusy("busy"), LedgerBusy("busy"), AccountRefused("no key")):
        RunMessages(channels, TICK, mode="tick").fail(error.exit, str(error), error)
    assert [text.splitlines()[2] for text in chats(hub)] == ["busy", "no key"]
    RunMessages(channels, TICK, mode="tick").begin(watch_nothing, ())
    RunMessages(channels, TICK, mode="tick").fail(5, "no key", AccountRefused("no key"))
    RunMessages(channels, TICK).fail(5, "no key", AccountRefused("no key"))
    RunMessages(channels, TICK).fail(5, "no key", AccountRefused("no key"))
    assert len(chats(hub)) == 5


@pytest.mark.parametrize(
    ("notify_on", "fails", "last"),
    [
        ("trouble", True, ["batchswap: spring: 1 failed"]),
        ("always", False, ["batchswap: spring: all done"]),
        ("trouble", False, []),
    ],
)
def test_ticks_send_news_only(shop: Place, hub: Receiver, notify_on: str, fails: bool, last: list[str]) -> None:
    chat = ["--notify", f"{hub.url.replace('http:', 'json:')}/chat", "--notify-on", notify_on]
    name = shop.manifest("spring.csv", 3)
    if fails:
        shop.video("spring2.mp4", "broken")
    codes: list[int] = []
    while codes[-2:] != [3 if fails else 0] * 2:  # the last one has nothing to do
        codes.append(call("run", name, "--tick", "--rate", "none", "--in-flight", "1", *chat).exit_code)
        assert len(codes) < 60
    assert 7 in codes
    titles = [json.loads(each.body)["title"] for each in hub.of("/chat")]
    assert titles[-1:] == last
    assert titles[:-1] in ([], ["batchswap: spring: 1 failed, 1 left"])
    pings = [each.target.partition("?")[0].rpartition("/")[2] for each in hub.of(CHECK)]
    assert pings == [word for code in codes for word in ("start", "0" if code == 7 else str(code))]
    assert len(hub.of("/hook")) == len(codes)


async def test_trouble_during_a_run_is_told_while_it_continues(place: Place, hub: Receiver) -> None:
    channels = open_channels_unchecked(hub)
    alerts = Alerts(channels, TICK, AlertRules(outage=0.0, grace=0.0))
    view = RunView(dict.fromkeys(map(str, State), 0) | {str(State.DONE): 3}, 1.0, 0.0, 5, "", 0)
    console = Console()
    console.is_quiet = True  # the messages do not depend on it
    console.show_logs()
    alerts.listen(("spring",))
    watching = asyncio.ensure_future(alerts.watch(lambda: view))
    try:
        report(LogEvent.RUN_STOPPING, "20 submits in a row refused as 422: stop", cause="refusals")
        report(LogEvent.API_UNAVAILABLE, "the API is unavailable (https://x.example/?k=T0KENinQUERY): waiting")
        await until(lambda: len(chats(hub)) == 2, "two messages")
    finally:
        alerts.end()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    report(LogEvent.RUN_STOPPING, "x", cause="credits")
    texts = "\n".join(chats(hub))
    assert "20 submits in a row refused as 422." in texts
    assert "The API has been unavailable for 15 minutes." in texts
    assert "Tasks so far: 3 done\nTo see more: batchswap status" in texts
    assert "T0KEN" not in texts


def open_channels_unchecked(hub: Receiver) -> Channels:
    """Return the channels; in a coroutine, addresses cannot be checked."""
    return Channels((f"{hub.url.replace('http:', 'json:')}/chat",))


@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_a_run_out_of_credits_says_so_while_it_collects(
    place: Place, tmp_path: Path, hub: Receiver, monkeypatch: pytest.MonkeyPatch, quiet: list[str]
) -> None:
    sent: list[tuple[str, str]] = []

    async def send(_: object, message: Message, **__: object) -> list[Sent]:
        sent.append((message.title, message.text))
        return [Sent("message", "json://", "it answered 500")]

    monkeypatch.setattr(alerts_module, "AlertRules", partial(AlertRules, grace=0.0))
    monkeypatch.setattr(alerts_module, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(alerts_module, "send_message", send)
    with running(tmp_path / "poor", QuickEngine(), keys=(KEY,), balance=2.0) as server:
        use(server, monkeypatch)
        done = work(
            place.manifest("spring.csv", 4, "slow"), *quiet, "--notify", f"{hub.url.replace('http:', 'json:')}/chat"
        )
    assert done.exit_code == 6, done.stderr
    assert [title for title, _ in sent] == ["batchswap: spring: out of credits"]
    assert "the message to json:// failed: it answered 500" in done.stderr
    assert len(chats(hub)) == 1
    assert "Top up the account first: the next run continues." in chats(hub)[0]


def test_ctrl_c_ends_the_messages_only(shop: Place, _server: Running, hub: Receiver) -> None:
    hub.answers = {"/chat": [HANG] * 3, "/hook": [HANG] * 3}
    env = environment(_server.base_url, shop.folder.parent / "home")
    env |= {
        "BATCHSWAP_NOTIFY": f"{hub.url.replace('http:', 'json:')}/chat",
        "BATCHSWAP_NOTIFY_ON": "always",
        "BATCHSWAP_WEBHOOK_URL": f"{hub.url}/hook",
        "BATCHSWAP_WEBHOOK_SECRET": SECRET,
    }
    name = shop.manifest("spring.csv", 1)
    with (shop.folder / "said").open("w+") as said:
        run = start(shop.folder, env, "run", name, stderr=said.fileno())
        wait_for(hub, "/chat")
        wait_for(hub, "/hook")
        run.send_signal(signal.SIGINT)
        assert run.wait(30) == 0
        said.seek(0)
        lines = said.read().splitlines()
    assert lines[-1].startswith("done: 1 done")
    assert [line.partition(" failed: ")[2] for line in lines[-3:-1]] == ["interrupted", "interrupted"]
