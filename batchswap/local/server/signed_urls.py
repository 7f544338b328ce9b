"""URLs that work for a while and cannot be made by guessing."""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlencode

from batchswap.errors import Refusal
from batchswap.local.server.context import ServerContext
from batchswap.local.server.store.task_store import StoredTask


def sign(secret: bytes, path: str, expires: float, **fixed: str) -> str:
    """`path` with a query that holds for `path` and `fixed` only, until the Unix time `expires`."""
    fields = {**fixed, "expires": str(int(expires))}
    return f"{path}?{urlencode({**fields, 'signature': _seal(secret, path, fields)})}"


def media_url(context: ServerContext, record: StoredTask, base_url: str) -> str:
    """Where the result can be fetched, for a while. Only worth something for a task that succeeded."""
    return base_url + sign(context.secret, f"/results/{record.file}", context.clock.now() + context.settings.url_ttl)


def verify(secret: bytes, path: str, query: Mapping[str, str], now: float) -> dict[str, str]:
    """The fields that were signed. Raises Refusal 403 unless `query` is one that `sign` made for `path`, and holds."""
    fields = {name: value for name, value in query.items() if name != "signature"}
    given = query.get("signature", "").encode(errors="replace")
    if not hmac.compare_digest(given, _seal(secret, path, fields).encode()):
        raise Refusal(403, "the URL's signature is wrong")
    if float(fields["expires"]) <= now:
        raise Refusal(403, "the URL has expired")
    return fields


def _seal(secret: bytes, path: str, fields: Mapping[str, str]) -> str:
    text = ascii((path, sorted(fields.items())))  # quoted, so that no value can pass for two fields
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
