"""Data of the free calls: balance, estimate, upload and face detection."""

from typing import Any

import msgspec

from batchswap.wire.values import Data, integer, mapping, number, price, text, usable_id

SUCCEEDED = "succeeded"
"""`status` of a successful detection. A failed one is FAILED; any other value means that it is still running."""


class Balance(Data, frozen=True):
    """`data` of the balance call, in credits, which may be fractions."""

    balance: float | None

    @classmethod
    def from_json(cls, data: Any) -> "Balance":
        return cls(number(mapping(data).get("balance")))


class Estimate(Data, frozen=True):
    """`data` of EstimateTask. Missing values are None."""

    estimated_credits: float | None
    balance: float | None = None
    affordable: bool | None = None

    @classmethod
    def from_json(cls, data: Any) -> "Estimate":
        found = mapping(data)
        affordable = found.get("affordable")
        return cls(
            price(found.get("estimated_credits")),
            number(found.get("balance")),
            affordable if isinstance(affordable, bool) else None,
        )


class UploadUrl(Data, frozen=True):
    """`data` of upload-url: PUT the file to `presigned_url`, then use `file_url` as the input."""

    presigned_url: str
    file_url: str

    @classmethod
    def from_json(cls, data: Any) -> "UploadUrl":
        found = mapping(data)
        return cls(text(found.get("presigned_url")), text(found.get("file_url")))


class DetectAccepted(Data, frozen=True):
    """`data` of the two detect calls."""

    detect_task_id: str | None

    @classmethod
    def from_json(cls, data: Any) -> "DetectAccepted":
        return cls(usable_id(mapping(data).get("detect_task_id")))


class DetectedFace(Data, frozen=True):
    """A face in a target: its id in this detection and the URL of its picture."""

    id: int
    link: str


class Detection(msgspec.Struct, frozen=True):
    """`data` of detect-face-result. `detect_id` is None until `status` is `succeeded`; it is valid for one hour."""

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
