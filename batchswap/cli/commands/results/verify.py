"""`batchswap verify`: compare result files with the ledger."""

import os

from batchswap.cli.console import Console, print_json, print_lines
from batchswap.cli.file_progress import shown_progress
from batchswap.cli.result_options import VerifyOptions
from batchswap.errors import Exit
from batchswap.ledger.file import connection
from batchswap.network import routes_of
from batchswap.operations import scores
from batchswap.operations.file_signatures import SignatureReader
from batchswap.operations.ledger_access import noting, reading
from batchswap.operations.verification import FileFinding, Verification, Verifier, verify_alone
from batchswap.provenance.verification import SignatureState
from batchswap.report.formatting import plural, safe, size
from batchswap.settings import Settings
from batchswap.states import Quality


def verify(console: Console, options: VerifyOptions) -> int:
    """Print one line for each file that differs from the ledger."""
    if options.score:
        scores.require()
        routes_of(options.proxy)  # raises
    examined: dict[str, int] | None = None
    is_shown = not options.as_json
    reader = SignatureReader(options.root)
    if options.paths and not options.score and not connection.exists(options.db):
        with shown_progress(console, "verifying files", is_shown=is_shown) as show:
            found = verify_alone(options.paths, reader, show)
        return _conclude(console, options, found, None, is_alone=True)
    with noting(options.db) if options.score else reading(options.db) as ledger:
        with shown_progress(console, "verifying files", is_shown=is_shown) as show:
            found = Verifier(ledger, options.out, show, reader).verify(options.paths, keep=options.score)
        if options.score:
            with shown_progress(console, "examining results", is_shown=is_shown) as show:
                settings = Settings(db=options.db, proxy=options.proxy)
                examined = scores.examine(ledger, settings, found.sound, show)
    return _conclude(console, options, found, examined)


def _conclude(
    console: Console,
    options: VerifyOptions,
    found: Verification,
    examined: dict[str, int] | None,
    *,
    is_alone: bool = False,
) -> int:
    if options.as_json:
        print_json(_document(found, examined))
    else:
        print_lines(safe(_line(each)) for each in found.problems)
    console.conclude(_words(found, examined, is_alone=is_alone))
    return Exit.FAILED if found.problems else Exit.DONE


def _line(each: FileFinding) -> str:
    path = os.path.relpath(each.path)
    shown = each.path if path.startswith("..") else path
    return f"{each.task}: {shown} {each.message}" if each.task else f"{shown} {each.message}"


def _words(found: Verification, examined: dict[str, int] | None, *, is_alone: bool) -> str:
    wrong = f"{plural(len(found.problems), 'problem')} found" if found.problems else "no problem found"
    how = "verified without a ledger" if is_alone else f"compared with the ledger ({size(found.bytes)} as recorded)"
    parts = [f"{plural(found.checked, 'file')} {how}: {wrong}"]
    if intact := sum(found.signatures.get(state, 0) for state in (SignatureState.VALID, SignatureState.TRUSTED)):
        parts.append(f"{plural(intact, 'intact signature')}")
    if found.labelled:
        parts.append(f"{found.labelled:,} labelled as synthetic")
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
        "signatures": {str(state): found.signatures.get(state, 0) for state in SignatureState},
        "labelled": found.labelled,
        "copies": found.copies,
        "deleted": found.deleted,
        "examined": examined,
    }
