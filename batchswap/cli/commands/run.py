"""`batchswap run`: enrol the rows, run them, and write the last line."""

import asyncio
import logging
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from batchswap.cli.command_options import RunOptions
from batchswap.cli.commands.plan import show_plan
from batchswap.cli.console import Console, print_json
from batchswap.cli.main import judge
from batchswap.cli.progress import choose
from batchswap.cli.settings_from_options import build_reading, build_settings, build_sources, mode_of, standard_input
from batchswap.cli.user_files import ARGUMENTS, key_words, may_name_people, resumable
from batchswap.errors import BatchswapError, Exit, LedgerBusy, LedgerError, UsageError
from batchswap.events import LogEvent, report
from batchswap.ledger.enrolment.duplicates import DuplicateRows
from batchswap.network import routes_of
from batchswap.notifications.channels import open_channels
from batchswap.notifications.run_messages import RunMessages
from batchswap.operations.ledger_access import reading
from batchswap.operations.provider import find_account
from batchswap.operations.run_steps import back_up, enrolled_in, work_off_at
from batchswap.report import run_result
from batchswap.report.duplicate_rows import refusal
from batchswap.report.formatting import plural
from batchswap.report.plan import encoding_words
from batchswap.runner.background import together
from batchswap.runner.summary import Summary
from batchswap.settings import Settings
from batchswap.states import State

if TYPE_CHECKING:
    from batchswap.metrics.textfile import MetricsFile

NAMED = 5
"""Results that could not be signed, and are named."""


def run(console: Console, options: RunOptions) -> int:
    """Run; with --dry-run only plan; with --if-running skip do nothing while another run uses the ledger."""
    if options.dry_run:
        return show_plan(console, options)
    arguments = resumable(click.get_current_context().find_root().meta.get(ARGUMENTS, ()))
    resume = shlex.join(["batchswap", *arguments])
    metrics = metrics_file(console, options)
    channels = open_channels(options.notify, options.notify_on, options.ping_url, options.webhook_url, options.proxy)
    shown = "" if may_name_people(arguments) else resume
    messages = RunMessages(channels, options.db, manifests=options.manifests, mode=mode_of(options), resume=shown)
    try:
        return work(console, options, resume, messages, metrics)
    except LedgerBusy as error:
        if options.if_running != "skip":
            messages.fail(error.exit, str(error), error)
            raise
        console.at_exit.clear()  # the other run writes the metrics
        words = f"skipped: another run is using {options.db}"
        document = {"exit_code": int(Exit.DONE), "reason": words}
        messages.skip(document, words)
        if options.as_json:
            print_json(document)
        console.conclude(words, is_news=not (options.tick or options.submit_only))
        return Exit.DONE
    except BaseException as error:
        messages.fail(*judge(error), error)
        raise


def metrics_file(console: Console, options: RunOptions) -> "MetricsFile | None":
    """Return the file of --metrics-file, which is written when the command ends, however it does."""
    if options.metrics_file is None:
        return None
    from batchswap.metrics.textfile import MetricsFile

    metrics = MetricsFile(options.metrics_file, options.db)
    console.at_exit.append(metrics.finish)
    return metrics


def work(
    console: Console, options: RunOptions, resume: str, messages: RunMessages, metrics: "MetricsFile | None"
) -> int:
    """Run, from the checks to the last line."""
    if metrics is not None:
        metrics.check()
    if options.report is not None:
        check_report(options.report, options.db)
    if options.sign is not None:
        check_keys(options, options.sign)
    report(LogEvent.KEY_HOST, key_words(click.get_current_context()), logging.DEBUG)
    settings = build_settings(options)
    account = find_account(settings)
    if settings.visible_label:
        report(LogEvent.VISIBLE_LABEL, encoding_words(settings.visible_label))
    try:
        with enrolled_in(
            settings,
            build_sources(options.manifests, options),
            build_reading(options),
            account,
            stdin=standard_input(),
            wait=options.if_running == "wait",
        ) as batch:
            settings = batch.settings
            watch = choose(console, progress=not options.no_progress, title=", ".join(settings.batches))
            watch = messages.begin(watch, settings.batches)
            if metrics is not None:
                watch = together(watch, metrics.watch)
            summary = asyncio.run(work_off_at(settings, account, watch=watch))
    except DuplicateRows as error:
        raise UsageError(refusal(error.found, settings.db, lambda more: f"{resume} {more}")) from None
    if options.backup:
        back_up(summary, batch.enrolled, settings.min_free)
    settings = msgspec.structs.replace(settings, db=Path(summary.ledger))
    if metrics is not None:
        metrics.ledger = settings.db
    if options.sign is not None and summary.signed < summary.counts[State.DONE]:
        summary = sign_the_rest(summary, options, options.sign, settings)
    page = write_report(options.report, options, settings) if options.report is not None else None
    seen = run_result.RunRemains()
    with suppress(LedgerError), reading(settings.db) as db:  # the outcome is known even if the ledger cannot be read
        seen = run_result.look(db, summary, settings.out, batch.before, settings.db)
    is_news = run_result.is_news(summary, settings, batch.before, batch.last)
    for event, words in run_result.remarks(summary, settings, seen):
        report(event, words, logging.WARNING if is_news else logging.INFO)
    line = run_result.last_line(summary, settings, resume, seen)
    messages.end(summary.to_json(), settings.db, line, page)
    if options.as_json:
        print_json(summary.to_json() | ({"warnings": console.unwritten} if console.unwritten else {}))
    console.conclude(line, is_news=is_news, **(summary.to_json() if console.is_json and not options.as_json else {}))
    return summary.exit_code


def check_report(place: Path, db: Path) -> None:
    """Raise UsageError if no report can be written there, before anything is paid."""
    from batchswap.report import page  # needs the extra

    page.check(place, db)


def write_report(place: Path, options: RunOptions, settings: Settings) -> Path | None:
    """Write the report of the run, and return its page. A failure is a warning: the run itself is complete."""
    from batchswap.report import page

    try:
        with reading(settings.db) as db:
            written = page.write(
                db, settings.db, place, batches=settings.batches, pictures=options.pictures, settings=settings
            )
    except (BatchswapError, OSError) as error:
        report(LogEvent.REPORT_SKIPPED, f"the report was not written: {error}", logging.WARNING)
        return None
    report(LogEvent.REPORT_WRITTEN, f"report: {written.words}")
    return written.page


def check_keys(options: RunOptions, keys: Path) -> None:
    """Raise UsageError if nothing can be signed with these keys, before anything is paid. Report remarks on them."""
    from batchswap.operations.sign import SignOrder, check  # needs the extra

    for words in check(SignOrder(options.db, options.out, keys, timestamp_url=options.timestamp_url)):
        report(LogEvent.KEYS, words, logging.WARNING)


def sign_the_rest(summary: Summary, options: RunOptions, keys: Path, settings: Settings) -> Summary:
    """Sign the results of the batches that earlier runs have left unsigned. Return the summary with their number."""
    from batchswap.operations.sign import SignOrder, sign_results

    order = SignOrder(
        settings.db,
        options.out,
        keys,
        timestamp_url=options.timestamp_url,
        label=not options.no_label,
        batches=settings.batches,
        routes=routes_of(settings.proxy),
    )
    try:
        outcome = sign_results(order)
    except BatchswapError as error:  # such as the next run, which has just begun
        report(LogEvent.RESULT_NOT_SIGNED, f"earlier results are not signed: {error}", logging.WARNING)
        return summary
    for words in outcome.failed[:NAMED]:
        report(LogEvent.RESULT_NOT_SIGNED, words, logging.WARNING)
    if outcome.signed:
        report(LogEvent.SIGNED, f"signed {plural(outcome.signed, 'result')} of earlier runs")
    return msgspec.structs.replace(summary, signed=summary.signed + outcome.signed)
