"""Check the inputs of manifests before anything is paid: open files, request URLs, look for faces."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from batchswap.downloads import Downloader, Glance, inspect, movie_seconds
from batchswap.errors import DownloadError, ManifestProblem
from batchswap.local.engine.media import file_types
from batchswap.manifest import Chunk
from batchswap.network import DIRECT, Routes
from batchswap.runner.prepare.steps import TaskInvalid
from batchswap.runner.prepare.uploads import check_file
from batchswap.tasks import Row, is_url, public

Role = Literal["video", "image", "face"]
AT_ONCE = 8
"""URLs that are requested at the same time."""
WALKED = frozenset({"JPEG", "PNG", "WebP", "Matroska"})
"""Formats other than MP4 in which `inspect` detects an incomplete file."""


class Use(msgspec.Struct, frozen=True):
    """An input, and the first row that names it. `folder` is "" for a URL.

    `is_primary`: the primary face of this target is swapped. The first such row takes precedence.
    """

    given: str
    role: Role
    folder: str
    file: str
    line: int
    field: str
    is_primary: bool = False

    @property
    def path(self) -> Path:
        return Path(self.folder, self.given)

    @property
    def shown(self) -> str:
        return public(self.given)

    def problem(self, message: str) -> ManifestProblem:
        return ManifestProblem(self.file, self.line, self.field, message)


class Findings(msgspec.Struct):
    """The findings. `seconds`: total length of the local videos whose length is known.

    `faces` and `targets` count the face pictures and the targets in which a face was found.
    """

    files: int = 0
    urls: int = 0
    faces: int = 0
    targets: int = 0
    seconds: float = 0.0
    problems: list[ManifestProblem] = []
    remarks: list[ManifestProblem] = []


CloseLook = Callable[[list[Use], Findings], Awaitable[None]]
"""Look for faces in these inputs, which can be opened or requested, and add to the findings."""


def uses(chunks: Iterable[Chunk]) -> list[Use]:
    """Return every input once, in the order of the manifests. Raise what `chunks` raises (ManifestErrors)."""
    found: dict[tuple[str, str, Role], Use] = {}
    for chunk in chunks:
        for row in chunk.rows:
            for given, role, field in _named(row):
                folder = "" if is_url(given) else chunk.folder
                use = Use(given, role, folder, chunk.file, row.line, field, role != "face" and bool(row.face))
                if use.is_primary > found.setdefault((folder, given, role), use).is_primary:
                    found[folder, given, role] = use
    return list(found.values())


def _named(row: Row) -> Iterator[tuple[str, Role, str]]:
    target: Role = "video" if row.model.target_field == "video_url" else "image"
    yield row.target, target, target
    if row.face:
        yield row.face, "face", "face"
    for face_id, given in row.faces:
        yield given, "face", f"face {face_id}"


async def examine(
    named: list[Use],
    *,
    allow_private: bool,
    largest: int,
    close: CloseLook | None,
    is_local: bool = False,
    routes: Routes = DIRECT,
) -> Findings:
    """Check all inputs. `allow_private`: the provider can reach private addresses. `largest`: bytes of a file.

    `close`: how the local engine looks for faces, if it is usable. `is_local`: it will also do the swaps, so it checks
    every file; another provider is expected to accept every file that players can play.
    """
    found = Findings()
    places = asyncio.Semaphore(AT_ONCE)
    async with Downloader(allow_private=allow_private, routes=routes, connect=10.0, stall=20.0) as downloader:

        async def look(use: Use) -> str | None:
            async with places:
                if is_url(use.given):
                    return await look_at_url(downloader, use)
                return await asyncio.to_thread(look_at_file, use, largest, is_whole=not is_local)

        messages = await asyncio.gather(*map(look, named))
    for use, message in zip(named, messages, strict=True):
        if message is not None:
            found.problems.append(use.problem(message))
        _count(found, use, is_local=is_local)
    good = [use for use, message in zip(named, messages, strict=True) if message is None]
    if close is not None:
        await close(good, found)
    if not is_local:
        found.remarks += [use.problem(remark) for use in good if use.folder and (remark := remark_of(use))]
    return found


def _count(found: Findings, use: Use, *, is_local: bool) -> None:
    if not use.folder:
        found.urls += 1
        return
    found.files += 1
    if use.role == "video" and not is_local:
        found.seconds += movie_seconds(use.path) or 0.0


def look_at_file(use: Use, largest: int, *, is_whole: bool = True) -> str | None:
    """Return the problem of a file, or None. `is_whole`: also check that the file is complete."""
    path = use.path
    try:
        found = path.stat()
        check_file(path, found, largest)
        start = file_types.read_start(path)
        if message := problem_of_start(start, use):
            return message
        if is_whole and is_walked(start):
            with path.open("rb") as file:
                inspect(file, found.st_size, "video" if use.role == "video" else "image", use.given)
    except TaskInvalid as invalid:
        return invalid.reason
    except DownloadError as error:
        return str(error)
    except OSError as error:
        return f"{use.given} cannot be read: {error.strerror}"
    return None


def problem_of_start(start: bytes, use: Use) -> str | None:
    """Return the problem that the first bytes of a file show, or None."""
    still, film = file_types.still_of(start), file_types.film_of(start)
    if use.role == "video":
        return f"{use.given} is an image, not a video" if still else None
    if name := file_types.foreign(start):
        return f"{use.given} is a {name} file, which cannot be read: export it as JPEG"
    return f"{use.given} is a video, not an image" if film and not file_types.is_gif(start) else None


def is_walked(start: bytes) -> bool:
    """Return whether `inspect` can tell if a file of this format is complete. Players know more formats."""
    name = file_types.still_of(start) or file_types.film_of(start)
    return not name or name in WALKED or (start[4:8] == b"ftyp" and name not in file_types.CODED)


def remark_of(use: Use) -> str | None:
    """Return a remark about a picture format that many programs cannot read, or None."""
    name = file_types.still_of(file_types.read_start(use.path))
    return f"{use.given} is a {name} picture: export it as JPEG if it is refused" if name in file_types.CODED else None


async def look_at_url(downloader: Downloader, use: Use) -> str | None:
    """Return the problem of a URL, without its query, or None."""
    try:
        return problem_of_answer(await downloader.look(use.given), use)
    except DownloadError as error:
        return f"{use.shown} cannot be fetched: {error}"


def problem_of_answer(found: Glance, use: Use) -> str | None:
    """Return the problem that the answer of a media host shows, or None. An unspecific media type is no problem."""
    wanted = "video" if use.role == "video" else "image"
    kind = found.media_type.partition("/")[0]
    if not found.is_there:
        return f"{use.shown} cannot be fetched: HTTP {found.status}"
    if found.size == 0:
        return f"{use.shown} is empty"
    if kind in ("video", "image") and kind != wanted:
        return f"{use.shown} is {found.media_type}, not {'a video' if wanted == 'video' else 'an image'}"
    if kind == "text" or found.media_type in ("application/json", "application/xml", "application/xhtml+xml"):
        return f"{use.shown} is {found.media_type}: a page or a message, not a video or image"
    return None
