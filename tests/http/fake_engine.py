"""A simple engine for the server's tests, and a small client of their own that shares nothing with batchswap's.

Media are text: `video 2.5`, `image`, then words that tell the engine what to do.
"""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import quote

from batchswap.errors import EngineError
from batchswap.local.engine import SwapJob
from batchswap.local.server.work.engine_interface import InputInfo
from tests.waits import wait_until

KEY = "ak_" + "k" * 32
PREFIX = "/api/v1/client"

VIDEO = b"video 2.5"
FACE = b"image"


@dataclass(frozen=True)
class PretendEngine:
    """Copies the target and appends the names of the faces, after `seconds`. Some words in a file make it fail."""

    seconds: float = 0.0

    def look(self, path: Path, culprit: str) -> InputInfo:
        words = path.read_text(errors="replace").split()
        if not words or words[0] not in ("video", "image"):
            raise EngineError(culprit, "not a video or picture")
        if culprit == "face" and "noface" in words:
            raise EngineError(culprit, "no face found in the picture")
        return InputInfo(words[0], float(words[1]) if words[0] == "video" else 0.0)

    def swap(self, job: SwapJob) -> str:
        words = job.target.read_text().split()
        marker = job.output.parent / "died"
        if "die" in words or ("die-once" in words and not marker.exists()):
            marker.touch()
            os._exit(9)
        time.sleep(self.seconds)
        if "broken" in words:
            raise RuntimeError("a bug in the engine")
        if "noface" in words:
            raise EngineError(words[0], "no face found in any frame")
        faces = " ".join(f"{face_id}={path.read_text()}" for face_id, path in job.faces)
        job.output.write_text(f"{job.target.read_text()} | {faces}")
        return "the largest of 2 faces was used" if "crowd" in words else ""

    def detect(self, path: Path, folder: Path, threads: int) -> tuple[tuple[int, Path], ...]:
        words = path.read_text().split()
        if "noface" in words:
            raise EngineError("", "no face found")
        found = []
        for face_id in range(2):
            picture = folder / f"{face_id}.png"
            picture.write_text(f"image of {face_id}")
            found.append((face_id, picture))
        return tuple(found)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer with its body."""

    status: int
    body: bytes
    headers: Message = field(default_factory=Message)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        assert self.status == 200, self.body
        assert self.json["code"] == 200, self.body
        return self.json["data"]


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def send(method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Send one request and return any answer. The connection is closed afterwards."""
    request = urllib.request.Request(url, data=body, method=method, headers=dict(headers or {}))
    try:
        with OPENER.open(request, timeout=30) as response:
            return Answer(response.status, response.read(), response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(), error.headers)


@dataclass(frozen=True)
class Client:
    """The requests of api.md, as a reader would send them."""

    base_url: str
    key: str = KEY

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        return send(
            method,
            self.base_url + PREFIX + path,
            data,
            {"X-API-KEY": self.key, "Content-Type": "application/json", **(headers or {})},
        )

    def upload(self, content: bytes, ext: str = ".mp4", content_type: str = "video/mp4") -> str:
        urls = self.call("GET", f"/files/upload-url?content_type={quote(content_type, safe='')}&ext={ext}").data
        assert send("PUT", urls["presigned_url"], content, {"Content-Type": content_type}).status == 200
        return str(urls["file_url"])

    def body(self, video: bytes = VIDEO, face: bytes = FACE, **more: Any) -> dict[str, Any]:
        """Create a task with a video and a face, after uploading both."""
        urls = {"video_url": self.upload(video), "new_face": self.upload(face, ".png", "image/png")}
        return {"model": "video-face-swap", "input": urls, **more}

    def create(self, body: Mapping[str, Any], key: str | None = None) -> Answer:
        return self.call("POST", "/job/CreateTask", body, {"Idempotency-Key": key} if key else None)

    def info(self, task_id: str) -> Any:
        return self.call("GET", f"/job/TaskInfo?task_id={task_id}").data

    def wait(self, task_id: str, seconds: float = 20.0) -> Any:
        return self._wait(f"/job/TaskInfo?task_id={task_id}", ("success", "failed"), seconds)

    def detect(self, url: str, field: str = "video_url") -> Any:
        """Return the finished detection."""
        kind = field.removesuffix("_url")
        found = self.call("POST", f"/job/detect-face-{kind}", {field: url}).data
        path = f"/job/detect-face-result?detect_task_id={found['detect_task_id']}"
        return self._wait(path, ("succeeded", "failed"), 20.0)

    def balance(self) -> float:
        return float(self.call("GET", "/account/balance").data["balance"])

    def _wait(self, path: str, ends: tuple[str, ...], seconds: float) -> Any:
        def find() -> Any:
            found = self.call("GET", path).data
            return found if found["status"] in ends else None

        return wait_until(find, f"{path} in {ends}", seconds)
