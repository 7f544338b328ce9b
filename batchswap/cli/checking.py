"""`batchswap check`: everything that is wrong with manifests, without touching ledger or network."""

import sys
from typing import Any

import click

from batchswap.cli import options
from batchswap.cli.voice import Voice
from batchswap.errors import ManifestErrors


@click.command(cls=options.Command, short_help="validate manifests without touching ledger or network")
@options.MANIFESTS
@options.OUT
@options.READING
@options.JSON
@click.pass_obj
def check(voice: Voice, /, manifests: tuple[str, ...], as_json: bool, **asked: Any) -> int:
    """Validate manifests without touching ledger or network; every error with file:line."""
    from batchswap import manifest
    from batchswap.cli.building import build_reading, build_sources
    from batchswap.cli.printing import print_json, print_lines
    from batchswap.report.words import plural, safe

    stdin = None if sys.stdin is None else sys.stdin.buffer
    try:
        counts = manifest.check(build_sources(manifests, **asked), build_reading(**asked), stdin)
    except ManifestErrors as errors:
        if as_json:
            print_json({"batches": {}, "problems": [_problem(each) for each in errors.problems]})
        voice.fail(str(errors))
        return errors.exit
    if as_json:
        print_json({"batches": counts, "problems": []})
    else:
        print_lines(safe(f"{batch}: {plural(rows, 'row')}") for batch, rows in counts.items())
    return 0


def _problem(each: Any) -> dict[str, Any]:
    return {"file": each.file, "line": each.line, "field": each.field, "message": each.message}
