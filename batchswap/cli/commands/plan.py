"""`batchswap plan`: show what a run would do. Nothing is charged and nothing is written."""

import asyncio
import logging

from batchswap.cli.command_options import PlanOptions
from batchswap.cli.console import Console, print_json, print_lines
from batchswap.cli.options import WorkOptions
from batchswap.cli.settings_from_options import (
    build_reading,
    build_settings,
    build_sources,
    run_command,
    standard_input,
)
from batchswap.errors import Exit
from batchswap.events import LogEvent, report
from batchswap.operations.provider import find_account_or_refusal
from batchswap.operations.survey import find_prices, survey
from batchswap.report import stored_files
from batchswap.report.duplicate_rows import refusal


def plan(console: Console, options: PlanOptions) -> int:
    """Print the plan of a run."""
    return show_plan(console, options)


def show_plan(console: Console, options: WorkOptions) -> int:
    """Print the plan of a run with these options, and return the exit code."""
    settings = build_settings(options)
    account, sources = find_account_or_refusal(settings), build_sources(options.manifests, options)
    found = survey(settings, sources, build_reading(options), account, standard_input())
    work, lag, disk = found.work, found.behind, found.results
    plan = found.with_prices(asyncio.run(find_prices(settings, work, account)))
    if options.as_json:
        if work.kept:
            report(LogEvent.OUTPUTS_KEPT, work.kept)
        print_json({**plan.to_json(), "behind": lag.count, "results": disk.to_json()})
    else:
        print_lines(plan.to_lines())
        print_lines(stored_files.lines(disk, settings.db, settings.out))
    if lag.count:
        report(LogEvent.LEDGER_BEHIND, lag.words(settings.db, settings.out), logging.WARNING)
    if work.duplicates and settings.duplicates == "refuse":
        command = run_command(settings.db, options.manifests, options, options.provider)
        console.fail(refusal(work.duplicates, settings.db, command))
        return Exit.USAGE
    return Exit.DONE
