"""Check a row: return the tasks that it describes, or report all its problems."""

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TypeVar

import msgspec

from batchswap.errors import Flaw, ManifestErrors, ManifestProblem
from batchswap.manifest import fields, outputs
from batchswap.manifest.consents import Consents
from batchswap.manifest.fields import LONGEST_KEY, is_kept, plain_text, shown
from batchswap.manifest.inputs import ManifestInputs
from batchswap.manifest.outputs import ORDINARY, Outputs, ending, safe_part
from batchswap.tasks import Faces, Model, Row, content_digest

MOST_REPEATS = 10_000
MOST_SHOWN = 1000
MODELS = {
    (True, False): Model.VIDEO,
    (True, True): Model.VIDEO_MULTI,
    (False, False): Model.IMAGE,
    (False, True): Model.IMAGE_MULTI,
}
"""Models by (the target is a video, there are several faces)."""
T = TypeVar("T")
Complain = Callable[[int | None, str | None, str], None]
"""Record a problem: line, field and message."""


class RawRow(msgspec.Struct, frozen=True):
    """One row as written, with the non-empty fields. `spelled` has the names of fields that are written differently."""

    line: int
    values: dict[str, str]
    tags: tuple[str, ...] = ()
    spelled: Mapping[str, str] = {}


class Problems:
    """Collects problems in bounded memory: the first MOST_SHOWN are kept, the rest are counted."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[ManifestProblem] = []
        self._files: dict[str, int] = {}

    def add(self, problem: ManifestProblem) -> None:
        self.count += 1
        if len(self._kept) < MOST_SHOWN:
            self._files.setdefault(problem.file, len(self._files))
            self._kept.append(problem)

    def errors(self) -> ManifestErrors:
        """Return the kept problems by file and line, and the number of further ones."""
        found = sorted(self._kept, key=lambda p: (self._files[p.file], p.line or 0))
        if more := self.count - len(found):
            found.append(ManifestProblem(found[-1].file, None, None, f"and {more:,} more problems that are not listed"))
        return ManifestErrors(found)


class Checker:
    """Checks the records of one manifest. Problems go to `problems`; a row with problems is left out."""

    def __init__(
        self,
        file: str,
        batch: str,
        inputs: ManifestInputs,
        names: Outputs,
        problems: Problems,
        consents: Consents,
    ) -> None:
        self.file, self.batch, self.consents = file, batch, consents
        self.names = names
        self.problems = problems
        self.inputs = inputs
        self._folder_name = safe_part(batch)
        self._head = names.head(batch)

    def complain(self, line: int | None, field: str | None, message: str) -> None:
        self.problems.add(ManifestProblem(self.file, line, field, message))

    def rows(self, record: RawRow) -> list[Row]:
        """Return the row, repeated as often as `repeat` says; none if it has a problem."""
        before = self.problems.count
        values = record.values
        field = self._target_field(record)
        target = self._field(record, field, self.inputs.checked) if field else None
        face, faces = self._faces(record)
        self._texts(record)
        repeat = self._field(record, "repeat", checked_repeat) or 1
        given = self._field(record, "output", outputs.normalised) or ""
        if target is None or self.problems.count > before:
            return []
        video, image = (target, "") if field == "video" else ("", target)
        notes = tuple([(name, text) for name, text in values.items() if is_kept(name)])
        key, consent = values.get("id", ""), values.get("consent", "")
        try:
            return self.made(record.line, key, video, image, face, faces, given, consent, record.tags, notes, repeat)
        except Flaw as flaw:
            self._blame(record, "output", flaw)
            return []

    def made(
        self,
        line: int,
        id_: str,
        video: str,
        image: str,
        face: str,
        faces: Faces,
        given: str,
        consent: str,
        tags: tuple[str, ...],
        notes: tuple[tuple[str, str], ...],
        repeat: int = 1,
    ) -> list[Row]:
        """Return the rows of checked fields ("" if absent). Raise Flaw for an output outside of --out."""
        target = video or image
        model = MODELS[bool(video), bool(faces)]
        digest = content_digest(model, target, face, faces)
        place, real = target, self.inputs.real
        if real:
            place, face = real.get(target, target), real.get(face, face)
            faces = tuple([(number, real.get(text, text)) for number, text in faces])
        key = id_ or digest
        output = self._output(key, given, model, target, line)
        rows = [Row(key, digest, model, place, face, output, line, faces, consent, tags, notes)]
        for number in range(2, repeat + 1):
            key = f"{id_ or digest}-{number}"
            output = self._output(key, given and outputs.numbered(given, number), model, target, line)
            # Without an id, the digest is the key, and repeated rows must differ in both.
            own = digest if id_ else key
            rows.append(Row(key, own, model, place, face, output, line, faces, consent, tags, notes))
        return rows

    def _output(self, key: str, given: str, model: Model, target: str, line: int) -> str:
        """Return the given output, or else that of the name template. Raise Flaw if it is outside of --out."""
        if not given and self._is_head_inside:
            if ORDINARY.fullmatch(key):
                return f"{self._head}{key}{ending(model, target)}"
            given = f"{self._head}{safe_part(key)}{ending(model, target)}"
        output = given or self._name(key, model, target, line)
        self.names.check(output)
        return output

    def _name(self, key: str, model: Model, target: str, line: int) -> str:
        """Return the output by the name template."""
        return self.names.template.format(
            batch=self._folder_name,
            key=safe_part(key),
            ext=ending(model, target),
            line=line,
            stem=safe_part(outputs.stem(target)),
        )

    @property
    def plain_head(self) -> str | None:
        """The start of the outputs of rows with an ordinary key, if the outputs depend on the key only."""
        return self._head if self._is_head_inside and not self.inputs.real else None

    @cached_property
    def _is_head_inside(self) -> bool:
        """Whether all outputs start with the same folder inside --out."""
        if self._head is None:
            return False
        try:
            self.names.check(f"{self._head}x")
        except Flaw:
            return False
        return True

    def _target_field(self, record: RawRow) -> str | None:
        video, image = "video" in record.values, "image" in record.values
        if video and image:
            name = record.spelled.get("image", "image")
            self.complain(record.line, name, "cannot be given together with video: a row has one target")
        elif not video and not image:
            self.complain(record.line, "video", "is missing: a row needs a video (or an image)")
        return None if video == image else "video" if video else "image"

    def _faces(self, record: RawRow) -> tuple[str, Faces]:
        """Return the checked face, or the checked faces in the order of their ids."""
        face = self._field(record, "face", self.inputs.checked) or ""
        several = [name for name in record.values if name.startswith("face_")]
        numbers = sorted(int(name.removeprefix("face_")) for name in several)
        checked = ((number, self._field(record, f"face_{number}", self.inputs.checked)) for number in numbers)
        faces = tuple([(number, found) for number, found in checked if found])
        if several and "face" in record.values:
            name = record.spelled.get(several[0], several[0])
            self.complain(record.line, name, "cannot be given together with face: use face, or face_0, face_1, …")
        elif not several and "face" not in record.values:
            self.complain(record.line, "face", "is missing: a row needs a face (or several)")
        return face, faces

    def _texts(self, record: RawRow) -> None:
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
        if wrong := self.consents.problem(record.values.get("consent", ""), record.tags):
            self.complain(record.line, "consent", wrong)

    def _field(self, record: RawRow, field: str, check: Callable[[str], T]) -> T | None:
        """Return the field's checked value; None if it is absent or has a problem, which is reported."""
        if (text := record.values.get(field)) is None:
            return None
        try:
            return check(text)
        except Flaw as flaw:
            self._blame(record, field, flaw)
            return None

    def _blame(self, record: RawRow, field: str, flaw: Flaw) -> None:
        self.complain(record.line, record.spelled.get(field, field), str(flaw))


def checked_key(text: str) -> str:
    """Return an id that can be a key. Raise Flaw."""
    return plain_text(text, LONGEST_KEY)


def checked_repeat(text: str) -> int:
    """Return how often to repeat a row. Raise Flaw."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= MOST_REPEATS:
        raise Flaw(f"must be a number of repetitions from 1 to {MOST_REPEATS:,}, not {shown(text)}")
    return int(text)


CHECKS: dict[str, Callable[[str], str]] = {"id": checked_key, "consent": plain_text}
