"""From an order to what it would cost and what there is to do: everything that CreateTask checks before the money."""

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
"""Endings that a swapped still can be written with."""


class Quote(msgspec.Struct, frozen=True):
    """An order whose inputs are here and will do. `suffix` is the result's; faces to be left alone are not listed."""

    target: str
    faces: FaceContents
    suffix: str
    credits: float


def price(look: InputInfo, settings: ServerSettings) -> float:
    """1 credit per started second of a video, unless the settings say otherwise."""
    if look.kind == IMAGE:
        return settings.price_per_still
    return max(1, math.ceil(look.duration_s)) * settings.price_per_second


class Quotes:
    """Makes quotes; raises Refusal 422 that names the input and why it will not do."""

    def __init__(self, inputs: TaskInputs, detections: Detections, settings: ServerSettings) -> None:
        self._inputs, self._detections, self._settings = inputs, detections, settings

    async def quote(self, order: Order) -> Quote:
        if order.model.is_multi:
            detection = self._detections.find_usable(order.detect_id, self._inputs.source(order.target))
            # The content that was looked at then: its face ids hold for nothing else.
            target, faces = detection.content, await self._choose(order, detection)
        else:
            target = await self._inputs.obtain(order.target, f"input.{order.model.target_field}")
            faces = ((None, await self._obtain_face(order.face, "input.new_face")),)
        look = await self.look_at_target(target, order.model.target_field, within="input.")
        return Quote(target, faces, _suffix(look, target), price(look, self._settings))

    async def look_at_target(self, content: str, field: str, *, within: str = "") -> InputInfo:
        """`field` of the body, or of the object in it that `within` names, is what a refusal speaks of."""
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
                raise Refusal(422, f"input.faces[{index}].face_id: {face_id} was not detected; there are {listed}")
            picture = self._inputs.find_picture(url)
            if picture is None or picture[:2] != (detection.id, face_id):
                chosen.append((face_id, await self._obtain_face(url, f"input.faces[{index}].target")))
        if not chosen:
            raise Refusal(422, "input.faces: every face is left as it is")
        return tuple(chosen)

    async def _obtain_face(self, url: str, field: str) -> str:
        content = await self._inputs.obtain(url, field)
        look = await self._inputs.look(content, FACE, field)
        if look.kind != IMAGE:
            raise Refusal(422, f"{field}: must be a picture, this is a video")
        return content


def _suffix(look: InputInfo, target: str) -> str:
    """Of the result: a still keeps its format, so that a file called .jpg holds one."""
    if look.kind == VIDEO:
        return ".mp4"
    ending = PurePath(target).suffix
    return ending if ending in STILLS else ".png"


def _noun(kind: str) -> str:
    return "video" if kind == VIDEO else "picture"
