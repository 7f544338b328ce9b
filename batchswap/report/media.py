"""What manifests name, looked at before anything is paid: files are opened, URLs asked for, faces looked for."""

import asyncio
import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from batchswap.downloads import Downloader, Glance, inspect, movie_seconds
from batchswap.errors import DownloadError, EngineError, ManifestProblem
from batchswap.local import engine
from batchswap.manifest import Chunk
from batchswap.runner.steps import Unfit
from batchswap.runner.uploading import check_file
from batchswap.tasks import Row, is_url, public

Role = Literal["video", "image", "face"]
AT_ONCE = 8
"""URLs that are asked for at the same time."""
T = TypeVar("T")


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
    """What was looked at, and what is to be said. `seconds`: of the local videos that tell their length."""

    files: int = 0
    urls: int = 0
    faces: int = 0
    seconds: float = 0.0
    problems: list[ManifestProblem] = []
    remarks: list[ManifestProblem] = []


class Faceless(Exception):
    """The process that looks for faces died."""


def uses(chunks: Iterable[Chunk]) -> list[Use]:
    """Every input once, in the order of the manifests. Raises what `chunks` raises (ManifestErrors)."""
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


async def examine(named: list[Use], *, allow_private: bool, largest: int, find_faces: bool) -> Findings:
    """Look at all of them. `allow_private`: the provider reaches addresses that are not public. `largest` in bytes."""
    found = Findings()
    places = asyncio.Semaphore(AT_ONCE)
    async with Downloader(allow_private=allow_private, connect=10.0, stall=20.0) as downloader:

        async def look(use: Use) -> str | None:
            async with places:
                if is_url(use.given):
                    return await look_at_url(downloader, use)
                return await asyncio.to_thread(look_at_file, use, largest)

        said = await asyncio.gather(*map(look, named))
    for use, message in zip(named, said, strict=True):
        if message is not None:
            found.problems.append(use.problem(message))
        _count(found, use)
    if find_faces:
        good = [use for use, message in zip(named, said, strict=True) if message is None]
        await asyncio.to_thread(_look_for_faces, [u for u in good if u.role == "face" and u.folder], found)
    return found


def _count(found: Findings, use: Use) -> None:
    if not use.folder:
        found.urls += 1
        return
    found.files += 1
    if use.role == "video":
        found.seconds += movie_seconds(Path(use.folder, use.given)) or 0.0


def look_at_file(use: Use, largest: int) -> str | None:
    """What is wrong with a file, in words."""
    path = Path(use.folder, use.given)
    try:
        found = path.stat()
        check_file(path, found, largest)
        with path.open("rb") as file:
            start = file.read(12)
            if start[:4] == b"RIFF" and start[8:] == b"AVI " and use.role == "video":
                return None  # nothing here walks through its chunks
            inspect(file, found.st_size, "video" if use.role == "video" else "image", use.given)
    except Unfit as unfit:
        return unfit.reason
    except DownloadError as error:
        return str(error)
    except OSError as error:
        return f"{use.given} cannot be read: {error.strerror}"
    return None


async def look_at_url(downloader: Downloader, use: Use) -> str | None:
    """What is wrong with a URL, in words that hold no query."""
    try:
        return judge(await downloader.look(use.given), use)
    except DownloadError as error:
        return f"{use.shown} cannot be fetched: {error}"


def judge(found: Glance, use: Use) -> str | None:
    """What a media host's answer says against an input. A type that tells nothing is no reason to complain."""
    wanted = "video" if use.role == "video" else "image"
    kind = found.media_type.partition("/")[0]
    if not found.is_there:
        return f"{use.shown} cannot be fetched: HTTP {found.status}"
    if found.size == 0:
        return f"{use.shown} is empty"
    if kind in ("video", "image") and kind != wanted:
        return f"{use.shown} is {found.media_type}, not {'a video' if wanted == 'video' else 'an image'}"
    if kind == "text" or found.media_type in ("application/json", "application/xml", "application/xhtml+xml"):
        return f"{use.shown} is {found.media_type}: a page or a message, no media"
    return None


def _look_for_faces(named: list[Use], found: Findings) -> None:
    for use, outcome in _outcomes([Path(use.folder, use.given) for use in named], named):
        match outcome:
            case EngineError() if "no face found" in outcome.message:
                found.problems.append(use.problem(f"no face found in {use.given}"))
            case Exception():
                found.problems.append(use.problem(f"{use.given}: {outcome}"))
            case notes:
                found.faces += 1
                found.remarks += [use.problem(f"{use.given}: {note}") for note in notes]


def _outcomes(paths: list[Path], named: list[T]) -> Iterator[tuple[T, tuple[str, ...] | Exception]]:
    """In a process of its own, because a picture may break the libraries that read it; then it is started anew."""
    pool: ProcessPoolExecutor | None = None
    try:
        for path, each in zip(paths, named, strict=True):
            pool = pool or _pool()
            try:
                yield each, pool.submit(engine.look_at_face, path).result()
            except EngineError as error:
                yield each, error
            except BrokenProcessPool:
                pool.shutdown()
                pool = None
                yield each, Faceless("the process that looked for a face in it died")
    finally:
        if pool is not None:
            pool.shutdown()


def _pool() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_be_quiet)


def _be_quiet() -> None:
    """Native libraries write to stderr as they like."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
