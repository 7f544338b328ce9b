"""Uploads outside of a run have the same checks as those in a run."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from batchswap.client import Answer, Client
from batchswap.clock import SystemClock
from batchswap.errors import BatchswapError
from batchswap.ratelimit.shared_window import NoWindow
from batchswap.runner.standalone_calls import FreeCalls

PLACE = {"presigned_url": "https://put.example/1", "file_url": "https://cdn.example/1.mp4"}


class _Store:
    """Answers as the API and its store. `edit` is called during the upload."""

    def __init__(self, place: Any, edit: bytes = b"") -> None:
        self.place, self.edit, self.puts = place, edit, 0

    async def upload_url(self, content_type: str, ext: str) -> Answer:
        return Answer(200, 200, "", self.place, None, 0.0, 0.0)

    async def put_file(self, presigned_url: str, path: Path, content_type: str) -> Answer:
        self.puts += 1
        with path.open("ab") as file:
            file.write(self.edit)
        return Answer(200, None, "", None, None, 0.0, 0.0)


def _upload(store: _Store, path: Path) -> str:
    return asyncio.run(FreeCalls(cast("Client", store), NoWindow(SystemClock()), 1, "api.example").upload(path))


def test_a_file_has_the_url_that_the_api_gave_it(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    assert _upload(_Store(PLACE), tmp_path / "a.mp4") == PLACE["file_url"]


@pytest.mark.parametrize("place", [None, {}, PLACE | {"presigned_url": ""}, PLACE | {"file_url": "a.mp4"}])
def test_nothing_is_uploaded_without_usable_urls(tmp_path: Path, place: Any) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    store = _Store(place)
    with pytest.raises(BatchswapError, match=r"a\.mp4: the API gave no URL to upload it to"):
        _upload(store, tmp_path / "a.mp4")
    assert store.puts == 0


def test_a_file_that_changes_during_its_upload_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    with pytest.raises(BatchswapError, match="changed while it was uploaded"):
        _upload(_Store(PLACE, edit=b"more"), tmp_path / "a.mp4")
