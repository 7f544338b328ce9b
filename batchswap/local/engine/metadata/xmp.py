"""What the XMP packet of a file says, for the file that is made from it (ISO 16684-1).

A packet is text from anywhere: it is bounded, has no entities, and is left out when it is not sound.
"""

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

LONGEST = 256 * 1024
"""Bytes of a packet that is read."""
LARGEST = 50_000
"""Bytes that are carried over; a JPEG segment takes 65,502."""
LONGEST_TOLD = 8_000
"""Bytes of a description that are repeated in ours."""
DEEPEST = 50

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DC = "{http://purl.org/dc/elements/1.1/}"
TOLD = f"{DC}description"
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
PREFIXES = {
    "rdf": RDF,
    "dc": DC,
    "xmp": "{http://ns.adobe.com/xap/1.0/}",
    "xmpRights": "{http://ns.adobe.com/xap/1.0/rights/}",
    "xmpMM": "{http://ns.adobe.com/xap/1.0/mm/}",
    "photoshop": "{http://ns.adobe.com/photoshop/1.0/}",
    "Iptc4xmpCore": "{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}",
    "Iptc4xmpExt": "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}",
    "plus": "{http://ns.useplus.org/ldf/xmp/1.0/}",
    "cc": "{http://creativecommons.org/ns#}",
    "tiff": "{http://ns.adobe.com/tiff/1.0/}",
    "exif": "{http://ns.adobe.com/exif/1.0/}",
}
RIGHTS = tuple(PREFIXES[name] for name in ("dc", "xmpRights", "photoshop", "Iptc4xmpCore", "Iptc4xmpExt", "plus", "cc"))
REPLACED = (
    TOLD,
    f"{PREFIXES['Iptc4xmpExt']}DigitalSourceType",
    f"{PREFIXES['tiff']}Orientation",
    f"{PREFIXES['xmp']}Thumbnails",  # of the face that was replaced
    "{http://ns.adobe.com/xmp/note/}",  # says that more follows, which is not read
    "{http://ns.google.com/photos/",  # pictures in the picture, and where they begin
    "{http://ns.adobe.com/hdr-gain-map/",
)
"""Names, or how they begin."""

for _prefix, _name in PREFIXES.items():
    ET.register_namespace(_prefix, _name[1:-1])


@dataclass(frozen=True)
class Carried:
    """`properties` are rdf:Description elements as text; `told` is the description (dc:description) by language."""

    properties: str = ""
    told: dict[str, str] = field(default_factory=dict)


def carried(packet: bytes) -> Carried:
    """Nothing when the packet is no XMP, too long, too deep, or declares a document type and with it entities."""
    if not 0 < len(packet) <= LONGEST:
        return Carried()
    try:
        body = packet.rpartition(b"<?xpacket end=")[0] or packet  # some writers leave noise behind the end
        text = body.decode("utf-8").strip("\0\ufeff \r\n\t")
        if "<!DOCTYPE" in text:
            return Carried()
        tree = ET.fromstring(text)  # noqa: S314 - without a document type there are no entities to expand
        if is_deep(tree):
            return Carried()
    except (UnicodeDecodeError, ValueError, ET.ParseError):
        return Carried()
    top = tree if tree.tag == f"{RDF}RDF" else tree.find(f"{RDF}RDF")
    found = [] if top is None else top.findall(f"{RDF}Description")
    told = {language: words for one in found for language, words in descriptions(one).items()}
    for one in found:
        strip(one, REPLACED)
    properties = as_text(found)
    if len(properties.encode()) > LARGEST:
        for one in found:
            strip(one, tuple(name for name in names(one) if not name.startswith(RIGHTS)))
        properties = as_text(found)
    return Carried(properties if len(properties.encode()) <= LARGEST else "", bounded(told))


def is_deep(tree: ET.Element) -> bool:
    """Return whether elements are nested so deep that writing them again would exhaust the stack."""
    level = [tree]
    for _ in range(DEEPEST):
        level = [child for one in level for child in one]
    return bool(level)


def descriptions(one: ET.Element) -> dict[str, str]:
    """dc:description by language; "x-default" where none is named."""
    plain = one.get(TOLD) or "".join(element.text or "" for element in one.findall(TOLD)).strip()
    found = {"x-default": plain} if plain else {}
    for item in one.iterfind(f"{TOLD}/{RDF}Alt/{RDF}li"):
        found[item.get(LANGUAGE, "x-default")] = (item.text or "").strip()
    return {language: words for language, words in found.items() if words}


def bounded(told: dict[str, str]) -> dict[str, str]:
    """All of it, or of the first one as much as there is room for."""
    if (
        sum(len((quoteattr(language) + escape(words)).encode()) + 40 for language, words in told.items())
        <= LONGEST_TOLD
    ):
        return told
    words = told.get("x-default") or next(iter(told.values()))
    return {"x-default": words.encode()[: LONGEST_TOLD // 5].decode(errors="ignore")}  # an & becomes five bytes


def names(one: ET.Element) -> list[str]:
    return [*one.keys(), *(child.tag for child in one)]


def strip(one: ET.Element, unwanted: tuple[str, ...]) -> None:
    """Take properties out whose names begin so, be they elements or attributes."""
    for name in [name for name in one.keys() if name.startswith(unwanted)]:  # noqa: SIM118 - an element is no dict
        del one.attrib[name]
    for child in [child for child in one if child.tag.startswith(unwanted)]:
        one.remove(child)


def as_text(found: list[ET.Element]) -> str:
    """Elements that say something, all about the file itself as the packet's other ones are."""
    lines = []
    for one in found:
        one.attrib.pop("about", None)
        one.set(f"{RDF}about", "")
        one.tail = ""
        if len(one) or len(one.attrib) > 1:
            lines.append(ET.tostring(one, encoding="unicode"))
    return "\n".join(lines)
