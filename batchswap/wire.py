"""The API's JSON (api.md), as frozen values: the client reads what the local server writes, and the other way round.

Reading never fails on a field that is missing, extra or of another type; bytes that are no envelope raise WireError.
"""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from batchswap.errors import WireError

PREFIX = "/api/v1/client"
CREATE_TASK = f"{PREFIX}/job/CreateTask"
TASK_INFO = f"{PREFIX}/job/TaskInfo"
ESTIMATE_TASK = f"{PREFIX}/job/EstimateTask"
BALANCE = f"{PREFIX}/account/balance"
UPLOAD_URL = f"{PREFIX}/files/upload-url"
DETECT_VIDEO = f"{PREFIX}/job/detect-face-video"
DETECT_IMAGE = f"{PREFIX}/job/detect-face-image"
DETECT_RESULT = f"{PREFIX}/job/detect-face-result"

KEY_HEADER = "x-api-key"
IDEMPOTENCY_HEADER = "Idempotency-Key"

OK = 200
GENERATION_FAILED = 501

PENDING, RUNNING, SUCCESS, FAILED = "pending", "running", "success", "failed"
"""Values of TaskInfo's `status`; anything else counts as still running."""
SUCCEEDED = "succeeded"
"""A detection's `status` at its good end; the bad one is FAILED, anything else counts as still running."""


def text(value: Any) -> str:
    """A string as it is, a number in words, and "" for anything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def number(value: Any) -> float | None:
    """A finite number, also when it comes as a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def integer(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def usable_id(value: Any) -> str | None:
    """A remote id: 1-256 printable ASCII characters (api.md, code 200). None for anything else."""
    if not isinstance(value, str) or not 1 <= len(value) <= 256:
        return None
    return value if all("!" <= c <= "~" for c in value) else None


class Envelope(msgspec.Struct, frozen=True):
    """`{"code", "message", "data"}`: every answer. `code` is None where the API sent none that is a number."""

    code: int | None
    message: str = ""
    data: Any = None

    @classmethod
    def decode(cls, body: bytes) -> "Envelope":
        """Raises WireError when the bytes are not a JSON object."""
        try:
            found = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise WireError("the answer is not JSON") from error
        if not isinstance(found, dict):
            raise WireError("the answer is not a JSON object")
        return cls(integer(found.get("code")), text(found.get("message")), found.get("data"))

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


class CreateTask(msgspec.Struct, frozen=True):
    """The body of CreateTask and of EstimateTask. `input` holds URLs by the API's field names."""

    model: str
    input: dict[str, Any]
    callback_url: str | None = None

    @classmethod
    def from_json(cls, data: Any) -> "CreateTask":
        found = mapping(data)
        return cls(text(found.get("model")), dict(mapping(found.get("input"))), text(found.get("callback_url")) or None)

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "input": self.input}
        if self.callback_url is not None:
            body["callback_url"] = self.callback_url
        return body


class Accepted(msgspec.Struct, frozen=True):
    """`data` of an accepted CreateTask. None: the API said yes without a usable id, so nobody knows."""

    task_id: str | None

    @classmethod
    def from_json(cls, data: Any) -> "Accepted":
        return cls(usable_id(mapping(data).get("task_id")))

    def to_json(self) -> dict[str, Any]:
        return {"task_id": self.task_id}


class Result(msgspec.Struct, frozen=True):
    """What a finished task brought. `media_urls` may be empty, also on success: then ask again."""

    code: int | None = None
    message: str = ""
    media_urls: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Any) -> "Result | None":
        if not isinstance(data, Mapping):
            return None
        urls = data.get("media_urls")
        urls = [urls] if isinstance(urls, str) else urls if isinstance(urls, list) else []
        return cls(
            integer(data.get("code")), text(data.get("message")), tuple(u for u in urls if isinstance(u, str) and u)
        )

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "media_urls": list(self.media_urls)}


class TaskInfo(msgspec.Struct, frozen=True):
    """`data` of TaskInfo, and the body of a callback. Times are Unix seconds. `status` is lower case.

    `credits` is what the task has cost, None where the API does not say.
    """

    task_id: str
    status: str
    param: Any = None
    create_at: float | None = None
    complete_at: float | None = None
    duration_s: float | None = None
    credits: float | None = None
    result: Result | None = None
    provider: str = ""
    model_version: str = ""
    source: str = ""

    @classmethod
    def from_json(cls, data: Any) -> "TaskInfo":
        found = mapping(data)
        return cls(
            task_id=text(found.get("task_id")),
            status=text(found.get("status")).strip().lower(),
            param=found.get("param"),
            create_at=number(found.get("create_at")),
            complete_at=number(found.get("complete_at")),
            duration_s=number(found.get("duration_s")),
            credits=number(found.get("credits")),
            result=Result.from_json(found.get("result")),
            provider=text(found.get("provider")),
            model_version=text(found.get("model_version")),
            source=text(found.get("source")),
        )

    @classmethod
    def from_callback(cls, body: Any) -> "TaskInfo":
        """A callback's JSON: the same structure, or wrapped as `{"data": …}`."""
        found = mapping(body)
        inner = found.get("data")
        return cls.from_json(inner if isinstance(inner, Mapping) and "task_id" not in found else found)

    def to_json(self) -> dict[str, Any]:
        return {
            "task_id": self.task_id,
            "provider": self.provider,
            "model_version": self.model_version,
            "status": self.status,
            "param": self.param,
            "create_at": self.create_at,
            "complete_at": self.complete_at,
            "duration_s": self.duration_s,
            "credits": self.credits,
            "source": self.source,
            "result": None if self.result is None else self.result.to_json(),
        }


class Balance(msgspec.Struct, frozen=True):
    """`data` of the balance call, in credits; fractions occur."""

    balance: float | None

    @classmethod
    def from_json(cls, data: Any) -> "Balance":
        return cls(number(mapping(data).get("balance")))

    def to_json(self) -> dict[str, Any]:
        return {"balance": self.balance}


class Estimate(msgspec.Struct, frozen=True):
    """`data` of EstimateTask. None where the API does not say."""

    estimated_credits: float | None
    balance: float | None = None
    affordable: bool | None = None

    @classmethod
    def from_json(cls, data: Any) -> "Estimate":
        found = mapping(data)
        affordable = found.get("affordable")
        return cls(
            number(found.get("estimated_credits")),
            number(found.get("balance")),
            affordable if isinstance(affordable, bool) else None,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "estimated_credits": self.estimated_credits,
            "balance": self.balance,
            "affordable": self.affordable,
        }


class UploadUrl(msgspec.Struct, frozen=True):
    """`data` of upload-url: PUT the bytes to `presigned_url`, then use `file_url` as the input."""

    presigned_url: str
    file_url: str

    @classmethod
    def from_json(cls, data: Any) -> "UploadUrl":
        found = mapping(data)
        return cls(text(found.get("presigned_url")), text(found.get("file_url")))

    def to_json(self) -> dict[str, Any]:
        return {"presigned_url": self.presigned_url, "file_url": self.file_url}


class DetectAccepted(msgspec.Struct, frozen=True):
    """`data` of the two detect calls."""

    detect_task_id: str | None

    @classmethod
    def from_json(cls, data: Any) -> "DetectAccepted":
        return cls(usable_id(mapping(data).get("detect_task_id")))

    def to_json(self) -> dict[str, Any]:
        return {"detect_task_id": self.detect_task_id}


class DetectedFace(msgspec.Struct, frozen=True):
    """One face of a target: its id in this detection and a picture of it."""

    id: int
    link: str

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "link": self.link}


class Detection(msgspec.Struct, frozen=True):
    """`data` of detect-face-result. `detect_id` is None until `status` is `succeeded`; it is good for one hour."""

    detect_task_id: str
    status: str
    detect_id: str | None = None
    faces: tuple[DetectedFace, ...] = ()
    error: str = ""

    @classmethod
    def from_json(cls, data: Any) -> "Detection":
        found = mapping(data)
        result = mapping(found.get("result"))
        listed = result.get("faces")
        faces = (
            DetectedFace(face_id, text(mapping(face).get("link")))
            for face in (listed if isinstance(listed, list) else [])
            if (face_id := integer(mapping(face).get("id"))) is not None
        )
        return cls(
            text(found.get("detect_task_id")),
            text(found.get("status")).strip().lower(),
            usable_id(result.get("id")),
            tuple(faces),
            text(found.get("error")) or text(result.get("error")),
        )

    def to_json(self) -> dict[str, Any]:
        done = self.detect_id is not None
        result = {
            "id": self.detect_id,
            "status": self.status,
            "faces": [face.to_json() for face in self.faces],
            "error": self.error or None,
        }
        return {
            "detect_task_id": self.detect_task_id,
            "status": self.status,
            "result": result if done else None,
            "error": self.error or None,
        }
