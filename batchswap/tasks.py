"""Row, Task and Attempt: the frozen values that the other modules pass around."""

import hashlib
import re
from enum import StrEnum
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from batchswap.states import State

MediaKind = Literal["video", "image"]
"""Kind of a target and of its result."""


class Model(StrEnum):
    """Model name in the API (docs/api.md, "Endpoints")."""

    VIDEO = "video-face-swap"
    IMAGE = "image-face-swap"
    VIDEO_MULTI = "video-face-swap-multi"
    IMAGE_MULTI = "image-face-swap-multi"

    @property
    def is_multi(self) -> bool:
        return self in (Model.VIDEO_MULTI, Model.IMAGE_MULTI)

    @property
    def media_kind(self) -> MediaKind:
        return "video" if self in (Model.VIDEO, Model.VIDEO_MULTI) else "image"

    @property
    def target_field(self) -> str:
        """Return the name of the target's URL in the `input` of CreateTask."""
        return f"{self.media_kind}_url"


Faces = tuple[tuple[int, str], ...]
"""Detected face id -> new face (URL or path), in the order of the ids."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """One checked row of a manifest.

    `target`, `face` and the faces' values are as written: an http(s) URL, or a path relative to `folder` of the
    manifest (`is_url` tells them apart). `output` is relative to --out, with "/" between its parts.
    `digest` is `content_digest` of the row; `key` is the row's id, else the digest.
    """

    key: str
    digest: str
    model: Model
    target: str
    face: str
    output: str
    line: int
    faces: Faces = ()
    consent: str = ""
    tags: tuple[str, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()


class Task(msgspec.Struct, frozen=True, gc=False):
    """One row in the ledger, with its state. Relative paths start from `folder`."""

    id: int
    batch: str
    key: str
    state: State
    model: Model
    target: str
    face: str
    output: str
    folder: str
    digest: str
    faces: Faces = ()
    consent: str = ""
    attempts: int = 0
    """Attempts so far, including refused ones. The next attempt has this number plus one."""
    paid: int = 0
    """Attempts that were, or may have been, accepted."""


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One CreateTask call for a task. `ref` is its Idempotency-Key, a UUID. Times are Unix seconds, money credits."""

    id: int
    task_id: int
    number: int
    ref: str
    reserved: float
    submitted_at: float
    remote_id: str | None = None
    charged: float | None = None
    accepted_at: float | None = None
    estimate: float | None = None
    """Credits that the API estimated; None: unknown."""

    @property
    def expected(self) -> float:
        """Return the estimated credits, or the reserved ones if there is no estimate."""
        return self.reserved if self.estimate is None else self.estimate


def is_url(text: str) -> bool:
    """Return whether an input is an http(s) URL; otherwise it is a path."""
    return text.startswith(("http://", "https://"))


def is_nameable(host: str) -> bool:
    """Return whether a host name can be resolved: no label is empty or longer than 63 bytes (RFC 1035, 2.3.4).

    For other names the system's resolver raises UnicodeError, which would not be handled as a network error.
    """
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def public(url: str) -> str:
    """Return an input as it may be shown: a URL without user, password and fragment, and with "?…" for its query."""
    if "://" not in url:
        return _printable(url, "?")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "(not a URL)"
    host = f"[{host}]" if ":" in host else host
    shown = f"{parts.scheme}://{host}{port}{parts.path}{'?…' if parts.query else ''}"
    return _printable(shown, "?")


def _printable(text: str, instead: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else instead for c in text)


_SECRETS = (
    # The query of a URL, also inside JSON or another URL's query, and of a path without a host. Where "?…" replaced the
    # query earlier, the punctuation after it belongs to the sentence.
    (
        "?",
        re.compile(r"(https?:(?:\\?/){2}[^\s?\"'<>]*)\?(?:…(?=[).:;,]*(?:\s|$))|[^\s\"'<>]*)", re.IGNORECASE),
        r"\1?…",
    ),
    ("?", re.compile(r"(/[^\s?\"'<>]*)\?[^\s\"'<>=]*=[^\s\"'<>]*"), r"\1?…"),
    # User and password of a URL.
    ("@", re.compile(r"(https?:(?:\\?/){2})[^\s/?#\"'<>@]+@", re.IGNORECASE), r"\1"),
    ("%", re.compile(r"(https?%3A%2F%2F[^\s\"'<>]*?)%3F[^\s\"'<>]*", re.IGNORECASE), r"\1?…"),
    # The token after an attempt's ref in a callback URL.
    ("-", re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:\\?/|%2F))[0-9a-f]+", re.IGNORECASE), r"\1…"),
    # A key, which may be cut short at the start of a word and has its full length inside of one.
    ("ak_", re.compile(r"(?:\bak_(?=[\w-]{6})|ak_(?=[\w-]{20}))[\w-]+"), "ak_…"),
)
"""For each secret: a text that every match contains, the pattern, and its replacement."""


def clean(text: str, longest: int = 500) -> str:
    """Return foreign text as one printable line without keys, callback tokens and queries of URLs."""
    line = " ".join(_printable(text[: longest * 4], " ").split())
    for sign, secret, left in _SECRETS:
        if sign in line:
            line = secret.sub(left, line)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def content_digest(model: Model, target: str, face: str, faces: Faces = ()) -> str:
    """Return 20 hex digits (80 bits) of SHA-256 over the model and the inputs as written in the manifest."""
    text = f"{model}\0{target}\0{face}"
    for face_id, given in faces:
        text += f"\0{face_id}={given}"
    return hashlib.sha256(text.encode()).hexdigest()[:20]
