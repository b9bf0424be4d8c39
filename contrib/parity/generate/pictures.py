"""Images and diagrams of generated courses."""

from __future__ import annotations

import struct
import zlib
from random import Random

NAMES = ["", "", "", " own_name", ' "my name"', " a.b"]


def png(random: Random) -> bytes:
    """A small picture."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    pixel = bytes(random.randrange(256) for _ in range(3))
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + pixel)) + chunk(b"IEND", b"")


def plantuml(random: Random) -> str:
    """A diagram that needs no other program for its layout."""
    number = random.randint(0, 99)
    bodies = [
        f"Alice -> Bob : message {number}\nBob --> Alice : answer",
        f"participant \"Größe {number}\" as a\na -> a : self\nnote right: a note",
        f"skinparam backgroundColor white\nA -> B : {number}\nnewpage\nB -> A",
    ]
    text = f"@startuml{random.choice(NAMES)}\n{random.choice(bodies)}\n@enduml\n"
    if random.random() < 0.15:
        return f"@startmindmap\n* root {number}\n** leaf\n@endmindmap\n"
    return text


def drawing(random: Random) -> str:
    """A drawing of one box."""
    number = random.randint(0, 9999)
    return (
        f'<mxfile><diagram id="d{number}" name="Page-1"><mxGraphModel><root><mxCell id="0"/>'
        f'<mxCell id="1" parent="0"/><mxCell id="2" value="Box {number}" style="rounded=0;html=0;" vertex="1" '
        'parent="1"><mxGeometry x="10" y="10" width="90" height="40" as="geometry"/></mxCell>'
        "</root></mxGraphModel></diagram></mxfile>\n"
    )
