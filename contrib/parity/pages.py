"""Comparing pages as trees of elements."""

from __future__ import annotations

import re

import rules
from notebooks import diff_of
from outcome import Outcome, different, normalised
from rules import Side

CELL = re.compile(r"^<div .*id='cell-id=[0-9a-f-]+'")
CELL_ID = re.compile(r"id='cell-id=[0-9a-f-]+'")


def compare(path: str, theirs: str, ours: str, sides: tuple[Side, Side]) -> Outcome:
    """Compares two pages that are not equal as bytes."""
    used: set[str] = set()
    first, second = (_Page(text, side, used) for text, side in zip((theirs, ours), sides))
    heads = first.head, second.head
    if heads[0] != heads[1]:
        heads = tuple(rules.template_assets(head) for head in heads)
        used.add("template_assets")
    bodies = first.body, second.body
    if first.logo_cells == second.logo_cells and first.logo_cells:
        bodies = first.without_logo_ids(), second.without_logo_ids()
        used.add("logo_cell_id")
    if heads[0] == heads[1] and bodies[0] == bodies[1]:
        return normalised(path, used or {"markup"})
    return different(path, diff_of(heads[0] + bodies[0], heads[1] + bodies[1]))


class _Page:
    """A page as lines: one for every tag, one for every line of text."""

    def __init__(self, text: str, side: Side, used: set[str]):
        import lxml.html

        root = lxml.html.document_fromstring(text)
        self.head = [f"<html {_attributes(root.attrib)}>"]
        self.body: list[str] = []
        self.cells: list[int] = []
        self.logo_cells: list[int] = []
        self._side, self._used = side, used
        for child in root:
            if child.tag == "head":
                self._walk(child, self.head, False)
            else:
                self._walk(child, self.body, False)

    def without_logo_ids(self) -> list[str]:
        lines = list(self.body)
        for number in self.logo_cells:
            at = self.cells[number]
            lines[at] = CELL_ID.sub("id='id of a title cell'", lines[at])
        return lines

    def _walk(self, element, lines: list[str], in_output: bool) -> None:
        if not isinstance(element.tag, str):
            lines.append(f"<!--{element.text}-->")
            return
        attributes = dict(element.attrib)
        classes = attributes.get("class", "").split()
        in_output = in_output or "output_wrapper" in classes
        if "src" in attributes:
            attributes["src"] = self._picture(attributes["src"])
        tag = f"<{element.tag} {_attributes(attributes)}>"
        if CELL.match(tag):
            self.cells.append(len(lines))
        lines.append(tag)
        self._text(element.text, lines, in_output)
        for child in element:
            self._walk(child, lines, in_output)
            self._text(child.tail, lines, in_output)
        lines.append(f"</{element.tag}>")

    def _picture(self, source: str) -> str:
        source, is_logo = rules.header_logo(source, self._side)
        if is_logo:
            self._used.add("header_logo")
            self.logo_cells.append(len(self.cells) - 1)
        source, is_rendered = rules.inlined_picture(source, self._side)
        if is_rendered:
            self._used.add("inlined_picture")
        return source

    def _text(self, text: str | None, lines: list[str], in_output: bool) -> None:
        if not text:
            return
        if in_output:
            for rule in (rules.object_addresses, rules.kernel_file_names):
                text, fired = rule(text)
                if fired:
                    self._used.add(rule.__name__)
        lines.extend(f"  {line!r}" for line in text.split("\n"))


def _attributes(attributes) -> str:
    return " ".join(f"{name}='{value}'" for name, value in sorted(attributes.items()))
