"""Comparing pictures."""

from __future__ import annotations

import re
from pathlib import Path

PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".svg"}


def is_picture(path: Path) -> bool:
    """Whether a file is what its extension says."""
    content = path.read_bytes()
    if path.suffix.lower() == ".svg":
        return b"<svg" in content
    return bool(content) and _opened(path) is not None


def pixels_differ(theirs: Path, ours: Path) -> str | None:
    """None if two pictures look the same; else in what they differ."""
    if theirs.suffix.lower() == ".svg":
        return _drawings_differ(theirs, ours)
    from PIL import ImageChops

    first, second = _opened(theirs), _opened(ours)
    if first is None or second is None:
        return "not a picture"
    if first.size != second.size:
        return f"sizes differ: CLM {first.size}, clm {second.size}"
    difference = ImageChops.difference(first, second)
    box = difference.getbbox(alpha_only=False)
    return None if box is None else f"pixels differ within {box} of {first.size}"


def _opened(path: Path):
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(path).convert("RGBA")
    except (UnidentifiedImageError, OSError):
        return None


def _drawings_differ(theirs: Path, ours: Path) -> str | None:
    first, second = (_drawing(path.read_text("utf-8")) for path in (theirs, ours))
    if first == second:
        return None
    place = next((i for i, (a, b) in enumerate(zip(first, second)) if a != b), min(len(first), len(second)))
    return f"drawings differ: CLM {first[place : place + 80]!r}, clm {second[place : place + 80]!r}"


def _drawing(text: str) -> str:
    """A drawing without its comments and processing instructions, in which PlantUML keeps the source."""
    return re.sub(r"<!--.*?-->|<\?.*?\?>", "", text, flags=re.DOTALL).strip()
