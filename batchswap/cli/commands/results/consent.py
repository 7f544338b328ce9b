"""`batchswap consent`: withdraw a release, and restore it."""

import shlex
import sys
from typing import Any

import click

from batchswap.cli.config import is_typed
from batchswap.cli.console import Console, print_json, print_lines
from batchswap.cli.result_options import ConsentOptions
from batchswap.errors import Exit, UsageError
from batchswap.operations import withdrawal
from batchswap.operations.withdrawal import Withdrawal
from batchswap.report.formatting import iso, plural, safe
from batchswap.report.next_commands import command


def consent(console: Console, options: ConsentOptions) -> int:
    """Withdraw or restore a release."""
    if options.action == "restore":
        return _restore(console, options)
    ctx = click.get_current_context()
    found = withdrawal.withdraw(options.db, options.out, options.reference)
    if not options.as_json:
        print_lines(_lines(found))
    is_asked = options.delete and is_typed(ctx, "delete")
    is_agreed = is_asked and _is_agreed(found, is_sure=options.yes and is_typed(ctx, "yes"))
    if is_agreed:
        withdrawal.delete(options.db, found)
    if options.as_json:
        print_json(_document(found))
    console.conclude("; ".join(_conclusion(found, options, is_agreed=is_agreed)))
    return Exit.FAILED if is_agreed and found.left else Exit.DONE


def _restore(console: Console, options: ConsentOptions) -> int:
    is_changed = withdrawal.restore(options.db, options.reference)
    if options.as_json:
        print_json({"reference": options.reference, "withdrawn_at": None})
    if not is_changed:
        console.conclude(f"{safe(options.reference)} was not withdrawn")
        return Exit.DONE
    again = command("retry", options.db, options="--state cancelled --code release-withdrawn")
    console.conclude(f"{safe(options.reference)} is no longer withdrawn; to queue its cancelled tasks: `{again}`")
    return Exit.DONE


def _is_agreed(found: Withdrawal, *, is_sure: bool) -> bool:
    """Return whether the user wants the listed files to be deleted. Raise UsageError if nobody can be asked."""
    if is_sure:
        return True
    words = f"{plural(found.files, 'file')} of {plural(len(found.results), 'result')} will be deleted for good"
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"{found.reference} is withdrawn; {words}: add --yes to delete them")
    return click.confirm(f"{words}. Delete them?", err=True)


def _lines(found: Withdrawal) -> list[str]:
    lines = []
    for each in found.results:
        lines += [safe(f"{each.name}: {place.final}") for place in each.files]
        lines += [safe(f"{each.name}: {path} {reason}: it is not deleted") for path, reason in each.left.items()]
        if not each.files and not each.left:
            lines.append(safe(f"{each.name}: no file"))
    return lines + [safe(f"{part.name}: {part.path}") for part in found.parts]


def _conclusion(found: Withdrawal, options: ConsentOptions, *, is_agreed: bool) -> list[str]:
    files = plural(found.deleted, "file") + " deleted" if is_agreed else plural(found.files, "file")
    parts = [f"{safe(found.reference)} is withdrawn: {plural(len(found.results), 'result')}, {files}"]
    if found.cancelled:
        parts.append(f"{plural(found.cancelled, 'queued task')} cancelled")
    if found.in_progress:
        are = "task is" if found.in_progress == 1 else "tasks are"
        words = f"{found.in_progress:,} {are} paid or uncertain: take the rows out of the manifest, run it to collect"
        parts.append(f"{words} the results, then repeat this command")
    if found.left:
        parts.append(f"{plural(found.left, 'file')} not deleted, for the reasons above" if is_agreed else "")
    if found.files and not is_agreed:
        place = "" if str(options.out) == "results" else f"--out {shlex.quote(str(options.out))} "
        delete = command("consent withdraw", options.db, options.reference, options=f"{place}--delete")
        parts.append(f"to delete the files: `{delete}`")
    return [part for part in parts if part]


def _document(found: Withdrawal) -> dict[str, Any]:
    return {
        "reference": found.reference,
        "withdrawn_at": iso(found.at),
        "cancelled": found.cancelled,
        "in_progress": found.in_progress,
        "deleted": found.deleted,
        "results": [
            {
                "batch": each.stored.batch,
                "key": each.stored.key,
                "sha256": each.stored.sha256,
                "files": [str(place.final) for place in each.files],
                "left": [{"file": path, "reason": reason} for path, reason in each.left.items()],
            }
            for each in found.results
        ],
        "parts": [str(part.path) for part in found.parts],
    }
