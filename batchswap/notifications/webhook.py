"""The call of a webhook: the document of `run --json`, signed. Pure."""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from batchswap.errors import UsageError
from batchswap.notifications.http_call import HttpCall

SECRET = "BATCHSWAP_WEBHOOK_SECRET"  # noqa: S105 - the name of the variable
SIGNATURE = "X-Batchswap-Signature"
DELIVERY = "X-Batchswap-Delivery"


def find_secret(environ: Mapping[str, str]) -> str:
    """Return the secret of the signatures. Raise UsageError if there is none."""
    if not (secret := environ.get(SECRET, "")):
        raise UsageError(f"--webhook-url: set {SECRET}, the secret with which its calls are signed")
    return secret


def sign(secret: str, body: bytes, at: int) -> str:
    """Return the signature header: the time, and HMAC-SHA256 over the time, a dot and the body."""
    signed = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={signed.hexdigest()}"


def webhook_call(
    url: str, secret: str, document: dict[str, Any], delivery: str, now: Callable[[], float] = time.time
) -> HttpCall:
    """Return the call. All tries have the same delivery id; each is signed with its own time."""
    body = msgspec.json.encode({"id": delivery, **document})

    def headers() -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            DELIVERY: delivery,
            SIGNATURE: sign(secret, body, int(now())),
        }

    return HttpCall("webhook", "POST", url, body, headers)
