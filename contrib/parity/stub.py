"""The stand-in for draw.io desktop that CLM gets: it writes a picture of one pixel that names its input."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><title>stub of draw.io '
SCRIPT = """#!/bin/sh
# Takes draw.io's options. What follows the picture's end tells pictures of different drawings apart.
while [ $# -gt 0 ]; do
  case $1 in
    --export) input=$2 ;;
    --format) format=$2 ;;
    --output) output=$2 ;;
  esac
  shift
done
digest=$(sha256sum < "$input" | cut -c 1-64)
if [ "$format" = svg ]; then
  { cat "$(dirname "$0")/stub.svg"; printf '%s</title></svg>' "$digest"; } > "$output"
else
  { cat "$(dirname "$0")/stub.png"; printf '%s' "$digest"; } > "$output"
fi
"""


def png() -> bytes:
    """A transparent pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 6, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 5)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def install(directory: Path) -> Path:
    """Writes the stub; gives the program's path."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "stub.png").write_bytes(png())
    (directory / "stub.svg").write_bytes(SVG)
    program = directory / "drawio"
    program.write_text(SCRIPT)
    program.chmod(0o755)
    return program


def beginnings() -> tuple[bytes, ...]:
    """How the stub's pictures begin."""
    return png(), SVG
