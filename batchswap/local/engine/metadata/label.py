"""The labels that mark a result as synthetic, for people and for programs.

Programs look for IPTC's Digital Source Type (https://cv.iptc.org/newscodes/digitalsourcetype/) in an XMP packet
(ISO 16684-1). Stills contain it, and so do MP4 files, in a top-level box (XMP specification, part 3).
"""

import struct
import uuid
from xml.sax.saxutils import escape, quoteattr

from batchswap.local.engine.metadata.xmp import Carried

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic"
"""The mark of the mesh warp, which moves and blends the pixels of a picture."""
TRAINED_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""The mark of a swap by a trained model."""
BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")
"""The MP4 box that holds XMP."""
START = "AI-generated/synthetic: a face in this media was replaced by software, batchswap"
"""The beginning of the label for people."""


def sentence(task: str) -> str:
    """Return the label for people."""
    named = f" (task {task})" if task else ""
    return f"{START}{named}."


def xmp(task: str, source: Carried = Carried(), source_type: str = SOURCE_TYPE) -> str:  # noqa: B008 - frozen
    """Return the whole packet. It has the source's properties, and its description after the label."""
    default = " ".join(filter(None, [sentence(task), source.descriptions.get("x-default")]))
    texts = {**source.descriptions, "x-default": default}
    lines = "".join(f"<rdf:li xml:lang={quoteattr(name)}>{escape(text)}</rdf:li>" for name, text in texts.items())
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:dc="http://purl.org/dc/elements/1.1/"
 Iptc4xmpExt:DigitalSourceType="{source_type}">
<dc:description><rdf:Alt>{lines}</rdf:Alt></dc:description>
</rdf:Description>
{source.properties}</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


def box(task: str, source: Carried = Carried()) -> bytes:  # noqa: B008 - frozen
    """Return the packet as a `uuid` box, which goes behind the last box of an MP4 file."""
    return in_box(xmp(task, source).encode())


def in_box(packet: bytes) -> bytes:
    """Return a packet as a `uuid` box."""
    return struct.pack(">I4s16s", 24 + len(packet), b"uuid", BOX.bytes) + packet
