"""One row as it was written → checked rows, or every problem it has."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import msgspec

from batchswap.errors import Flaw, ManifestProblem
from batchswap.manifest import fields, outputs
from batchswap.manifest.fields import LONGEST_KEY, is_kept, plain_text, shown
from batchswap.manifest.inputs import Inputs
from batchswap.manifest.outputs import Outputs
from batchswap.manifest.problems import Problems
from batchswap.tasks import Faces, Model, Row, content_digest

MOST_REPEATS = 10_000
T = TypeVar("T")


class Record(msgspec.Struct, frozen=True):
    """One row as it was written: field -> text, none of them empty. `spelled` has fields that go by another name."""

    line: int
    values: dict[str, str]
    tags: tuple[str, ...] = ()
    spelled: Mapping[str, str] = {}


class Target(NamedTuple):
    """What is to be done, with checked inputs."""

    model: Model
    target: str
    face: str
    faces: Faces


class Checker:
    """Checks the records of one manifest. Problems go to `problems`; a row that has one is left out."""

    def __init__(
        self, file: str, batch: str, inputs: Inputs, names: Outputs, problems: Problems, *, require_consent: bool
    ) -> None:
        self.file, self.batch, self.require_consent = file, batch, require_consent
        self.names = names
        self.problems = problems
        self.inputs = inputs
        self._folder_name = outputs.safe_part(batch)
        self._head = names.head(batch)

    def complain(self, line: int | None, field: str | None, message: str) -> None:
        self.problems.add(ManifestProblem(self.file, line, field, message))

    def rows(self, record: Record) -> list[Row]:
        """The row, or as many as `repeat` asks for; none when there is a problem."""
        before = self.problems.count
        values = record.values
        target = self._target(record)
        self._texts(record)
        repeat = (self._field(record, "repeat", checked_repeat) if "repeat" in values else 1) or 1
        given = self._field(record, "output", outputs.normalised) if "output" in values else None
        if target is None or self.problems.count > before:
            return []
        digest = content_digest(*target)
        real = self.inputs.real
        extra = tuple([(name, text) for name, text in values.items() if is_kept(name)])
        made = []
        for number in range(1, repeat + 1):
            suffix = "" if number == 1 else f"-{number}"
            # Without an id, the digest is the key, and repeated rows must differ in both.
            key, own_digest = (values["id"] + suffix, digest) if "id" in values else (digest + suffix,) * 2
            output = outputs.numbered(given, number) if given else self.name(key, target, record.line)
            made.append(
                Row(
                    key,
                    own_digest,
                    target.model,
                    real.get(target.target, target.target),
                    real.get(target.face, target.face),
                    output,
                    record.line,
                    tuple([(number, real.get(face, face)) for number, face in target.faces]) if real else target.faces,
                    values.get("consent", ""),
                    record.tags,
                    extra,
                )
            )
        return made if self._stay_inside(record, made) else []

    def name(self, key: str, target: Target, line: int) -> str:
        """The output by the name template."""
        if self._head is not None:
            return f"{self._head}{outputs.safe_part(key)}{outputs.ending(target.model, target.target)}"
        return self.names.template.format(
            batch=self._folder_name,
            key=outputs.safe_part(key),
            ext=outputs.ending(target.model, target.target),
            line=line,
            stem=outputs.safe_part(outputs.stem(target.target)),
        )

    def _stay_inside(self, record: Record, made: list[Row]) -> bool:
        try:
            for row in made:
                self.names.check(row.output)
        except Flaw as flaw:
            self._blame(record, "output", flaw)
            return False
        return True

    def _target(self, record: Record) -> Target | None:
        field = self._target_field(record)
        target = self._field(record, field, self.inputs.checked) if field else None
        face = self._field(record, "face", self.inputs.checked)
        several = [name for name in record.values if name.startswith("face_")]
        faces = self._faces(record, several) if several else ()
        if several and "face" in record.values:
            name = record.spelled.get(several[0], several[0])
            self.complain(record.line, name, "cannot be given beside face: a row has one face or several")
        elif not several and "face" not in record.values:
            self.complain(record.line, "face", "is missing: a row needs a face (or several)")
        if target is None:
            return None
        video, image = (Model.VIDEO_MULTI, Model.IMAGE_MULTI) if several else (Model.VIDEO, Model.IMAGE)
        return Target(video if field == "video" else image, target, face or "", faces)

    def _target_field(self, record: Record) -> str | None:
        video, image = "video" in record.values, "image" in record.values
        if video and image:
            name = record.spelled.get("image", "image")
            self.complain(record.line, name, "cannot be given beside video: a row has one target")
        elif not video and not image:
            self.complain(record.line, "video", "is missing: a row needs a video (or an image)")
        return None if video == image else "video" if video else "image"

    def _faces(self, record: Record, names: list[str]) -> Faces:
        """The checked faces of the fields `names`, in the order of their ids."""
        numbers = sorted(int(name.removeprefix("face_")) for name in names)
        checked = ((number, self._field(record, f"face_{number}", self.inputs.checked)) for number in numbers)
        return tuple((number, face) for number, face in checked if face)

    def _texts(self, record: Record) -> None:
        for name in record.values:
            if name in CHECKS:
                self._field(record, name, CHECKS[name])
            elif is_kept(name):
                self._field(record, name, fields.note)
        if record.tags:
            try:
                fields.checked_tags(record.tags)
            except Flaw as flaw:
                self._blame(record, "tags", flaw)
        if self.require_consent and "consent" not in record.values:
            self.complain(record.line, "consent", "is missing, and --require-consent asks for it in every row")

    def _field(self, record: Record, field: str, check: Callable[[str], T]) -> T | None:
        """What `check` makes of the field; None when it is absent or has a flaw, which is then told."""
        if (text := record.values.get(field)) is None:
            return None
        try:
            return check(text)
        except Flaw as flaw:
            self._blame(record, field, flaw)
            return None

    def _blame(self, record: Record, field: str, flaw: Flaw) -> None:
        self.complain(record.line, record.spelled.get(field, field), str(flaw))


def checked_key(text: str) -> str:
    """Raises Flaw for an id that cannot be a key."""
    return plain_text(text, LONGEST_KEY)


def checked_repeat(text: str) -> int:
    """How often a row is to be done. Raises Flaw."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= MOST_REPEATS:
        raise Flaw(f"is how often the row is done, a number from 1 to {MOST_REPEATS:,}, not {shown(text)}")
    return int(text)


CHECKS: dict[str, Callable[[str], str]] = {"id": checked_key, "consent": plain_text}
