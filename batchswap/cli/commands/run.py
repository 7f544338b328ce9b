"""`batchswap run`: enrol, work off, conclude."""

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchswap.cli import options
from batchswap.cli.console import Voice
from batchswap.cli.going import complete
from batchswap.errors import Exit, LedgerBusy, LedgerError, UsageError
from batchswap.sqlite_errors import in_words

if TYPE_CHECKING:
    from batchswap.local.server.work.engine_interface import Engine
    from batchswap.manifest import Options, Source
    from batchswap.runner.background import Watch
    from batchswap.runner.enrol import Enrolled
    from batchswap.runner.run import Account
    from batchswap.runner.summary import Summary
    from batchswap.settings import Settings

ARGUMENTS = "batchswap.cli.arguments"


@click.command(cls=options.Command, short_help="work off manifests, and resume what an earlier run left")
@options.MANIFESTS
@options.WORKING
@options.BUSY
@options.BACKUP
@options.flag("-n", "--dry-run", help="the same as plan")
@options.TALKING
@options.JSON
@click.pass_context
def run(ctx: click.Context, /, manifests: tuple[str, ...], **asked: Any) -> int:
    """Enrol the rows of the manifests, work everything off, and resume whatever an earlier run left.

    Run the same command again after whatever happened: finished work costs nothing. "-" reads standard input.
    """
    voice: Voice = ctx.obj
    voice.tune(quiet=asked["quiet"], log_format=asked["log_format"])
    if asked["dry_run"]:
        from batchswap.cli.commands.plan import show_plan

        return show_plan(voice, manifests, asked)
    resume = shlex.join(["batchswap", *ctx.find_root().meta.get(ARGUMENTS, ())])
    try:
        return work(voice, manifests, asked, resume)
    except LedgerBusy:
        if asked["if_running"] != "skip":
            raise
        words = f"skipped: another run holds {asked['db']}"
        if asked["as_json"]:
            from batchswap.cli.printing import print_json

            print_json({"exit_code": Exit.DONE, "reason": words})
        voice.conclude(words)
        return Exit.DONE


def work(voice: Voice, manifests: tuple[str, ...], asked: dict[str, Any], resume: str) -> int:
    """The run, from its checks to its last line."""
    import msgspec

    from batchswap.cli.commands.backup import back_up
    from batchswap.cli.hearing import listen
    from batchswap.cli.printing import print_json
    from batchswap.cli.progress import choose
    from batchswap.cli.settings_from_options import build_reading, build_settings, build_sources
    from batchswap.cli.user_files import key_words
    from batchswap.ledger.enrolment.duplicates import DuplicateRows
    from batchswap.ledger.file import connection
    from batchswap.operations.ledger_access import reading
    from batchswap.operations.provider import account_name, find_account, require_engine
    from batchswap.report.duplicate_rows import refusal
    from batchswap.report.run_result import last_line, look

    listen(voice)
    if voice.is_verbose:
        voice.say(key_words(click.get_current_context()))
    settings = build_settings(**asked)
    account = find_account(settings)
    sources = build_sources(manifests, **asked)
    connection.exists(settings.db)  # what is no file is refused before anything is made beside it
    name = account_name(settings, account)
    with holding(settings.db, voice, wait=asked["if_running"] == "wait") as pin:
        try:
            enrolled = enrol(settings, sources, build_reading(**asked), name, pin, voice)
        except DuplicateRows as error:
            raise UsageError(refusal(error.found, settings.db, lambda options: f"{resume} {options}")) from None
        say_enrolled(voice, enrolled)
        settings = msgspec.structs.replace(settings, batches=enrolled.batches)
        before = counts_of(settings)
        if account is None and has_work(settings, before):
            require_engine()
        watch = choose(voice, progress=not asked["no_progress"], title=", ".join(enrolled.batches))
        summary = complete(work_off_at(settings, account, voice, watch))
    if asked["backup"] and (enrolled.has_changed or any(summary.requests.values())):
        back_up(voice, Path(summary.ledger), settings.min_free)
    settings = msgspec.structs.replace(settings, db=Path(summary.ledger))
    try:
        with reading(settings.db) as db:
            line = last_line(summary, settings, resume, look(db, summary, settings.out, before, settings.db))
    except LedgerError:  # how the run ended is known, whatever happened to the ledger at this moment
        line = last_line(summary, settings, resume)
    if asked["as_json"]:
        print_json(summary.to_json() | ({"warnings": voice.unheard} if voice.unheard else {}))
    voice.conclude(line, **(summary.to_json() if voice.is_json and not asked["as_json"] else {}))
    return summary.exit_code


@contextmanager
def holding(db: Path, voice: Voice, *, wait: bool) -> Iterator[Callable[[], None]]:
    """The ledger's locks; what is yielded is called when the ledger is made. Raises LedgerBusy."""
    from batchswap.ledger.file.lock import hold, is_held

    if wait and is_held(db):
        voice.say(f"another run holds {db}: waiting until it ends")
    with hold(db, wait=wait) as pin:
        yield pin


def enrol(
    settings: "Settings",
    sources: "list[Source]",
    reading: "Options",
    account: str = "",
    pin: Callable[[], None] = lambda: None,
    voice: Voice | None = None,
) -> "Enrolled":
    """The rows into the ledger, which is made if need be. When that fails, a ledger that was not there is not there.

    `account`: the name of the one that would pay. `pin` is called when the ledger is made. Raises DuplicateRows, and
    LedgerBehind when the submission log knows more of the ledger than it does itself.
    """
    from batchswap.ledger.enrolment.duplicates import Decision
    from batchswap.ledger.file import connection
    from batchswap.ledger.transitions import Stamp
    from batchswap.operations.log_access import attach_kept, consult_log
    from batchswap.runner.enrol import enrol_manifests

    existed = settings.db.exists()
    try:
        connection.create(settings.db)
        pin()
        with in_words(settings.db, in_use=True), closing(connection.connect(settings.db, write=True)) as db:
            stdin = None if sys.stdin is None else sys.stdin.buffer
            decision, stamp, voice = Decision(settings.duplicates), Stamp(time.time(), None), voice or Voice()
            consult_log(voice.say, voice.warn, db, settings, stamp, is_new=not existed)
            enrolled = enrol_manifests(db, stamp, sources, reading, stdin, account=account, decision=decision)
            attach_kept(voice.say, db, stamp)
            return enrolled
    except BaseException:
        if not existed:
            connection.discard(settings.db)
        raise


def say_enrolled(voice: Voice, enrolled: "Enrolled") -> None:
    """What the manifests brought."""
    from batchswap.report.formatting import plural

    done = enrolled.enrolment
    names = ", ".join(enrolled.batches)
    if enrolled.unchanged:
        voice.say(f"{names}: unchanged since it was last read")
    else:
        voice.say(f"{names}: {plural(done.rows, 'row')}, {done.new:,} new, {done.changed:,} changed")
    if done.kept:
        voice.say(done.kept)


def counts_of(settings: "Settings") -> dict[str, int]:
    """Tasks of the batches in each state."""
    from batchswap.ledger import queries
    from batchswap.operations.ledger_access import reading

    with reading(settings.db) as db:
        return queries.counts_in(db, settings.batches)


def has_work(settings: "Settings", counts: dict[str, int]) -> bool:
    """Whether any task is under way, or queued and asked for."""
    from batchswap.ledger.selections import Queue, selection_of
    from batchswap.operations.ledger_access import reading
    from batchswap.states import FINAL, State

    if any(counts[state] for state in State if state not in FINAL and state is not State.QUEUED):
        return True
    with reading(settings.db) as db:
        return next(Queue(db, selection_of(settings)).pages(), None) is not None


async def work_off_at(
    settings: "Settings", account: "Account | None", voice: Voice, watch: "Watch", engine: "Engine | None" = None
) -> "Summary":
    """The batches of `settings` at their provider."""
    from batchswap.operations.provider import opened
    from batchswap.runner.run import work_off

    async with opened(settings, account, engine) as who:
        with in_words(settings.db, in_use=True):
            return await work_off(settings, who, say=voice.say, warn=voice.warn, watch=watch)
