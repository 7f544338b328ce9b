"""`batchswap faces`: detect the faces in a target and save a picture of each. Free of charge."""

import asyncio
import hashlib
import itertools
import os
import re
import tempfile
from pathlib import Path

import msgspec

from batchswap.cli.command_options import FacesOptions
from batchswap.cli.console import Console, columns, print_json, print_lines
from batchswap.cli.settings_from_options import build_settings
from batchswap.downloads import Downloader, Place, is_on_private_address, picture_size, publish
from batchswap.errors import EngineError, Exit, Flaw, MissingExtra, UsageError
from batchswap.events import LogEvent, report
from batchswap.local import engine as local_engine
from batchswap.local.server.work.engine_interface import Engine
from batchswap.manifest.inputs import checked_path, checked_url
from batchswap.manifest.outputs import safe_part, stem
from batchswap.network import routes_of
from batchswap.operations.provider import find_account, opened, require_engine
from batchswap.report import faces as formats
from batchswap.report.faces import Cast, Face, to_html
from batchswap.runner.prepare.steps import TaskInvalid
from batchswap.runner.prepare.uploads import check_file
from batchswap.runner.standalone_calls import free_calls
from batchswap.settings import Settings
from batchswap.tasks import MediaKind, is_url

SHEET, MARK = "faces.html", ".target"
STILLS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def faces(console: Console, options: FacesOptions) -> int:
    """Detect the faces, save their pictures, and print their ids."""
    settings, target = build_settings(options), options.target
    check_target(target, settings.max_upload)
    if settings.provider == "local":
        require_engine()
    own = own_folder(options.folder, target)
    cast = asyncio.run(find(settings, target, options.kind or kind_of(target), own))
    sheets = draw(cast, own)
    if options.as_json:
        print_json(formats.to_json(cast, sheets))
    elif options.format == "yaml":
        print_lines(formats.to_yaml(cast))
    else:
        print_lines(formats.to_table(cast, columns()))
    console.conclude(f"contact sheet: {', '.join(map(str, sheets))}")
    return Exit.DONE


def kind_of(target: str) -> MediaKind:
    """Return whether a target is a video or an image, by its ending."""
    path = target.partition("?")[0].partition("#")[0].lower()
    return "image" if path.endswith(STILLS) else "video"


def check_target(target: str, most: int) -> None:
    """Raise UsageError for a target that no row of a manifest could have."""
    try:
        if is_url(target):
            checked_url(target)
        else:
            checked_path(target)
            check_file(Path(target), Path(target).stat(), most)
    except Flaw as flaw:
        raise UsageError(f"the target {flaw}") from None
    except TaskInvalid as invalid:
        raise UsageError(invalid.reason) from None
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror}") from None


def own_folder(folder: Path, target: str) -> Path:
    """Return a folder for this target alone, new or cleared of what an earlier call put there. Raises UsageError.

    Another target of the same name keeps its own: manifests refer to the pictures in it.
    """
    name, mark = safe_part(stem(target)), mark_of(target)
    numbered = (folder / (name if number == 1 else f"{name}-{number}") for number in itertools.count(1))
    own = folder
    try:
        own = next(own for own in numbered if is_free(own, mark))
        own.mkdir(parents=True, exist_ok=True)
        (own / SHEET).touch()
        (own / MARK).write_text(mark, encoding="utf-8")
        for path in [path for path in own.iterdir() if re.fullmatch(r"face-[0-9]+\.[a-z]+", path.name)]:
            path.unlink()
    except OSError as error:
        raise UsageError(f"{error.filename or own}: {error.strerror}") from error
    return own


def mark_of(target: str) -> str:
    """Return what tells a target from others of its name: a digest, because a query may be signed."""
    place = target if is_url(target) else os.path.realpath(target)
    return hashlib.sha256(os.fsencode(place)).hexdigest()


def is_free(own: Path, mark: str) -> bool:
    """Return whether a folder is this target's, or empty. Raises UsageError for one that this command did not make."""
    if not own.is_dir() or not any(own.iterdir()):
        return True
    if not (own / SHEET).is_file():
        raise UsageError(f"{own} is there already, and this command did not make it: name another --out")
    return (own / MARK).is_file() and (own / MARK).read_text(encoding="utf-8") == mark


async def find(settings: Settings, target: str, kind: MediaKind, folder: Path, engine: Engine | None = None) -> Cast:
    """Detect, and save the pictures. A local server has a folder of its own: a run may be using the other one."""
    account = find_account(settings)
    with tempfile.TemporaryDirectory(prefix="batchswap-faces-") as place:
        apart = settings if account else msgspec.structs.replace(settings, db=Path(place, "batchswap.db"))
        async with opened(apart, account, engine) as who, free_calls(apart, who) as calls:
            url = target if is_url(target) else await calls.upload(Path(target))
            found = await calls.detect(kind, url)
            routes = routes_of(settings.proxy)
            private = await is_on_private_address(who.base_url, routes)
            async with Downloader(allow_private=private, routes=routes) as downloader:
                saved = [await save(downloader, face.id, face.link, folder) for face in found.faces]
    return Cast(target, kind, tuple(saved))


async def save(downloader: Downloader, face_id: int, link: str, folder: Path) -> Face:
    """Save the picture of one face as a file. Raises DownloadError."""
    ending = Path(link.partition("?")[0]).suffix.lower()
    place = Place(folder, f"face-{face_id}{ending if ending in STILLS else '.jpg'}")
    verified = await downloader.fetch(link, place, kind="image")
    await publish(place, verified)
    width, height = picture_size(place.final) or (0, 0)
    return Face(face_id, place.final, verified.media_type, width, height)


def draw(cast: Cast, folder: Path) -> list[Path]:
    """Draw the contact sheet: HTML always, PNG where the extra is installed that can draw."""
    page, sheet = folder / SHEET, folder / "faces.png"
    page.write_text(to_html(cast), encoding="utf-8")
    if not cast.faces:
        return [page]
    try:
        local_engine.draw_sheet([(str(face.id), face.picture) for face in cast.faces], sheet)
    except (MissingExtra, EngineError) as error:
        sheet.unlink(missing_ok=True)
        report(LogEvent.SHEET_SKIPPED, f"no contact sheet as PNG: {error}")
        return [page]
    return [page, sheet]
