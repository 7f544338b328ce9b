"""`batchswap faces`: who is in a target, with ids and pictures. Free of charge."""

import hashlib
import itertools
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchswap.cli import options
from batchswap.cli.console import Voice
from batchswap.cli.going import complete
from batchswap.errors import Exit, UsageError

if TYPE_CHECKING:
    from batchswap.local.server.work.engine_interface import Engine
    from batchswap.report.faces import Cast
    from batchswap.settings import Settings

SHEET, MARK = "faces.html", ".target"
STILLS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@click.command(cls=options.Command, short_help="the faces that the API detects in a target, with ids and pictures")
@click.argument("target", metavar="VIDEO_OR_IMAGE")
@options.option(
    "--out", "--faces-folder", "folder", type=options.FOLDER, default=Path("faces"), metavar="DIR",
    help="where pictures and contact sheet go",
)  # fmt: skip
@options.option("--kind", type=click.Choice(["video", "image"]), default=None, help="of the target; else by its ending")
@options.option("--format", "style", type=click.Choice(["table", "yaml"]), default="table", help="of what is printed")
@options.PROVIDER
@options.MAX_UPLOAD
@options.JSON
@click.pass_obj
def faces(voice: Voice, /, target: str, folder: Path, kind: str | None, style: str, as_json: bool, **asked: Any) -> int:
    """The faces that the API detects in a video or image: their ids, and a picture of each.

    The target is a URL or a file, which is uploaded. Look at the contact sheet, then name new faces by these ids in a
    manifest; --format yaml prints a row to fill in. Nothing is charged.
    """
    from batchswap.cli.hearing import listen
    from batchswap.cli.printing import columns, print_json, print_lines
    from batchswap.cli.settings_from_options import build_settings
    from batchswap.report import faces as report

    listen(voice)
    settings = build_settings(**asked)
    check_target(target, settings.max_upload)
    if settings.provider == "local":
        from batchswap.operations.provider import require_engine

        require_engine()
    own = own_folder(folder, target)
    cast = complete(find(settings, target, kind or kind_of(target), own))
    sheets = draw(cast, own, voice)
    if as_json:
        print_json(report.to_json(cast, sheets))
    elif style == "yaml":
        print_lines(report.to_yaml(cast))
    else:
        print_lines(report.to_table(cast, columns()))
    voice.conclude(f"contact sheet: {', '.join(map(str, sheets))}")
    return Exit.DONE


def kind_of(target: str) -> str:
    """What a target is, by its ending."""
    path = target.partition("?")[0].partition("#")[0].lower()
    return "image" if path.endswith(STILLS) else "video"


def check_target(target: str, most: int) -> None:
    """Raises UsageError for what no row could name."""
    from batchswap.errors import Flaw
    from batchswap.manifest.inputs import checked_path, checked_url
    from batchswap.runner.prepare.steps import Unfit
    from batchswap.runner.prepare.uploads import check_file
    from batchswap.tasks import is_url

    try:
        if is_url(target):
            checked_url(target)
        else:
            checked_path(target)
            check_file(Path(target), Path(target).stat(), most)
    except Flaw as flaw:
        raise UsageError(f"the target {flaw}") from None
    except Unfit as unfit:
        raise UsageError(unfit.reason) from None
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror}") from None


def own_folder(folder: Path, target: str) -> Path:
    """A folder for this target alone, made anew or cleared of what an earlier call put there. Raises UsageError.

    Another target of the same name keeps its own: manifests refer to the pictures in it.
    """
    from batchswap.manifest.outputs import safe_part, stem

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
    """What tells a target from others of its name: a digest, because a query may be signed. Two may differ in it."""
    from batchswap.tasks import is_url

    place = target if is_url(target) else os.path.realpath(target)
    return hashlib.sha256(os.fsencode(place)).hexdigest()


def is_free(own: Path, mark: str) -> bool:
    """Whether a folder is this target's, or nobody's. Raises UsageError for one that this command did not make."""
    if not own.is_dir() or not any(own.iterdir()):
        return True
    if not (own / SHEET).is_file():
        raise UsageError(f"{own} is there already, and this command did not make it: name another --out")
    return (own / MARK).is_file() and (own / MARK).read_text(encoding="utf-8") == mark


async def find(settings: "Settings", target: str, kind: Any, folder: Path, engine: "Engine | None" = None) -> "Cast":
    """Detect, and save the pictures. A local server has a folder of its own: a run may be using the other one."""
    import msgspec

    from batchswap.downloads import Downloader, is_on_private_address
    from batchswap.operations.provider import find_account, opened
    from batchswap.report.faces import Cast
    from batchswap.runner.standalone_calls import errands
    from batchswap.tasks import is_url

    account = find_account(settings)
    with tempfile.TemporaryDirectory(prefix="batchswap-faces-") as place:
        apart = settings if account else msgspec.structs.replace(settings, db=Path(place, "batchswap.db"))
        async with opened(apart, account, engine) as who, errands(apart, who) as asking:
            url = target if is_url(target) else await asking.upload(Path(target))
            found = await asking.detect(kind, url)
            private = await is_on_private_address(who.base_url)
            async with Downloader(allow_private=private) as downloader:
                saved = [await save(downloader, face.id, face.link, folder) for face in found.faces]
    return Cast(target, kind, tuple(saved))


async def save(downloader: Any, face_id: int, link: str, folder: Path) -> Any:
    """One face's picture as a file. Raises DownloadError."""
    from batchswap.downloads import Place, picture_size, publish
    from batchswap.report.faces import Face

    ending = Path(link.partition("?")[0]).suffix.lower()
    place = Place(folder, f"face-{face_id}{ending if ending in STILLS else '.jpg'}")
    verified = await downloader.fetch(link, place, kind="image")
    await publish(place, verified)
    width, height = picture_size(place.final) or (0, 0)
    return Face(face_id, place.final, verified.media_type, width, height)


def draw(cast: "Cast", folder: Path, voice: Voice) -> list[Path]:
    """The contact sheet: HTML always, PNG where the extra is installed that can draw."""
    from batchswap.errors import EngineError, MissingExtra
    from batchswap.local import engine
    from batchswap.report.faces import to_html

    page, sheet = folder / SHEET, folder / "faces.png"
    page.write_text(to_html(cast), encoding="utf-8")
    if not cast.faces:
        return [page]
    try:
        engine.draw_sheet([(str(face.id), face.picture) for face in cast.faces], sheet)
    except (MissingExtra, EngineError) as error:
        sheet.unlink(missing_ok=True)
        voice.say(f"no contact sheet as PNG: {error}")
        return [page]
    return [page, sheet]
