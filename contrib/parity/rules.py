"""The normalising rules: everything in which outputs of CLM and clm may differ and still be called equal.

Each rule is a function with one line that says why it is needed. A rule replaces one exactly known thing by a name;
none removes a cell, an output, a language or a kind. `selftest.py` proves that such a loss is still seen.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path

DATA_URL = re.compile(r"data:(image/[a-z+]+);base64,([A-Za-z0-9+/=\s]+)")
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,16}\b")
KERNEL_FILE = re.compile(r"/\S*?/ipykernel_\d+/\d+\.py")


@dataclass
class Side:
    """What is known about one of the two builders: its logos and pictures of diagrams, by their bytes."""

    name: str
    logos: dict[bytes, str] = field(default_factory=dict)
    rendered: dict[bytes, str] = field(default_factory=dict)
    stubs: tuple[bytes, ...] = ()


def template_assets(head: list[str]) -> list[str]:
    """Pages carry styles and scripts of their nbconvert version (7.16 and 7.17 differ): that there are some counts."""
    kept: list[str] = []
    inside = None
    for line in head:
        asset = re.match(r"<(style|script|link|meta)\b", line)
        if inside:
            inside = None if line == f"</{inside}>" else inside
        elif asset:
            inside = asset.group(1)
            if f"<{inside}>" not in kept:
                kept.append(f"<{inside}>")
        elif line.strip(" '\\n"):
            kept.append(line)
    return kept


def header_logo(text: str, side: Side) -> tuple[str, bool]:
    """CLM's logos are its own and clm draws others: a picture that is one of the side's logos becomes its name."""
    fired = False

    def named(match: re.Match) -> str:
        nonlocal fired
        encoded = match.group(2)
        name = side.logos.get(_decoded(encoded))
        if name is None:
            return match.group(0)
        fired = True
        return f"logo:{name}" + encoded[len(encoded.rstrip()) :]

    return DATA_URL.sub(named, text), fired


def logo_cell_id(cell: dict) -> dict:
    """A cell's id is a digest of its source, so a title cell, which contains the logo, cannot have the same one."""
    return {**cell, "id": "id of a title cell"}


def inlined_picture(text: str, side: Side) -> tuple[str, bool]:
    """An inlined picture of a diagram is encoded anew: it becomes the diagram's name, compared as a file elsewhere."""
    fired = False

    def named(match: re.Match) -> str:
        nonlocal fired
        name = side.rendered.get(_decoded(match.group(2)))
        if name is None:
            return match.group(0)
        fired = True
        return f"rendered:{name}"

    return DATA_URL.sub(named, text), fired


def object_addresses(output: str) -> tuple[str, bool]:
    """The default `repr` of an object shows where it lies in memory, which differs from run to run."""
    return _substituted(ADDRESS, "0xADDRESS", output)


def kernel_file_names(output: str) -> tuple[str, bool]:
    """ipykernel names a cell in warnings by process and digest, in a temporary directory."""
    return _substituted(KERNEL_FILE, "/ipykernel/CELL.py", output)


def diagram_encoding(ours: Path, theirs: Path) -> str | None:
    """PlantUML writes the diagram's source into its pictures, and clm calls it in another way: pixels must be equal."""
    from pictures import pixels_differ

    return pixels_differ(theirs, ours)


def drawio_stub(ours: Path) -> str | None:
    """draw.io desktop is replaced by a stub for CLM: where the stub's picture lies, clm must have one of that format."""
    from pictures import is_picture

    return None if is_picture(ours) else f"{ours.name} is no picture"


def manifest_times(manifest: dict) -> dict:
    """A manifest tells when it was written, and digests of files which are compared themselves."""
    files = [{**entry, "content_hash": "digest"} for entry in manifest.get("files", [])]
    return {**manifest, "built_at": "time", "files": files}


def cmake_commands(text: str) -> list[str]:
    """clm's CMake files are written by clm: comments and the test for a top project are other, commands must not be."""
    text = re.sub(r"^ *#.*$", "", text, flags=re.MULTILINE)
    text = text.replace("if(NOT CLM_CODE_EXPORT_CONFIGURED)", "if(PROJECT_IS_TOP_LEVEL)")
    lines = (line.strip() for line in text.replace("set(CLM_CODE_EXPORT_CONFIGURED ON)", "").splitlines())
    return [line for line in lines if line]


def support_header(theirs: str, ours: str) -> bool:
    """clm's `display.hpp` is its own: it must offer the names that exported programs use."""
    names = [set(re.findall(r"^#define (\w+)\(", text, re.MULTILINE)) for text in (theirs, ours)]
    return bool(names[0]) and names[0] <= names[1]


def _substituted(pattern: re.Pattern, name: str, text: str) -> tuple[str, bool]:
    replaced, count = pattern.subn(name, text)
    return replaced, count > 0


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode("".join(encoded.split()))
    except ValueError:
        return b""
