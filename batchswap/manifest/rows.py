"""One row as it was written → checked rows, or every problem it has."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import msgspec

from batchswap.errors import Flaw, ManifestProblem
from batchswap.manifest import fields, outputs
from batchswap.manifest.fields import FACE_FIELD, LONGEST_KEY, is_kept, plain_text, shown
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
        self._inputs = inputs
        self._folder_name = outputs.safe_part(batch)

    def complain(self, line: int | None, field: str | None, message: str) -> None:
        self.problems.add(ManifestProblem(self.file, line, field, message))

    def rows(self, record: Record) -> list[Row]:
        """The row, or as many as `repeat` asks for; none when there is a problem."""
        before = self.problems.count
        values = record.values
        target = self._target(record)
        self._texts(record)
        repeat = self._field(record, "repeat", checked_repeat) or 1
        given = self._field(record, "output", outputs.normalised)
        if target is None or self.problems.count > before:
            return []
        digest = content_digest(*target)
        extra = tuple((name, text) for name, text in values.items() if is_kept(name))
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
                    target.target,
                    target.face,
                    output,
                    record.line,
                    target.faces,
                    values.get("consent", ""),
                    record.tags,
                    extra,
                )
            )
        return made if self._stay_inside(record, made) else []

    def name(self, key: str, target: Target, line: int) -> str:
        """The output by the name template."""
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
        target = self._field(record, field, self._inputs.checked) if field else None
        face = self._field(record, "face", self._inputs.checked)
        faces = self._faces(record)
        if face and faces:
            several = record.spelled.get(faces[0][0], faces[0][0])
            self.complain(record.line, several, "a row has one face or several: face and faces cannot both be given")
        elif not face and not faces and "face" not in record.values:
            self.complain(record.line, "face", "is missing: a row needs a face (or faces)")
        if target is None:
            return None
        video = field == "video"
        if faces:
            multi = tuple((int(name.removeprefix("face_")), face) for name, face in faces)
            return Target(Model.VIDEO_MULTI if video else Model.IMAGE_MULTI, target, "", multi)
        return Target(Model.VIDEO if video else Model.IMAGE, target, face or "", ())

    def _target_field(self, record: Record) -> str | None:
        video, image = "video" in record.values, "image" in record.values
        if video and image:
            self.complain(record.line, "image", "a row has one target: video and image cannot both be given")
        elif not video and not image:
            self.complain(record.line, "video", "is missing: a row needs a video (or an image)")
        return None if video == image else "video" if video else "image"

    def _faces(self, record: Record) -> list[tuple[str, str]]:
        """Checked (field, face) in the order of the ids."""
        names = sorted(
            (n for n in record.values if FACE_FIELD.fullmatch(n)), key=lambda n: int(n.removeprefix("face_"))
        )
        return [(name, face) for name in names if (face := self._field(record, name, self._inputs.checked))]

    def _texts(self, record: Record) -> None:
        self._field(record, "id", checked_key)
        self._field(record, "consent", plain_text)
        for name in record.values:
            if is_kept(name):
                self._field(record, name, fields.note)
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
