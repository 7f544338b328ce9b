"""Check the inputs of manifests before anything is paid: open files, request URLs, look for faces."""

import asyncio
import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Literal

import msgspec

from batchswap.downloads import Downloader, Glance, inspect, movie_seconds
from batchswap.errors import DownloadError, EngineError, ManifestProblem
from batchswap.local import engine
from batchswap.local.engine.media import file_types
from batchswap.manifest import Chunk
from batchswap.runner.prepare.steps import TaskInvalid
from batchswap.runner.prepare.uploads import check_file
from batchswap.tasks import Row, is_url, public

Role = Literal["video", "image", "face"]
AT_ONCE = 8
"""URLs that are requested at the same time."""
WALKED = frozenset({"JPEG", "PNG", "WebP", "Matroska"})
"""Formats other than MP4 in which `inspect` detects an incomplete file."""


class Use(msgspec.Struct, frozen=True):
    """An input, and the first row that names it. `folder` is "" for a URL."""

    given: str
    role: Role
    folder: str
    file: str
    line: int
    field: str

    @property
    def shown(self) -> str:
        return public(self.given)

    def problem(self, message: str) -> ManifestProblem:
        return ManifestProblem(self.file, self.line, self.field, message)


class Findings(msgspec.Struct):
    """The findings. `seconds`: total length of the local videos whose length is known."""

    files: int = 0
    urls: int = 0
    faces: int = 0
    seconds: float = 0.0
    problems: list[ManifestProblem] = []
    remarks: list[ManifestProblem] = []


class EngineCrashed(Exception):
    """The process of the engine crashed."""


def uses(chunks: Iterable[Chunk]) -> list[Use]:
    """Return every input once, in the order of the manifests. Raise what `chunks` raises (ManifestErrors)."""
    found: dict[tuple[str, str, Role], Use] = {}
    for chunk in chunks:
        for row in chunk.rows:
            for given, role, field in _named(row):
                folder = "" if is_url(given) else chunk.folder
                if (folder, given, role) not in found:
                    found[folder, given, role] = Use(given, role, folder, chunk.file, row.line, field)
    return list(found.values())


def _named(row: Row) -> Iterator[tuple[str, Role, str]]:
    target: Role = "video" if row.model.target_field == "video_url" else "image"
    yield row.target, target, target
    if row.face:
        yield row.face, "face", "face"
    for face_id, given in row.faces:
        yield given, "face", f"face {face_id}"


async def examine(
    named: list[Use], *, allow_private: bool, largest: int, find_faces: bool, is_local: bool = False
) -> Findings:
    """Check all inputs. `allow_private`: the provider can reach private addresses. `largest`: bytes of a file.

    `find_faces`: the local engine can look for faces. `is_local`: it will also do the swaps, so it checks every file;
    another provider is expected to accept every file that players can play.
    """
    found = Findings()
    places = asyncio.Semaphore(AT_ONCE)
    async with Downloader(allow_private=allow_private, connect=10.0, stall=20.0) as downloader:

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
    good = [use for use, message in zip(named, messages, strict=True) if message is None and use.folder]
    asked = [use for use in good if is_local or (find_faces and use.role == "face")]
    await asyncio.to_thread(_ask_engine, asked, found)
    if not is_local:
        found.remarks += [use.problem(remark) for use in good if (remark := remark_of(use))]
    return found


def _count(found: Findings, use: Use, *, is_local: bool) -> None:
    if not use.folder:
        found.urls += 1
        return
    found.files += 1
    if use.role == "video" and not is_local:
        found.seconds += movie_seconds(Path(use.folder, use.given)) or 0.0


def look_at_file(use: Use, largest: int, *, is_whole: bool = True) -> str | None:
    """Return the problem of a file, or None. `is_whole`: also check that the file is complete."""
    path = Path(use.folder, use.given)
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
    name = file_types.still_of(file_types.read_start(Path(use.folder, use.given)))
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


def _ask_engine(named: list[Use], found: Findings) -> None:
    for use, outcome in _outcomes([Path(use.folder, use.given) for use in named], named):
        match outcome:
            case EngineError() if "no face found" in outcome.message:
                found.problems.append(use.problem(f"no face found in {use.given}"))
            case Exception():
                found.problems.append(use.problem(f"{use.given}: {outcome}"))
            case (seconds, notes):
                found.seconds += seconds
                found.faces += use.role == "face"
                found.remarks += [use.problem(f"{use.given}: {note}") for note in notes]


def look_closely(path: Path, role: Role) -> tuple[float, tuple[str, ...]]:
    """Return the length of a file in seconds, and remarks of the engine. Raise EngineError if it refuses the file."""
    info = engine.probe(path, role)
    if role == "face":
        return 0.0, engine.look_at_face(path)
    if info.kind != role:
        raise EngineError(role, f"is {'an image, not a video' if role == 'video' else 'a video, not an image'}")
    return info.duration_s, ()


def _outcomes(paths: list[Path], named: list[Use]) -> Iterator[tuple[Use, tuple[float, tuple[str, ...]] | Exception]]:
    """Yield the engine's findings. It runs in a separate process, restarted when a file crashes its libraries."""
    pool: ProcessPoolExecutor | None = None
    try:
        for path, each in zip(paths, named, strict=True):
            pool = pool or _pool()
            try:
                yield each, pool.submit(look_closely, path, each.role).result()
            except EngineError as error:
                yield each, error
            except BrokenProcessPool:
                pool.shutdown()
                pool = None
                yield each, EngineCrashed("the process that checked it crashed")
    finally:
        if pool is not None:
            pool.shutdown()


def _pool() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_be_quiet)


def _be_quiet() -> None:
    """Discard what native libraries write to stderr."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
