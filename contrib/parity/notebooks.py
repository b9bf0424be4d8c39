"""Comparing notebooks, cell by cell."""

from __future__ import annotations

import difflib
import json

import rules
from outcome import Outcome, different, normalised
from rules import Side


def compare(path: str, theirs: str, ours: str, sides: tuple[Side, Side]) -> Outcome:
    """Compares two notebooks that are not equal as bytes."""
    try:
        first, second = json.loads(theirs), json.loads(ours)
    except ValueError as error:
        return different(path, f"not JSON: {error}")
    used: set[str] = set()
    if first == second:
        return different(path, "the same notebook, but written differently")
    first_cells, first_logos = _normalised_cells(first, sides[0], used)
    second_cells, second_logos = _normalised_cells(second, sides[1], used)
    if first_logos == second_logos and first_logos and len(first_cells) == len(second_cells):
        for index in first_logos:
            first_cells[index] = rules.logo_cell_id(first_cells[index])
            second_cells[index] = rules.logo_cell_id(second_cells[index])
        used.add("logo_cell_id")
    first["cells"], second["cells"] = first_cells, second_cells
    if first == second:
        return normalised(path, used)
    return different(path, diff_of(_lines(first), _lines(second)))


def diff_of(first: list[str], second: list[str], limit: int = 60) -> str:
    """A unified diff of two lists of lines, CLM's first, shortened."""
    lines = list(difflib.unified_diff(first, second, "CLM", "clm", lineterm="", n=2))
    if len(lines) > limit:
        lines = lines[:limit] + [f"... {len(lines) - limit} more lines"]
    return "\n".join(line if len(line) <= 300 else line[:300] + "..." for line in lines)


def _normalised_cells(notebook: dict, side: Side, used: set[str]) -> tuple[list[dict], list[int]]:
    cells, logos = [], []
    for index, cell in enumerate(notebook.get("cells", [])):
        source = "".join(cell.get("source", []))
        source, has_logo = rules.header_logo(source, side)
        source, has_picture = rules.inlined_picture(source, side)
        if has_logo:
            logos.append(index)
            used.add("header_logo")
        if has_picture:
            used.add("inlined_picture")
        cells.append({**cell, "source": source.splitlines(keepends=True)} if has_logo or has_picture else dict(cell))
    return cells, logos


def _lines(notebook: dict) -> list[str]:
    return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False).splitlines()
