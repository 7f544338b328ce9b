"""From an order to its inputs and price: all checks of CreateTask except the balance."""

import math
from pathlib import PurePath

import msgspec

from batchswap.errors import Refusal
from batchswap.local.server.create_task_body import Order
from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.store.task_store import FaceContents
from batchswap.local.server.work.detections import Detections, StoredDetection
from batchswap.local.server.work.engine_interface import FACE, IMAGE, VIDEO, InputInfo
from batchswap.local.server.work.task_inputs import TaskInputs

STILLS = (".png", ".jpg", ".jpeg", ".webp")
"""Formats in which the result of a still can be written."""


class Quote(msgspec.Struct, frozen=True):
    """An order with checked inputs. `suffix` is the result's; faces that stay as they are are not listed."""

    target: str
    faces: FaceContents
    suffix: str
    credits: float


def price(look: InputInfo, settings: ServerSettings) -> float:
    """Return the credits for an input: by default 1 for each started second of a video."""
    if look.kind == IMAGE:
        return settings.price_per_still
    return max(1, math.ceil(look.duration_s)) * settings.price_per_second


class Quotes:
    """Makes quotes. Raises Refusal 422 that names the input and the reason."""

    def __init__(self, inputs: TaskInputs, detections: Detections, settings: ServerSettings) -> None:
        self._inputs, self._detections, self._settings = inputs, detections, settings

    async def quote(self, order: Order) -> Quote:
        if order.model.is_multi:
            detection = self._detections.find_usable(order.detect_id, self._inputs.source(order.target))
            # The content that was detected: the face ids are valid only for it.
            target, faces = detection.content, await self._choose(order, detection)
        else:
            target = await self._inputs.obtain(order.target, f"input.{order.model.target_field}")
            faces = ((None, await self._obtain_face(order.face, "input.new_face")),)
        look = await self.look_at_target(target, order.model.target_field, within="input.")
        return Quote(target, faces, _suffix(look, target), price(look, self._settings))

    async def look_at_target(self, content: str, field: str, *, within: str = "") -> InputInfo:
        """Check the kind of a target. A refusal names the body's field `within` + `field`."""
        kind = VIDEO if field == "video_url" else IMAGE
        look = await self._inputs.look(content, kind, within + field)
        if look.kind != kind:
            raise Refusal(422, f"{within}{field}: must be a {_noun(kind)}, this is a {_noun(look.kind)}")
        return look

    async def _choose(self, order: Order, detection: StoredDetection) -> FaceContents:
        known = {face_id for face_id, _ in detection.pictures}
        chosen: list[tuple[int | None, str]] = []
        for index, (face_id, url) in enumerate(order.faces):
            if face_id not in known:
                listed = ", ".join(map(str, sorted(known)))
                raise Refusal(422, f"input.faces[{index}].face_id: {face_id} was not detected; detected: {listed}")
            picture = self._inputs.find_picture(url)
            if picture is None or picture[:2] != (detection.id, face_id):
                chosen.append((face_id, await self._obtain_face(url, f"input.faces[{index}].target")))
        if not chosen:
            raise Refusal(422, "input.faces: at least one face must get a new picture")
        return tuple(chosen)

    async def _obtain_face(self, url: str, field: str) -> str:
        content = await self._inputs.obtain(url, field)
        look = await self._inputs.look(content, FACE, field)
        if look.kind != IMAGE:
            raise Refusal(422, f"{field}: must be a picture, this is a video")
        return content


def _suffix(look: InputInfo, target: str) -> str:
    """Return the result's suffix. A still keeps its format."""
    if look.kind == VIDEO:
        return ".mp4"
    ending = PurePath(target).suffix
    return ending if ending in STILLS else ".png"


def _noun(kind: str) -> str:
    return "video" if kind == VIDEO else "picture"
