"""`batchswap verify`: compare result files with the ledger."""

import os

from batchswap.cli.command_options import VerifyOptions
from batchswap.cli.console import Console, print_json, print_lines
from batchswap.errors import Exit
from batchswap.operations.ledger_access import reading
from batchswap.operations.verification import FileFinding, Verification, Verifier
from batchswap.report.formatting import plural, safe, size


def verify(console: Console, options: VerifyOptions) -> int:
    """Print one line for each file that differs from the ledger."""
    with reading(options.db) as ledger:
        found = Verifier(ledger, options.out, _show_nothing).verify(options.paths)
    if options.as_json:
        print_json(_document(found))
    else:
        print_lines(safe(_line(each)) for each in found.problems)
    console.conclude(_words(found))
    return Exit.FAILED if found.problems else Exit.DONE


def _line(each: FileFinding) -> str:
    path = os.path.relpath(each.path)
    shown = each.path if path.startswith("..") else path
    return f"{each.task}: {shown} {each.message}" if each.task else f"{shown} {each.message}"


def _words(found: Verification) -> str:
    wrong = f"{plural(len(found.problems), 'problem')} found" if found.problems else "no problem found"
    parts = [f"{plural(found.checked, 'file')} compared with the ledger ({size(found.bytes)} as recorded): {wrong}"]
    if found.copies:
        parts.append(f"{found.copies:,} with the content of a result under another name")
    if found.deleted:
        parts.append(f"{plural(found.deleted, 'file')} no longer needed and deleted")
    return "; ".join(parts)


def _document(found: Verification) -> dict[str, object]:
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
    }


def _show_nothing(done: int, count: int) -> None:
    pass
