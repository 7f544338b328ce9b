"""`batchswap verify`: compare result files with the ledger."""

import os

from batchswap.cli.command_options import VerifyOptions
from batchswap.cli.console import Console, print_json, print_lines
from batchswap.cli.file_progress import shown_progress
from batchswap.errors import Exit
from batchswap.operations import scores
from batchswap.operations.ledger_access import noting, reading
from batchswap.operations.verification import FileFinding, Verification, Verifier
from batchswap.report.formatting import plural, safe, size
from batchswap.states import Quality


def verify(console: Console, options: VerifyOptions) -> int:
    """Print one line for each file that differs from the ledger."""
    if options.score:
        scores.require()
    examined: dict[str, int] | None = None
    is_shown = not options.as_json
    with noting(options.db) if options.score else reading(options.db) as ledger:
        with shown_progress(console, "verifying files", is_shown=is_shown) as show:
            found = Verifier(ledger, options.out, show).verify(options.paths, keep=options.score)
        if options.score:
            with shown_progress(console, "examining results", is_shown=is_shown) as show:
                examined = scores.examine(ledger, options.db, found.sound, show)
    if options.as_json:
        print_json(_document(found, examined))
    else:
        print_lines(safe(_line(each)) for each in found.problems)
    console.conclude(_words(found, examined))
    return Exit.FAILED if found.problems else Exit.DONE


def _line(each: FileFinding) -> str:
    path = os.path.relpath(each.path)
    shown = each.path if path.startswith("..") else path
    return f"{each.task}: {shown} {each.message}" if each.task else f"{shown} {each.message}"


def _words(found: Verification, examined: dict[str, int] | None) -> str:
    wrong = f"{plural(len(found.problems), 'problem')} found" if found.problems else "no problem found"
    parts = [f"{plural(found.checked, 'file')} compared with the ledger ({size(found.bytes)} as recorded): {wrong}"]
    if found.copies:
        parts.append(f"{found.copies:,} with the content of a result under another name")
    if found.deleted:
        parts.append(f"{plural(found.deleted, 'file')} no longer needed and deleted")
    if examined is not None:
        counts = ", ".join(f"{n:,} {Quality(quality).words}" for quality, n in examined.items())
        parts.append(f"{plural(sum(examined.values()), 'result')} examined" + (f": {counts}" if counts else ""))
    return "; ".join(parts)


def _document(found: Verification, examined: dict[str, int] | None) -> dict[str, object]:
    problems = [
        {name: getattr(each, name) for name in ("task", "path", "problem", "message")} for each in found.problems
    ]
    return {
        "exit_code": Exit.FAILED if found.problems else Exit.DONE,
        "checked": found.checked,
        "bytes": found.bytes,
        "problems": problems,
        "copies": found.copies,
        "deleted": found.deleted,
        "examined": examined,
    }
