"""Edits of a generated course, and how to see in the outputs that a build took them in."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gen import Shape, Topic, topic

Edit = Callable[[Path, Shape, int], "Trace"]


@dataclass(frozen=True)
class Trace:
    """What must be seen in some outputs after the next build."""

    edited: Path
    outputs: str
    seen: Callable[[bytes], bool]

    def missing(self, root: Path) -> list[Path]:
        """The outputs below a course root that do not show the edit."""
        files = list((root / "output").glob(self.outputs))
        return [file for file in files if not self.seen(file.read_bytes())] if files else [root / "output" / self.outputs]


def place(root: Path, shape: Shape, number: int) -> Topic:
    """The topic of the edit with a number: edits go through the course, so that no two in a row meet the same files."""
    return topic(root, shape, number * 7 % shape.topics)


def prose(root: Path, shape: Shape, number: int) -> Trace:
    """Changes a point of a list on the first English slide of a deck."""
    where = place(root, shape, number)
    marker = f"edited prose {number}"
    before, slide, after = where.decks[0].read_text("utf-8").partition('[markdown] lang="en" tags=["slide"]')
    after = re.sub(r"^((?:#|//) - ).*$", rf"\g<1>{marker}", after, count=1, flags=re.MULTILINE)
    where.decks[0].write_text(before + slide + after, "utf-8")
    return _in_pages(where, shape, "en", marker)


def code(root: Path, shape: Shape, number: int) -> Trace:
    """Makes the first code cell of a deck print something new; the text is seen in pages only if it was executed."""
    where = place(root, shape, number)
    text = re.sub(r"^print\('ran ' .*\n", "", where.decks[0].read_text("utf-8"), flags=re.MULTILINE)
    text, found = re.subn(r"^# %%\n", f"# %%\nprint('ran ' + '{number}.')\n", text, count=1, flags=re.MULTILINE)
    if not found:
        raise ValueError(f"{where.decks[0]}: only Python decks can be edited")
    where.decks[0].write_text(text, "utf-8")
    return _in_pages(where, shape, "de", f"ran {number}." if "html" in shape.formats else f"'{number}.'")


def plantuml(root: Path, shape: Shape, number: int) -> Trace:
    """Changes the title of a diagram."""
    source = place(root, shape, number).plantuml[0]
    text = re.sub(r"^title .*$", f"title Edit {number}", source.read_text("utf-8"), flags=re.MULTILINE)
    return _picture(root, source, text)


def drawio(root: Path, shape: Shape, number: int) -> Trace:
    """Changes the label of a box."""
    source = place(root, shape, number).drawio[0]
    text = re.sub(r'value="(Edit \d+ )?Box', f'value="Edit {number} Box', source.read_text("utf-8"), count=1)
    return _picture(root, source, text)


def data(root: Path, shape: Shape, number: int) -> Trace:
    """Adds a row to a data file."""
    source = place(root, shape, number).data[0]
    row = f"edited,{number},0\n"
    source.write_text(source.read_text("utf-8") + row, "utf-8")
    return Trace(source, f"**/data/{source.name}", lambda content: row.encode() in content)


def _in_pages(where: Topic, shape: Shape, language: str, marker: str) -> Trace:
    ending = "html" if "html" in shape.formats else "ipynb"
    title = f"{'Thema' if language == 'de' else 'Topic'} {where.number:04d} 0"
    pages = f"all/measured-{language}/**/Completed/**/*{title}.{ending}"
    return Trace(where.decks[0], pages, lambda content: marker.encode() in content)


def _picture(root: Path, source: Path, text: str) -> Trace:
    name = f"**/img/{source.stem}.png"
    old = {file.read_bytes() for file in (root / "output").glob(name)}
    source.write_text(text, "utf-8")
    return Trace(source, name, lambda content: content not in old)


EDITS: dict[str, Edit] = {"prose": prose, "code": code, "plantuml": plantuml, "drawio": drawio, "data": data}
