"""What is around every answer."""

from typing import Any

import msgspec

from batchswap.errors import WireError
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
