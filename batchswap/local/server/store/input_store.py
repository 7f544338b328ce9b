"""Input files, each stored once under the hash of its bytes, with their kind and duration.

A task refers to contents, not to uploads: a repeated upload to the same URL does not change accepted tasks.
"""

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from batchswap.errors import Refusal
from batchswap.local.server.store.database import Database
from batchswap.local.server.work.engine_interface import InputInfo, sync_folder
from batchswap.workers.worker_pool import open_private

UPLOAD_PATH = re.compile(r"/uploads/([0-9a-f]{32}(?:\.[a-z0-9]{1,8})?)")
SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")


def make_folder(path: Path) -> Path:
    """Make a folder that only this user can read."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


class InputStore:
    """The folder `inputs/`, and the tables `uploads` and `looks`."""

    def __init__(self, folder: Path, database: Database, limit: int) -> None:
        self.folder = make_folder(folder / "inputs")
        self.limit = limit
        self._database = database
        for part in self.folder.glob("*.part"):  # from an earlier process
            part.unlink()

    def path(self, content: str) -> Path:
        return self.folder / content

    async def keep(self, chunks: AsyncIterator[bytes], suffix: str) -> str:
        """Store a stream and return the content's name, `<sha256><suffix>`. Raises Refusal 413."""
        part = self.folder / f"{secrets.token_hex(8)}.part"
        try:
            digest = hashlib.sha256()
            with open_private(part) as file:
                async for chunk in _limit(chunks, self.limit):
                    digest.update(chunk)
                    file.write(chunk)
                name = digest.hexdigest() + suffix
                await asyncio.to_thread(self._seal, file, part, name)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return name

    def _seal(self, file: BinaryIO, part: Path, name: str) -> None:
        file.flush()
        os.fsync(file.fileno())
        part.replace(self.path(name))
        sync_folder(self.folder)

    async def record_upload(self, upload_id: str, content: str, now: float) -> None:
        sql = "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?)"
        await self._database.write(lambda db: db.execute(sql, (upload_id, content, now)))

    def find_upload(self, upload_id: str) -> str | None:
        """Return the latest content of an upload, if it still exists."""
        rows = self._database.read("SELECT content FROM uploads WHERE id = ?", upload_id)
        return str(rows[0]["content"]) if rows and self.path(rows[0]["content"]).exists() else None

    def find_look(self, content: str, culprit: str) -> InputInfo | None:
        """Return the recorded result of an earlier look at the content as this kind of input."""
        rows = self._database.read("SELECT look FROM looks WHERE content = ? AND culprit = ?", content, culprit)
        return msgspec.json.decode(rows[0]["look"], type=InputInfo) if rows else None

    async def record_look(self, content: str, culprit: str, look: InputInfo) -> None:
        values = (content, culprit, msgspec.json.encode(look))
        await self._database.write(lambda db: db.execute("INSERT OR REPLACE INTO looks VALUES (?, ?, ?)", values))


def clean_suffix(text: str) -> str:
    """Return a safe file extension in lower case, or "" for any other text."""
    lower = text.lower()
    return lower if SUFFIX.fullmatch(lower) else ""


async def _limit(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise Refusal(413, f"the file is larger than {limit:,} bytes")
        yield chunk
