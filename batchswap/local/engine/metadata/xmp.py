"""Carry the XMP packet of a file over to its result (ISO 16684-1).

A packet is untrusted text: its size and depth are limited, it must not define entities, and a bad one is left out.
"""

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

LONGEST = 256 * 1024
"""Limit in bytes for reading a packet."""
LARGEST = 50_000
"""Limit in bytes for the properties; a JPEG segment can hold 65,502."""
LONGEST_DESCRIPTION = 8_000
"""Limit in bytes for the descriptions."""
DEEPEST = 50

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DC = "{http://purl.org/dc/elements/1.1/}"
DESCRIPTION = f"{DC}description"
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
DIGITAL_SOURCE_TYPE = f"{PREFIXES['Iptc4xmpExt']}DigitalSourceType"
BY_LABEL = (DESCRIPTION, DIGITAL_SOURCE_TYPE)
"""The properties that the label replaces."""
REPLACED = (
    *BY_LABEL,
    f"{PREFIXES['tiff']}Orientation",
    f"{PREFIXES['xmp']}Thumbnails",  # they show the replaced face
    "{http://ns.adobe.com/xmp/note/}",  # refers to a second packet, which is not read
    "{http://ns.google.com/photos/",  # offsets of embedded pictures
    "{http://ns.adobe.com/hdr-gain-map/",
)
"""Names of properties that are left out, or the beginnings of their names."""

for _prefix, _name in PREFIXES.items():
    ET.register_namespace(_prefix, _name[1:-1])


@dataclass(frozen=True)
class Carried:
    """Contents of a packet: `properties` are rdf:Description elements, `descriptions` dc:description by language."""

    properties: str = ""
    descriptions: dict[str, str] = field(default_factory=dict)


def carried(packet: bytes) -> Carried:
    """Read a packet. It is ignored if it is no XMP, too long, too deep, or declares a document type with entities."""
    top = parsed(packet)
    if top is None:
        return Carried()
    found = top.findall(f"{RDF}Description")
    texts = all_descriptions(found)
    for one in found:
        strip(one, REPLACED)
    properties = as_text(found)
    if len(properties.encode()) > LARGEST:
        for one in found:
            names = (*one.keys(), *(child.tag for child in one))
            strip(one, tuple(name for name in names if not name.startswith(RIGHTS)))
        properties = as_text(found)
    return Carried(properties if len(properties.encode()) <= LARGEST else "", bounded(texts))


def kept(packet: bytes) -> Carried | None:
    """Read everything but what the label replaces, for a file that is not encoded again. None: it cannot be read."""
    top = parsed(packet)
    if top is None:
        return None
    found = top.findall(f"{RDF}Description")
    texts = all_descriptions(found)
    for one in found:
        strip(one, BY_LABEL)
    return Carried(as_text(found), texts)


def source_types(packet: bytes) -> list[str]:
    """Return the values of IPTC's Digital Source Type."""
    top = parsed(packet)
    found = [] if top is None else top.findall(f"{RDF}Description")
    return [text for one in found for text in (one.get(DIGITAL_SOURCE_TYPE), one.findtext(DIGITAL_SOURCE_TYPE)) if text]


def parsed(packet: bytes) -> ET.Element | None:
    """Return the element rdf:RDF. None: it is no XMP, too long, too deep, or declares a document type."""
    if not 0 < len(packet) <= LONGEST:
        return None
    try:
        body = packet.rpartition(b"<?xpacket end=")[0] or packet  # some writers leave garbage behind the end
        text = body.decode("utf-8").strip("\0\ufeff \r\n\t")
        if "<!DOCTYPE" in text:
            return None
        tree = ET.fromstring(text)  # noqa: S314 - without a document type there are no entities to expand
        if is_deep(tree):
            return None
    except (UnicodeDecodeError, ValueError, ET.ParseError):
        return None
    return tree if tree.tag == f"{RDF}RDF" else tree.find(f"{RDF}RDF")


def all_descriptions(found: list[ET.Element]) -> dict[str, str]:
    return {language: text for one in found for language, text in descriptions(one).items()}


def is_deep(tree: ET.Element) -> bool:
    """Return whether elements are nested so deeply that serialising them could exhaust the stack."""
    level = [tree]
    for _ in range(DEEPEST):
        level = [child for one in level for child in one]
    return bool(level)


def descriptions(one: ET.Element) -> dict[str, str]:
    """Return dc:description by language; "x-default" if none is named."""
    plain = one.get(DESCRIPTION) or "".join(element.text or "" for element in one.findall(DESCRIPTION)).strip()
    found = {"x-default": plain} if plain else {}
    for item in one.iterfind(f"{DESCRIPTION}/{RDF}Alt/{RDF}li"):
        found[item.get(LANGUAGE, "x-default")] = (item.text or "").strip()
    return {language: text for language, text in found.items() if text}


def bounded(texts: dict[str, str]) -> dict[str, str]:
    """Return all descriptions, or the start of the default one if they are too long together."""
    size = sum(len((quoteattr(language) + escape(text)).encode()) + 40 for language, text in texts.items())
    if size <= LONGEST_DESCRIPTION:
        return texts
    text = texts.get("x-default") or next(iter(texts.values()))
    return {"x-default": text.encode()[: LONGEST_DESCRIPTION // 5].decode(errors="ignore")}  # an & becomes five bytes


def strip(one: ET.Element, unwanted: tuple[str, ...]) -> None:
    """Remove properties whose names begin with one of `unwanted`, both elements and attributes."""
    for name in [name for name in one.keys() if name.startswith(unwanted)]:  # noqa: SIM118 - an element is no dict
        del one.attrib[name]
    for child in [child for child in one if child.tag.startswith(unwanted)]:
        one.remove(child)


def as_text(found: list[ET.Element]) -> str:
    """Serialise the elements that are not empty, with rdf:about="" like the other elements of the result."""
    lines = []
    for one in found:
        one.attrib.pop("about", None)
        one.set(f"{RDF}about", "")
        one.tail = ""
        if len(one) or len(one.attrib) > 1:
            lines.append(ET.tostring(one, encoding="unicode"))
    return "\n".join(lines)
