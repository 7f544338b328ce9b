"""Paths, headers (api.md, "Endpoints") and the envelope of all answers."""

from typing import Any

import msgspec

from batchswap.errors import WireError
from batchswap.wire import lenient_json
from batchswap.wire.values import integer, text

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


class Envelope(msgspec.Struct, frozen=True):
    """Every answer is `{"code", "message", "data"}`. `code` is None if the answer has no numeric code."""

    code: int | None
    message: str = ""
    data: Any = None

    @classmethod
    def decode(cls, body: bytes) -> "Envelope":
        """Read an answer. Raise WireError if it is not a JSON object.

        An object without `code` and `data` is taken as the data itself.
        """
        found = lenient_json.read(body)
        if not isinstance(found, dict):
            raise WireError("the answer is not a JSON object")
        data = found.get("data") if "data" in found or "code" in found else found
        return cls(integer(found.get("code")), text(found.get("message")), data)

    def encode(self) -> bytes:
        return msgspec.json.encode(self)
