#!/usr/bin/env python3
"""Writes a course of any size for measuring; the same arguments always give the same bytes.

    gen.py DIR --topics 50

A topic has one deck of about 22 cells for each language (headings, prose, lists, code that needs the standard library
only, notes), one PlantUML diagram, one draw.io diagram and one CSV file; ten topics make a section. The course makes
all five kinds in both languages and all three formats into one output target.
"""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

LANGUAGES = ["de", "en"]
KINDS = ["code-along", "completed", "trainer", "recording", "partial"]
FORMATS = ["html", "notebook", "code"]
# How decks of a programming language look: ending, comment sign, whether their pages are executed here.
DECKS = {
    "python": (".py", "#", True),
    "cpp": (".cpp", "//", False),
    "csharp": (".cs", "//", False),
    "java": (".java", "//", False),
    "typescript": (".ts", "//", True),
}


@dataclass(frozen=True)
class Shape:
    """How large a course is, and what it makes."""

    topics: int
    seed: int = 1
    cells: int = 22
    decks: int = 1
    plantuml: int = 1
    drawio: int = 1
    data: int = 1
    section: int = 10
    languages: tuple[str, ...] = tuple(LANGUAGES)
    kinds: tuple[str, ...] = tuple(KINDS)
    formats: tuple[str, ...] = tuple(FORMATS)
    programming: tuple[str, ...] = ("python",)


@dataclass(frozen=True)
class Topic:
    """Where the sources of a topic lie."""

    number: int
    directory: Path
    decks: tuple[Path, ...]
    plantuml: tuple[Path, ...]
    drawio: tuple[Path, ...]
    data: tuple[Path, ...]


def topic(root: Path, shape: Shape, number: int) -> Topic:
    """The paths of a topic, whether it was written or not."""
    section = number // shape.section
    identity = f"part_{number:04d}"
    directory = root / "slides" / f"module_{section:03d}_section" / f"topic_{number:04d}_{identity}"
    ending = DECKS[programming_of(shape, number)][0]
    return Topic(
        number,
        directory,
        tuple(directory / f"slides_{number:04d}_{deck}_deck{ending}" for deck in range(shape.decks)),
        tuple(directory / "pu" / f"flow_{number:04d}_{one}.pu" for one in range(shape.plantuml)),
        tuple(directory / "drawio" / f"plan_{number:04d}_{one}.drawio" for one in range(shape.drawio)),
        tuple(directory / "data" / f"values_{number:04d}_{one}.csv" for one in range(shape.data)),
    )


def programming_of(shape: Shape, number: int) -> str:
    """The programming language of a topic: they take turns."""
    return shape.programming[number % len(shape.programming)]


def write(root: Path, shape: Shape) -> None:
    """Writes the course into a directory."""
    for number in range(shape.topics):
        write_topic(topic(root, shape, number), shape)
    root.mkdir(parents=True, exist_ok=True)
    (root / "course.xml").write_text(specification(shape), "utf-8")


def specification(shape: Shape) -> str:
    """The text of `course.xml`."""

    def names(outer: str, inner: str, values) -> str:
        return f"<{outer}>" + "".join(f"<{inner}>{value}</{inner}>" for value in values) + f"</{outer}>"

    sections = []
    for first in range(0, shape.topics, shape.section):
        topics = []
        for number in range(first, min(first + shape.section, shape.topics)):
            executed = DECKS[programming_of(shape, number)][2]
            html = "" if executed else ' html="no"'
            topics.append(f"      <topic{html}>part_{number:04d}</topic>\n")
        week = first // shape.section + 1
        name = f"<name><de>Woche {week:03d}</de><en>Week {week:03d}</en></name>"
        sections.append(f"    <section>{name}\n     <topics>\n{''.join(topics)}     </topics>\n    </section>\n")
    target = (
        '  <output-targets>\n    <output-target name="all"><path>output/all</path>'
        + names("kinds", "kind", shape.kinds)
        + names("formats", "format", shape.formats)
        + names("languages", "language", shape.languages)
        + "</output-target>\n  </output-targets>\n"
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<course>\n'
        "  <name><de>Messkurs</de><en>Measured course</en></name>\n"
        f"  <prog-lang>{shape.programming[0]}</prog-lang>\n  <project-slug>measured</project-slug>\n"
        f"  <sections>\n{''.join(sections)}  </sections>\n{target}</course>\n"
    )


def write_topic(place: Topic, shape: Shape) -> None:
    """Writes the sources of one topic."""
    chance = random.Random(shape.seed * 1_000_003 + place.number)
    for files in (place.decks, place.plantuml, place.drawio, place.data):
        for number, file in enumerate(files):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(TEXTS[file.suffix](place, number, shape, chance), "utf-8")


def deck(place: Topic, number: int, shape: Shape, chance: random.Random) -> str:
    """A deck: a header, `cells` - 2 cells that are alternately prose and code, and a cell with the diagrams."""
    programming = programming_of(shape, place.number)
    sign = DECKS[programming][1]
    title = f"{place.number:04d} {number}"
    cells = [
        f"{sign} j2 from 'macros.j2' import header\n"
        f'{sign} {{{{ header("Thema {title}", "Topic {title}") }}}}\n'
    ]
    for cell in range(max(shape.cells - 2, 2)):
        if cell % 2 == 0:
            cells += [prose(sign, language, cell, place.number, chance) for language in LANGUAGES]
        else:
            cells.append(code(programming, sign, cell, place.number, chance))
    pictures = [f'{sign} <img src="img/{file.stem}.png">' for file in place.plantuml + place.drawio]
    cells.append("\n".join([f"{sign} %% [markdown]", sign, *pictures, ""]))
    return "\n".join(cells)


WORDS = {
    "de": "Wert Liste Summe Schritt Beispiel Regel Ergebnis Frage Muster Grenze Weg Fehler Name Zahl Text".split(),
    "en": "value list sum step example rule result question pattern limit way error name number text".split(),
}


def prose(sign: str, language: str, cell: int, number: int, chance: random.Random) -> str:
    """A text cell: a slide with a heading, a sentence and a list; every fifth is a note of the speaker."""
    words = WORDS[language]
    tag = "notes" if cell % 10 == 4 else ("slide" if cell % 4 == 0 else "subslide")
    heading = f"## {'Abschnitt' if language == 'de' else 'Part'} {number}.{cell}"
    sentence = " ".join(chance.choice(words) for _ in range(chance.randint(8, 24)))
    points = [f"- **{chance.choice(words)}** `{chance.choice(words)}_{point}`" for point in range(chance.randint(2, 4))]
    lines = [f'{sign} %% [markdown] lang="{language}" tags=["{tag}"]', sign]
    lines += [f"{sign} {line}" if line else sign for line in [heading, "", sentence + ".", "", *points]]
    return "\n".join(lines) + "\n"


def code(programming: str, sign: str, cell: int, number: int, chance: random.Random) -> str:
    """A code cell. Cells build on one another, print, show values, and need nothing installed."""
    tags = ["", ' tags=["keep"]', ' tags=["start"]', ""][cell // 2 % 4]
    low, high = chance.randint(1, 9), chance.randint(20, 90)
    if programming != "python":
        body = {
            "cpp": f"auto value_{cell} = {low} * {number} + {high};",
            "csharp": f"var value_{cell} = {low} * {number} + {high};",
            "java": f"int value_{cell} = {low} * {number} + {high};",
            "typescript": f"const value_{cell} = {low} * {number} + {high};\nconsole.log(value_{cell});",
        }[programming]
    else:
        body = [
            f"values_{cell} = [{number} + n * {low} for n in range({high})]\nlen(values_{cell}), sum(values_{cell})",
            f"def scale_{cell}(x, factor={low}):\n    return x * factor + {high}\n\n\nscale_{cell}({number})",
            f"for n in range({low % 4 + 2}):\n    print('step', n, {number} + n)",
            f"table_{cell} = {{f'key{{n}}': n ** 2 for n in range({low})}}\ntable_{cell}",
            f"text_{cell} = '{number} ' * {low}\nprint(text_{cell}.strip().upper())",
        ][cell // 2 % 5]
    return f"{sign} %%{tags}\n{body}\n"


def plantuml(place: Topic, number: int, _shape: Shape, chance: random.Random) -> str:
    """A diagram of one of three types; the first line that can be edited is its title."""
    lines = ["@startuml", f"title Flow {place.number}.{number}"]
    count = chance.randint(3, 6)
    match (place.number + number) % 3:
        case 0:
            lines += [f"P{n} -> P{n + 1}: message {chance.randint(1, 99)}" for n in range(count)]
        case 1:
            lines += [f"class C{n} {{\n  field{n}: int\n  call()\n}}" for n in range(count)]
            lines += [f"C{n} --> C{chance.randrange(count)}" for n in range(count)]
        case _:
            lines += ["start", *[f":step {chance.randint(1, 99)};" for _ in range(count)], "stop"]
    return "\n".join([*lines, "@enduml", ""])


def drawio(place: Topic, number: int, _shape: Shape, chance: random.Random) -> str:
    """Some boxes in a row, and arrows between them."""
    parts = []
    count = chance.randint(2, 5)
    for box in range(count):
        label = escape(f"Box {place.number}.{number}.{box}")
        parts.append(
            f'<mxCell id="b{box}" value="{label}" style="rounded=1;whiteSpace=wrap;html=1;" vertex="1" parent="1">'
            f'<mxGeometry x="{20 + 180 * box}" y="{20 + 10 * chance.randint(0, 9)}" width="120" height="60" as="geometry"/>'
            "</mxCell>\n"
        )
    for arrow in range(count - 1):
        parts.append(
            f'<mxCell id="a{arrow}" style="html=1;" edge="1" parent="1" source="b{arrow}" target="b{arrow + 1}">'
            '<mxGeometry relative="1" as="geometry"/></mxCell>\n'
        )
    return (
        f'<mxfile><diagram name="Page-1" id="p{place.number}-{number}"><mxGraphModel dx="100" dy="100" grid="0"><root>\n'
        f'<mxCell id="0"/><mxCell id="1" parent="0"/>\n{"".join(parts)}</root></mxGraphModel></diagram></mxfile>\n'
    )


def data(place: Topic, number: int, _shape: Shape, chance: random.Random) -> str:
    """A small table."""
    rows = [f"{row},{chance.random():.6f},{place.number * row + number}" for row in range(40)]
    return "\n".join(["row,chance,product", *rows, ""])


TEXTS = {".pu": plantuml, ".drawio": drawio, ".csv": data, **{ending: deck for ending, _, _ in DECKS.values()}}


def parser() -> argparse.ArgumentParser:
    """The options of a shape; `run.py` has them too."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--cells", type=int, default=22, help="cells of a deck, counted in one language")
    for name in ("decks", "plantuml", "drawio", "data"):
        options.add_argument(f"--{name}", type=int, default=1, help="how many of these in each topic")
    options.add_argument("--section", type=int, default=10, help="topics of a section")

    def names(known):
        def parse(text: str) -> tuple[str, ...]:
            found = tuple(name.strip() for name in text.split(","))
            unknown = set(found) - set(known)
            if unknown:
                raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: known are {', '.join(known)}")
            return found

        return parse

    for name, known in [("languages", LANGUAGES), ("kinds", KINDS), ("formats", FORMATS)]:
        options.add_argument(f"--{name}", type=names(known), default=tuple(known))
    options.add_argument(
        "--programming",
        type=names(DECKS),
        default=("python",),
        help="programming languages of decks, which take turns; only Python and TypeScript ones have pages",
    )
    return options


def shape_of(arguments: argparse.Namespace, topics: int) -> Shape:
    """The shape that options ask for."""
    known = {name: getattr(arguments, name) for name in Shape.__dataclass_fields__ if name != "topics"}
    return Shape(topics=topics, **known)


def main() -> None:
    """Writes a course as the command line says."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[parser()]
    )
    command.add_argument("directory", type=Path)
    command.add_argument("--topics", type=int, required=True)
    arguments = command.parse_args()
    if arguments.directory.exists() and any(arguments.directory.iterdir()):
        sys.exit(f"{arguments.directory} is not empty")
    write(arguments.directory, shape_of(arguments, arguments.topics))


if __name__ == "__main__":
    main()
