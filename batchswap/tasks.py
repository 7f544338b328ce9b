"""Row, Task and Attempt: frozen values that everything above passes around."""

import hashlib
import re
from enum import StrEnum
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from batchswap.states import State

MediaKind = Literal["video", "image"]
"""What a target and its result are."""


class Model(StrEnum):
    """What the API calls the work (api.md, "Endpoints")."""

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
        """The name of the target's URL in the API's `input`."""
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
    """One row in the ledger, with where it is. `folder` is what its relative paths start from."""

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
    """Attempts made so far, refused ones included: the next one's number is this plus one."""
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
    """What the API said beforehand; None: it is not known, and what was reserved is all that is."""

    @property
    def expected(self) -> float:
        """Credits that were estimated."""
        return self.reserved if self.estimate is None else self.estimate


def is_url(text: str) -> bool:
    """Whether an input is an http(s) URL; anything else is a path."""
    return text.startswith(("http://", "https://"))


def is_nameable(host: str) -> bool:
    """Whether a host can be asked for at all: no part of its name is empty, or longer than 63 bytes (RFC 1035, 2.3.4).

    The system's resolver raises UnicodeError for others, which nobody takes for an error of the network.
    """
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def public(url: str) -> str:
    """An input as it may be shown. Of a URL no user and password, no fragment, and "?…" for a query, maybe signed."""
    if "://" not in url:
        return "".join(c if c.isprintable() else "?" for c in url)
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "(not a URL)"
    host = f"[{host}]" if ":" in host else host
    shown = f"{parts.scheme}://{host}{port}{parts.path}{'?…' if parts.query else ''}"
    return "".join(c if c.isprintable() else "?" for c in shown)


_SECRETS = (
    # The query of a URL, also of one in JSON or in another URL's query, and of a path without its host. Where it was
    # taken out already, the signs behind it belong to the sentence.
    (
        "?",
        re.compile(r"(https?:(?:\\?/){2}[^\s?\"'<>]*)\?(?:…(?=[).:;,]*(?:\s|$))|[^\s\"'<>]*)", re.IGNORECASE),
        r"\1?…",
    ),
    ("?", re.compile(r"(/[^\s?\"'<>]*)\?[^\s\"'<>=]*=[^\s\"'<>]*"), r"\1?…"),
    ("%", re.compile(r"(https?%3A%2F%2F[^\s\"'<>]*?)%3F[^\s\"'<>]*", re.IGNORECASE), r"\1?…"),
    # The token behind an attempt's ref in a callback URL.
    ("-", re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:\\?/|%2F))[0-9a-f]+", re.IGNORECASE), r"\1…"),
    # A key: what stands alone may be cut short, what hangs on another word must have its length.
    ("ak_", re.compile(r"(?:\bak_(?=[\w-]{6})|ak_(?=[\w-]{20}))[\w-]+"), "ak_…"),
)
"""What every match contains, the match, and what is left of it."""


def clean(text: str, longest: int = 500) -> str:
    """Foreign words as they may be stored and shown: one printable line without keys, callback tokens and queries."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: longest * 4]).split())
    for sign, secret, left in _SECRETS:
        if sign in line:
            line = secret.sub(left, line)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def content_digest(model: Model, target: str, face: str, faces: Faces = ()) -> str:
    """20 hex digits (80 bits) of SHA-256 over the model and the inputs as written: the same on any machine."""
    text = f"{model}\0{target}\0{face}"
    for face_id, given in faces:
        text += f"\0{face_id}={given}"
    return hashlib.sha256(text.encode()).hexdigest()[:20]
