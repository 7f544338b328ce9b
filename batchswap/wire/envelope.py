"""What every call and every answer has: paths, headers (api.md, "Endpoints") and the envelope."""

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
    """`{"code", "message", "data"}`: every answer. `code` is None where the API sent none that is a number."""

    code: int | None
    message: str = ""
    data: Any = None

    @classmethod
    def decode(cls, body: bytes) -> "Envelope":
        """Raises WireError when the bytes are not a JSON object. An object without `code` and `data` is the data."""
        found = lenient_json.read(body)
        if not isinstance(found, dict):
            raise WireError("the answer is not a JSON object")
        data = found.get("data") if "data" in found or "code" in found else found
        return cls(integer(found.get("code")), text(found.get("message")), data)

    def encode(self) -> bytes:
        return msgspec.json.encode(self)
