"""`batchswap check`: everything that is wrong with manifests, without touching ledger or network unless asked to."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchswap.cli import options
from batchswap.cli.console import Voice
from batchswap.cli.going import complete
from batchswap.errors import Exit, ManifestErrors, UsageError

if TYPE_CHECKING:
    from batchswap.ledger.enrolment.duplicates import Duplicate
    from batchswap.preflight.media import Findings, Use


@click.command(cls=options.Command, short_help="validate manifests without touching ledger or network")
@options.MANIFESTS
@options.OUT
@options.READING
@options.flag("--media", help="also open the files, ask for the URLs, and look for faces in local pictures")
@options.option(
    "--db", type=options.FILE, default=None, metavar="FILE", help="also look into this ledger for rows paid already"
)
@options.DUPLICATES
@options.WHERE
@options.MAX_UPLOAD
@options.JSON
@click.pass_obj
def check(
    voice: Voice, /, manifests: tuple[str, ...], media: bool, db: Path | None, as_json: bool, **asked: Any
) -> int:
    """Validate manifests without touching ledger or network; every error with file:line.

    With --media every input is looked at once, before anything is paid: files are opened, URLs are asked for (without
    the key, and only at addresses that the provider reaches), and where the local engine is installed, local face
    pictures must have a face. With --provider local, the engine also says of every file whether it would take it.
    With --db the ledger is read, too: rows whose inputs another batch has are errors.
    """
    from batchswap import manifest
    from batchswap.cli.hearing import listen
    from batchswap.cli.settings_from_options import build_reading, build_sources

    listen(voice)
    stdin = None if sys.stdin is None else sys.stdin.buffer
    reading = manifest.read(build_sources(manifests, **asked), build_reading(**asked), stdin)
    try:
        named = _read(reading, media=media)
    except ManifestErrors as errors:
        return _tell(voice, {}, errors.problems, None, as_json=as_json)
    again = [] if db is None else _duplicates(voice, manifests, db, asked)
    if again and asked["duplicates"] == "refuse":
        return _refuse(voice, again, db or Path(), manifests, asked, as_json=as_json)
    found = complete(_examine(voice, named, asked)) if media else None
    return _tell(voice, reading.counts, found.problems if found else [], found, as_json=as_json)


def _read(reading: Any, *, media: bool) -> "list[Use]":
    """All rows, and with `media` what they name. Raises ManifestErrors."""
    from batchswap.preflight.media import uses

    if media:
        return uses(reading)
    for _ in reading:
        pass
    return []


def _duplicates(voice: Voice, manifests: tuple[str, ...], db: Path, asked: dict[str, Any]) -> "list[Duplicate]":
    """Rows whose inputs another batch of the ledger has. Nothing is written there."""
    from contextlib import nullcontext

    from batchswap import manifest
    from batchswap.cli.settings_from_options import build_reading, build_settings, build_sources
    from batchswap.ledger.enrolment.duplicate_preview import Lookout
    from batchswap.ledger.file import connection
    from batchswap.operations.ledger_access import reading
    from batchswap.operations.provider import account_name
    from batchswap.report import log_mismatch
    from batchswap.runner.prepare.uploads import hash_file

    sources = build_sources(manifests, **asked)
    if any(source.path == manifest.STDIN for source in sources):
        raise UsageError("--db: standard input cannot be compared with a ledger; use `batchswap plan`")
    if not connection.exists(db):
        voice.say(f"{db}: there is no ledger yet")
    settings = build_settings(db=db, provider=asked["provider"], base_url=asked["base_url"])
    with reading(db) if connection.exists(db) else nullcontext() as ledger:
        if ledger is not None and (lag := log_mismatch.look(ledger)).count:
            voice.say(lag.words(db, asked["out"]), "warning")
        lookout = Lookout(ledger, account_name(settings, None), hash_file, has_several=len(sources) > 1)
        for chunk in manifest.read(sources, build_reading(**asked)):
            lookout.look(chunk)
        return lookout.found()


def _refuse(
    voice: Voice,
    again: "list[Duplicate]",
    db: Path,
    manifests: tuple[str, ...],
    asked: dict[str, Any],
    *,
    as_json: bool,
) -> int:
    from batchswap.cli.printing import print_json
    from batchswap.cli.settings_from_options import run_command
    from batchswap.report.duplicate_rows import refusal, sentence

    if as_json:
        problems = [{"file": each.file, "line": each.line, "field": None, "message": sentence(each)} for each in again]
        print_json({"batches": {}, "problems": problems})
    voice.fail(refusal(again, db, run_command(db, manifests, asked)))
    return Exit.USAGE


async def _examine(voice: Voice, named: "list[Use]", asked: dict[str, Any]) -> "Findings":
    from batchswap.client.http import check_base_url
    from batchswap.downloads import is_on_private_address
    from batchswap.operations.provider import check_engine
    from batchswap.preflight.media import examine

    faces = any(use.role == "face" and use.folder for use in named)
    is_local = asked["provider"] == "local"
    wanted = faces or (is_local and any(use.folder for use in named))
    problems = check_engine() if wanted else []
    if problems and faces:
        voice.say(f"no faces are looked for in the pictures: {problems[0]}", "warning")
    private = is_local or await is_on_private_address(check_base_url(asked["base_url"]))
    usable = wanted and not problems
    return await examine(
        named,
        allow_private=private,
        largest=asked["max_upload"],
        find_faces=usable,
        is_local=is_local and usable,
    )


def _tell(voice: Voice, counts: dict[str, int], problems: list[Any], found: "Findings | None", *, as_json: bool) -> int:
    from batchswap.cli.printing import print_json, print_lines
    from batchswap.report.formatting import plural, safe, span

    if as_json:
        document = {"batches": {} if problems else counts, "problems": [_problem(each) for each in problems]}
        if found is not None:
            document["remarks"] = [_problem(each) for each in found.remarks]
            names = ("files", "urls", "faces", "seconds")
            document["media"] = {name: getattr(found, name) for name in names}
        print_json(document)
    elif not problems:
        print_lines(safe(f"{batch}: {plural(rows, 'row')}") for batch, rows in counts.items())
    if found is not None:
        for each in found.remarks:
            voice.say(str(each), "warning")
        videos = f" ({span(found.seconds)} of video)" if found.seconds else ""
        voice.say(
            f"looked at {plural(found.files, 'file')}{videos} and {plural(found.urls, 'URL')};"
            f" a face in {plural(found.faces, 'picture')}"
        )
    if problems:
        voice.fail(str(ManifestErrors(problems)))
        return Exit.USAGE
    return Exit.DONE


def _problem(each: Any) -> dict[str, Any]:
    return {"file": each.file, "line": each.line, "field": each.field, "message": each.message}
