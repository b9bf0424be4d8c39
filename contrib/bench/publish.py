"""The files that a report consists of: written all together or not at all, and compared with those that there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import report
import results
from results import Problem

PROJECT = Path(__file__).resolve().parents[2]
# Where the results of the project are; those of anybody's own measurement may be anywhere.
STORED = Path("contrib/bench")
BEGIN = "<!-- figures: written by contrib/bench/run.py report -->"
END = "<!-- end of figures -->"
# Documents of the project with a block of figures.
BLOCKS: dict[str, Callable[[dict], str]] = {"README.md": report.brief, "contrib/doc/performance.md": report.tables}


def files(found: dict, directory: Path, project: Path = PROJECT) -> dict[Path, str]:
    """What the files of a report should be; documents have a part in it if it is the report of the project."""
    texts = {directory / results.FILE: results.text(found) + "\n", directory / "RESULTS.md": report.document(found)}
    texts |= {directory / name: picture for name, (_, picture) in report.plots(found["builds"]).items()}
    if directory.resolve() == (project / STORED).resolve():
        for name, figures in BLOCKS.items():
            texts[project / name] = replaced(read(project / name), figures(found), name)
    return texts


def replaced(document: str, block: str, name: str) -> str:
    """A document with another text between the markers."""
    lines = document.split("\n")
    begins, ends = lines.count(BEGIN), lines.count(END)
    if begins != 1 or ends != 1 or document.count(BEGIN) != 1 or document.count(END) != 1:
        raise Problem(f"{name}: there must be one line `{BEGIN}` and one line `{END}`; found {begins} and {ends}")
    begin, end = lines.index(BEGIN), lines.index(END)
    if end < begin:
        raise Problem(f"{name}: `{END}` comes before `{BEGIN}`")
    return "\n".join([*lines[: begin + 1], block, *lines[end:]])


def write(texts: dict[Path, str]) -> None:
    """Writes files beside their places, and renames them when all of them are written."""
    partials = {file: file.with_name(file.name + ".partial") for file in texts}
    try:
        for file, partial in partials.items():
            partial.write_bytes(texts[file].encode())
        for file, partial in partials.items():
            partial.replace(file)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)


def differing(texts: dict[Path, str]) -> list[Path]:
    """The files that are not as they should be."""
    return [file for file, text in texts.items() if not file.is_file() or file.read_bytes() != text.encode()]


def read(file: Path) -> str:
    """The text of a file, as it is."""
    try:
        return file.read_bytes().decode()
    except (OSError, ValueError) as error:
        raise Problem(f"{file}: {error}") from error
