"""`batchswap check`: find mistakes in manifests. Only options make it read the ledger or use the network."""

import asyncio
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import msgspec

from batchswap import manifest
from batchswap.cli.command_options import CheckOptions
from batchswap.cli.config import is_typed
from batchswap.cli.console import Console, print_json, print_lines
from batchswap.cli.file_progress import shown_progress
from batchswap.cli.settings_from_options import build_reading, build_sources, run_command, standard_input
from batchswap.client.http import check_base_url
from batchswap.downloads import is_on_private_address
from batchswap.errors import Exit, ManifestErrors, UsageError
from batchswap.events import LogEvent, report
from batchswap.ledger import releases
from batchswap.ledger.enrolment.duplicate_preview import Lookout
from batchswap.ledger.enrolment.duplicates import Duplicate
from batchswap.ledger.enrolment.input_files import hash_file
from batchswap.ledger.file import connection
from batchswap.network import routes_of
from batchswap.operations import provider
from batchswap.operations.ledger_access import reading
from batchswap.preflight.close_look import InputLook
from batchswap.preflight.faces.pool import LookPool
from batchswap.preflight.faces.search import FaceSearch
from batchswap.preflight.media import Findings, Use, examine, uses
from batchswap.report import log_mismatch
from batchswap.report.duplicate_rows import refusal, sentence
from batchswap.report.formatting import plural, safe, span
from batchswap.settings import Settings

NAMES = {False: "targets", True: "face pictures"}
HERE = "http://127.0.0.1"


def check(console: Console, options: CheckOptions) -> int:
    """Check the manifests and, with --db and --media, the ledger and the inputs."""
    rows = manifest.read(build_sources(options.manifests, options), _reading_options(options), standard_input())
    if not options.media and is_typed(click.get_current_context(), "fetch"):
        raise UsageError("--fetch: only --media looks at targets")
    try:
        named = _read(rows, media=options.media)
    except ManifestErrors as errors:
        return _conclude(console, options, {}, errors.problems)
    again = [] if options.db is None else _duplicates(options, options.db)
    if again and options.db is not None and options.duplicates == "refuse":
        return _refuse(console, options, options.db, again)
    found = asyncio.run(_examine(console, options, named)) if options.media else None
    return _conclude(console, options, rows.counts, found.problems if found else [], found)


def _reading_options(options: CheckOptions) -> manifest.Options:
    """Return the options for reading rows. With --db, the releases that the ledger has as withdrawn count."""
    if options.db is None or not connection.exists(options.db):
        return build_reading(options)
    with reading(options.db) as ledger:
        return msgspec.structs.replace(build_reading(options), withdrawn=releases.withdrawn(ledger))


def _read(reading: Any, *, media: bool) -> list[Use]:
    """Read all rows. Return their inputs if `media`, else nothing. Raise ManifestErrors."""
    if media:
        return uses(reading)
    for _ in reading:
        pass
    return []


def _duplicates(options: CheckOptions, db: Path) -> list[Duplicate]:
    """Return rows that have the same inputs as a task of another batch. The ledger is only read."""
    sources = build_sources(options.manifests, options)
    if any(source.path == manifest.STDIN for source in sources):
        raise UsageError("--db: standard input cannot be compared with a ledger; use `batchswap plan`")
    if not connection.exists(db):
        report(LogEvent.LEDGER_MISSING, f"{db}: there is no ledger yet")
    settings = Settings(db=db, provider=options.provider, base_url=options.base_url)
    with reading(db) if connection.exists(db) else nullcontext() as ledger:
        if ledger is not None and (lag := log_mismatch.look(ledger)).count:
            report(LogEvent.LEDGER_BEHIND, lag.words(db, options.out), logging.WARNING)
        lookout = Lookout(ledger, provider.account_name(settings, None), hash_file, has_several=len(sources) > 1)
        for chunk in manifest.read(sources, build_reading(options)):
            lookout.look(chunk)
        return lookout.found()


def _refuse(console: Console, options: CheckOptions, db: Path, again: list[Duplicate]) -> int:
    if options.as_json:
        problems = [{"file": each.file, "line": each.line, "field": None, "message": sentence(each)} for each in again]
        print_json({"batches": {}, "problems": problems})
    console.fail(refusal(again, db, run_command(db, options.manifests, options, options.provider)))
    return Exit.USAGE


async def _examine(console: Console, options: CheckOptions, named: list[Use]) -> Findings:
    is_local, fetch = options.provider == "local", options.fetch or 0
    kinds = {use.role == "face" for use in named if use.folder or (fetch and use.role != "face")}
    problems = provider.check_engine() if kinds else []
    if problems:
        inputs = " and ".join(words for is_face, words in NAMES.items() if is_face in kinds)
        report(LogEvent.CHECKED, f"the {inputs} are not checked for faces: {problems[0]}", logging.WARNING)
    routes = routes_of(options.proxy)
    private = is_local or await is_on_private_address(check_base_url(options.base_url), routes)
    usable, base_url = bool(kinds) and not problems, HERE if is_local else options.base_url
    looks = LookPool(len(named))
    async with FaceSearch(looks, fetch=fetch, base_url=base_url, routes=routes) as search:
        with shown_progress(console, "looking for faces", is_shown=not options.as_json) as progress:
            return await examine(
                named,
                allow_private=private,
                largest=options.max_upload,
                close=InputLook(looks, search, progress, is_local=is_local) if usable else None,
                is_local=is_local and usable,
                routes=routes,
            )


def _conclude(
    console: Console, options: CheckOptions, counts: dict[str, int], problems: list[Any], found: Findings | None = None
) -> int:
    if options.as_json:
        document = {"batches": {} if problems else counts, "problems": [_problem(each) for each in problems]}
        if found is not None:
            document["remarks"] = [_problem(each) for each in found.remarks]
            names = ("files", "urls", "faces", "targets", "seconds")
            document["media"] = {name: getattr(found, name) for name in names}
        print_json(document)
    elif not problems:
        print_lines(safe(f"{batch}: {plural(rows, 'row')}, no mistakes found") for batch, rows in counts.items())
    if found is not None:
        for each in found.remarks:
            report(LogEvent.INPUT_SUSPECT, str(each), logging.WARNING)
        videos = f" ({span(found.seconds)} of video)" if found.seconds else ""
        report(
            LogEvent.CHECKED,
            f"checked {plural(found.files, 'file')}{videos} and {plural(found.urls, 'URL')};"
            f" found a face in {plural(found.faces, 'picture')} and {plural(found.targets, 'target')}",
        )
    if problems:
        console.fail(str(ManifestErrors(problems)))
        return Exit.USAGE
    return Exit.DONE


def _problem(each: Any) -> dict[str, Any]:
    return {"file": each.file, "line": each.line, "field": each.field, "message": each.message}
