"""`batchswap run`: enrol, work off, conclude."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from batchswap.cli import options
from batchswap.cli.console import Voice
from batchswap.cli.going import complete
from batchswap.errors import Exit, LedgerBusy, LedgerError, UsageError

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

    from batchswap.cli.hearing import listen
    from batchswap.cli.printing import print_json
    from batchswap.cli.progress import choose
    from batchswap.cli.settings_from_options import build_reading, build_settings, build_sources
    from batchswap.cli.user_files import key_words
    from batchswap.ledger.enrolment.duplicates import DuplicateRows
    from batchswap.operations.ledger_access import reading
    from batchswap.operations.provider import find_account
    from batchswap.operations.run import back_up, enrolled_in, work_off_at
    from batchswap.report.duplicate_rows import refusal
    from batchswap.report.run_result import last_line, look

    listen(voice)
    if voice.is_verbose:
        voice.say(key_words(click.get_current_context()))
    settings = build_settings(**asked)
    account = find_account(settings)
    sources, wait = build_sources(manifests, **asked), asked["if_running"] == "wait"
    stdin = None if sys.stdin is None else sys.stdin.buffer
    say, warn, options = voice.say, voice.warn, build_reading(**asked)
    try:
        with enrolled_in(settings, sources, options, account, stdin=stdin, say=say, warn=warn, wait=wait) as batch:
            settings = batch.settings
            watch = choose(voice, progress=not asked["no_progress"], title=", ".join(settings.batches))
            summary = complete(work_off_at(settings, account, say=say, warn=warn, watch=watch))
    except DuplicateRows as error:
        raise UsageError(refusal(error.found, settings.db, lambda options: f"{resume} {options}")) from None
    if asked["backup"]:
        back_up(summary, batch.enrolled, settings.min_free, lambda words: voice.say(words, "warning"))
    settings = msgspec.structs.replace(settings, db=Path(summary.ledger))
    try:
        with reading(settings.db) as db:
            line = last_line(summary, settings, resume, look(db, summary, settings.out, batch.before, settings.db))
    except LedgerError:  # how the run ended is known, whatever happened to the ledger at this moment
        line = last_line(summary, settings, resume)
    if asked["as_json"]:
        print_json(summary.to_json() | ({"warnings": voice.unheard} if voice.unheard else {}))
    voice.conclude(line, **(summary.to_json() if voice.is_json and not asked["as_json"] else {}))
    return summary.exit_code
