"""URLs that expire and cannot be guessed."""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlencode

from batchswap.clock import Clock
from batchswap.errors import Refusal
from batchswap.local.server.store.task_store import StoredTask


class SignedUrls:
    """Makes and checks signed queries. `ttl`: lifetime of a result's URL in seconds."""

    def __init__(self, secret: bytes, clock: Clock, ttl: float) -> None:
        self._secret, self._clock, self._ttl = secret, clock, ttl

    def sign(self, path: str, seconds: float, **fixed: str) -> str:
        """Return `path` with a query that is valid only for `path` and `fixed`, and only for `seconds`."""
        fields = {**fixed, "expires": str(int(self._clock.now() + seconds))}
        return f"{path}?{urlencode({**fields, 'signature': self._seal(path, fields)})}"

    def media_url(self, record: StoredTask, base_url: str) -> str:
        """Return a signed URL of the task's result."""
        return base_url + self.sign(f"/results/{record.file}", self._ttl)

    def verify(self, path: str, query: Mapping[str, str]) -> dict[str, str]:
        """Return the signed fields. Raises Refusal 403 unless `sign` made `query` for `path` and it has not expired."""
        fields = {name: value for name, value in query.items() if name != "signature"}
        given = query.get("signature", "").encode(errors="replace")
        if not hmac.compare_digest(given, self._seal(path, fields).encode()):
            raise Refusal(403, "the URL's signature is wrong")
        if float(fields["expires"]) <= self._clock.now():
            raise Refusal(403, "the URL has expired")
        return fields

    def _seal(self, path: str, fields: Mapping[str, str]) -> str:
        text = ascii((path, sorted(fields.items())))  # quoted: no value can look like two fields
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()
