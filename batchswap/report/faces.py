"""The reports of `batchswap faces`: a table, a contact sheet, and a manifest row to fill in."""

import base64
import html
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from batchswap.report.formatting import safe, size, table
from batchswap.tasks import public


class Face(msgspec.Struct, frozen=True):
    """One detected face and its saved picture. Width and height in pixels, 0 if unknown."""

    id: int
    picture: Path
    media_type: str
    width: int = 0
    height: int = 0

    @property
    def pixels(self) -> str:
        return f"{self.width} x {self.height}" if self.width else "unknown"


class Cast(msgspec.Struct, frozen=True):
    """The faces in a target, which is a URL or a path as it was typed. `kind`: "video" or "image"."""

    target: str
    kind: str
    faces: tuple[Face, ...]

    @property
    def title(self) -> str:
        """The target, safe to show."""
        return safe(public(self.target))


def to_json(cast: Cast, sheets: Sequence[Path]) -> dict[str, Any]:
    return {
        "target": cast.title,
        "kind": cast.kind,
        "faces": [
            {"id": face.id, "picture": str(face.picture), "width": face.width or None, "height": face.height or None}
            for face in cast.faces
        ],
        "sheets": [str(sheet) for sheet in sheets],
    }


def to_table(cast: Cast, columns: int | None) -> Iterator[str]:
    rows = ((str(f.id), f.pixels, size(f.picture.stat().st_size), str(f.picture)) for f in cast.faces)
    return table(("face", "pixels", "size", "picture"), rows, columns=columns, right=frozenset({0, 1, 2}))


def to_yaml(cast: Cast) -> Iterator[str]:
    """Yield a manifest with one row. Its new faces do not exist, so it cannot run before they are replaced."""
    yield f"# Faces in {cast.title}: name a new picture for each face to swap, and delete the other lines."
    yield "tasks:"
    yield f"  - {cast.kind}: {json.dumps(cast.target, ensure_ascii=False)}"
    yield "    faces:"
    for face in cast.faces:
        yield f'      {face.id}: "NEW-FACE-{face.id}.jpg"  # now: {safe(str(face.picture))}, {face.pixels}'


def to_html(cast: Cast) -> str:
    """Return one HTML file that contains all pictures. All names are escaped, and nothing is loaded."""
    title = html.escape(cast.title)
    figures = "\n".join(_figure(face) for face in cast.faces) or "<p>No face was detected.</p>"
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>Faces of {title}</title>
<style>
body {{ font: 16px sans-serif; margin: 2em; background: #fff; color: #222 }}
figure {{ display: inline-block; margin: 0 1.5em 1.5em 0; text-align: center }}
img {{ height: 240px; display: block; border: 1px solid #ccc }}
b {{ font-size: 28px }}
</style>
<h1>Faces of {title}</h1>
{figures}
</html>
"""


def _figure(face: Face) -> str:
    data = base64.b64encode(face.picture.read_bytes()).decode()
    source = f"data:{html.escape(face.media_type, quote=True)};base64,{data}"
    caption = f"<b>{face.id}</b><br>{html.escape(face.pixels)}<br>{html.escape(safe(face.picture.name))}"
    return f'<figure><img src="{source}" alt="face {face.id}"><figcaption>{caption}</figcaption></figure>'
