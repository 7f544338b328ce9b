"""Strict parser for the body of CreateTask. Pure: JSON in, an Order or a 422 out (api.md, "Endpoints")."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from batchswap.errors import Refusal
from batchswap.tasks import Model, is_url

MAX_URL = 4096
MAX_FACES = 64


class Order(msgspec.Struct, frozen=True):
    """A requested swap. `faces` maps detected faces to pictures; single-face models have `face` instead."""

    model: Model
    target: str
    face: str = ""
    faces: tuple[tuple[int, str], ...] = ()
    detect_id: str = ""
    callback_url: str | None = None

    def fingerprint(self, source: Callable[[str], str]) -> str:
        """Return a hash that is equal for bodies that request the same work. `source` identifies the content of a URL.

        detect_id and callback_url do not count: both may differ when a submit is repeated after a restart.
        """
        faces = [(face_id, source(url)) for face_id, url in sorted(self.faces)]
        parts = (self.model, source(self.target), source(self.face) if self.face else "", faces)
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def read_order(body: Mapping[str, Any]) -> Order:
    """Parse a body. Ignore unknown fields. Raises Refusal 422 that names the field."""
    model = read_model(body)
    given = body.get("input")
    if not isinstance(given, Mapping):
        raise Refusal(422, "input: must be an object")
    target = read_url(given, model.target_field, "input.")
    callback_url = read_url(body, "callback_url") if body.get("callback_url") is not None else None
    if not model.is_multi:
        return Order(model, target, read_url(given, "new_face", "input."), callback_url=callback_url)
    detect_id = given.get("detect_id")
    if not isinstance(detect_id, str) or not detect_id:
        raise Refusal(422, "input.detect_id: is missing")
    return Order(model, target, faces=read_faces(given), detect_id=detect_id, callback_url=callback_url)


def read_model(body: Mapping[str, Any]) -> Model:
    try:
        return Model(body.get("model"))  # type: ignore[arg-type]  # any other type raises ValueError too
    except ValueError:
        raise Refusal(422, f"model: must be one of {', '.join(Model)}") from None


def read_url(found: Mapping[str, Any], field: str, where: str = "") -> str:
    """Return an http(s) URL. Raises Refusal 422 without the value, which may contain a signature."""
    url = found.get(field)
    name = f"{where}{field}"
    if not isinstance(url, str) or not url:
        raise Refusal(422, f"{name}: is missing" if url in (None, "") else f"{name}: must be a string")
    if len(url) > MAX_URL:
        raise Refusal(422, f"{name}: is longer than {MAX_URL} characters")
    if not is_url(url.lower()) or not _is_plain(url):
        raise Refusal(422, f"{name}: must be an http(s) URL; upload local files first")
    return url


def _is_plain(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and url.isprintable() and " " not in url
    except ValueError:  # an invalid port or address
        return False


def read_faces(given: Mapping[str, Any]) -> tuple[tuple[int, str], ...]:
    listed = given.get("faces")
    if not isinstance(listed, list) or not listed:
        raise Refusal(422, "input.faces: must be a list with at least one face")
    if len(listed) > MAX_FACES:
        raise Refusal(422, f"input.faces: has more than {MAX_FACES} entries")
    faces: dict[int, str] = {}
    for index, entry in enumerate(listed):
        where = f"input.faces[{index}]."
        face_id = entry.get("face_id") if isinstance(entry, Mapping) else None
        if not isinstance(face_id, int) or isinstance(face_id, bool) or face_id < 0:
            raise Refusal(422, f"{where}face_id: must be an integer from detection")
        if face_id in faces:
            raise Refusal(422, f"{where}face_id: {face_id} is listed twice")
        faces[face_id] = read_url(entry, "target", where)
    return tuple(faces.items())
