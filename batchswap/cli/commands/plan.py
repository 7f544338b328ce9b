"""`batchswap plan`: what a run would do. Nothing is charged, and nothing is written."""

import sys
from typing import Any

import click

from batchswap.cli import options
from batchswap.cli.console import Voice
from batchswap.cli.going import complete
from batchswap.errors import Exit


@click.command(cls=options.Command, short_help="what a run would do; nothing is charged")
@options.MANIFESTS
@options.WORKING
@options.JSON
@click.pass_obj
def plan(voice: Voice, /, manifests: tuple[str, ...], **asked: Any) -> int:
    """What a run would do: new, changed, unfinished, done, orphaned rows; estimated credits, requests and time.

    Nothing is charged and nothing is written.
    """
    return show_plan(voice, manifests, asked)


def show_plan(voice: Voice, /, manifests: tuple[str, ...], asked: dict[str, Any]) -> int:
    """`plan`, and `run --dry-run`."""
    from batchswap.cli.hearing import listen
    from batchswap.cli.printing import print_json, print_lines
    from batchswap.cli.settings_from_options import build_reading, build_settings, build_sources, run_command
    from batchswap.operations import plan as planning
    from batchswap.operations.provider import find_account_or_refusal
    from batchswap.report import stored_files
    from batchswap.report.duplicate_rows import refusal

    listen(voice)
    settings = build_settings(**asked)
    account = find_account_or_refusal(settings)
    stdin = None if sys.stdin is None else sys.stdin.buffer
    found = planning.survey(settings, build_sources(manifests, **asked), build_reading(**asked), account, stdin)
    work, lag, disk = found.work, found.behind, found.results
    plan = found.with_prices(complete(planning.find_prices(settings, work, account)))
    if asked["as_json"]:
        if work.kept:
            voice.say(work.kept)
        print_json({**plan.to_json(), "behind": lag.count, "results": disk.to_json()})
    else:
        print_lines(plan.to_lines())
        print_lines(stored_files.lines(disk, settings.db, settings.out))
    if lag.count:
        voice.say(lag.words(settings.db, settings.out), "warning")
    if work.duplicates and settings.duplicates == "refuse":
        voice.fail(refusal(work.duplicates, settings.db, run_command(settings.db, manifests, asked)))
        return Exit.USAGE
    return Exit.DONE
