"""What is around every answer."""

from typing import Any

import msgspec

from batchswap.errors import WireError
from batchswap.wire import lenient_json
from batchswap.wire.values import integer, text

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
