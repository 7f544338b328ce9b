"""The words that mark a result as synthetic, for people and for machines.

Machines look for IPTC's Digital Source Type (https://cv.iptc.org/newscodes/digitalsourcetype/) in an XMP packet
(ISO 16684-1); stills and MP4 files (in a top-level box; XMP specification part 3) carry it.
"""

import struct
import uuid
from xml.sax.saxutils import escape, quoteattr

from batchswap.local.engine.metadata.xmp import Carried

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic"
BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")
"""The MP4 box that holds XMP."""


def sentence(task: str) -> str:
    """For people."""
    told = f" (task {task})" if task else ""
    return f"AI-generated/synthetic: a face in this media was replaced by software, batchswap{told}."


def xmp(task: str, source: Carried = Carried()) -> str:  # noqa: B008 - frozen
    """Return the whole packet with the source's properties; its description follows our sentence."""
    told = {**source.told, "x-default": " ".join(filter(None, [sentence(task), source.told.get("x-default")]))}
    lines = "".join(f"<rdf:li xml:lang={quoteattr(name)}>{escape(words)}</rdf:li>" for name, words in told.items())
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:dc="http://purl.org/dc/elements/1.1/"
 Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}">
<dc:description><rdf:Alt>{lines}</rdf:Alt></dc:description>
</rdf:Description>
{source.properties}</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


def box(task: str, source: Carried = Carried()) -> bytes:  # noqa: B008 - frozen
    """The packet as a `uuid` box, to be put after the last box of an MP4 file."""
    packet = xmp(task, source).encode()
    return struct.pack(">I4s16s", 24 + len(packet), b"uuid", BOX.bytes) + packet
