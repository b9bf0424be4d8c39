"""Comparing two output trees."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import notebooks
import pages
import rules
from notebooks import diff_of
from outcome import Outcome, different, identical, normalised
from pictures import PICTURES
from rules import Side

MANIFEST = ".clm-manifest.json"


def trees(theirs: Path, ours: Path, sides: tuple[Side, Side], only_common: bool = False) -> list[Outcome]:
    """Compares every file and every empty directory below two roots. With `only_common` what just one has is skipped."""
    first, second = _entries(theirs), _entries(ours)
    outcomes = []
    for path in sorted(first | second):
        if path in first and path in second:
            outcomes.append(one(path, theirs / path, ours / path, sides))
        elif not only_common:
            maker = "CLM" if path in first else "clm"
            outcomes.append(different(path, f"only {maker} makes it"))
    return outcomes


def one(path: str, theirs: Path, ours: Path, sides: tuple[Side, Side]) -> Outcome:
    """Compares one output."""
    if theirs.is_dir() or ours.is_dir():
        return identical(path) if theirs.is_dir() == ours.is_dir() else different(path, "file here, directory there")
    first, second = theirs.read_bytes(), ours.read_bytes()
    if theirs.name == MANIFEST:
        return _manifest(path, theirs, ours)
    if first == second:
        return identical(path)
    suffix = theirs.suffix.lower()
    if suffix in PICTURES:
        return _picture(path, theirs, ours, sides)
    try:
        texts = first.decode("utf-8"), second.decode("utf-8")
    except UnicodeDecodeError:
        return different(path, f"binary files of {len(first)} and {len(second)} bytes differ")
    if suffix == ".ipynb":
        return notebooks.compare(path, *texts, sides)
    if suffix == ".html":
        return pages.compare(path, *texts, sides)
    if theirs.name == "CMakeLists.txt":
        commands = [rules.cmake_commands(text) for text in texts]
        same = commands[0] == commands[1]
        return normalised(path, ["cmake_commands"]) if same else different(path, diff_of(*commands))
    if path.endswith("include/clm/display.hpp") and rules.support_header(*texts):
        return normalised(path, ["support_header"])
    shown = [rules.inlined_picture(text, side) for text, side in zip(texts, sides)]
    if all(fired for _, fired in shown) and shown[0][0] == shown[1][0]:
        return normalised(path, ["inlined_picture"])
    return different(path, diff_of(*(_shown(text) for text, _ in shown)))


def _shown(text: str) -> list[str]:
    """Lines with their ends, so that a missing last newline or a carriage return is seen."""
    return [repr(line)[1:-1] for line in text.splitlines(keepends=True)]


def _entries(root: Path) -> set[str]:
    """All files and empty directories below a root, as relative paths."""
    found = set()
    for directory, names, files in os.walk(root):
        here = Path(directory).relative_to(root)
        found.update((here / name).as_posix() for name in files)
        if not names and not files and directory != str(root):
            found.add(here.as_posix())
    return found


def _picture(path: str, theirs: Path, ours: Path, sides: tuple[Side, Side]) -> Outcome:
    if theirs.read_bytes().startswith(sides[0].stubs or (b"no stub",)):
        problem = rules.drawio_stub(ours)
        return different(path, problem) if problem else normalised(path, ["drawio_stub"])
    if theirs.read_bytes() not in sides[0].rendered:
        return different(path, "pictures that are no rendered diagrams differ")
    problem = rules.diagram_encoding(ours, theirs)
    return different(path, problem) if problem else normalised(path, ["diagram_encoding"])


def _manifest(path: str, theirs: Path, ours: Path) -> Outcome:
    manifests = []
    for file in (theirs, ours):
        manifest = json.loads(file.read_text("utf-8"))
        wrong = _wrong_digests(file.parent, manifest)
        if wrong:
            return different(path, f"{file}: digests do not belong to the files: {wrong[:5]}")
        manifests.append(rules.manifest_times(manifest))
    if manifests[0] == manifests[1]:
        return normalised(path, ["manifest_times"])
    first, second = (_manifest_lines(manifest) for manifest in manifests)
    lines = [f"- {line}" for line in first if line not in second] + [f"+ {line}" for line in second if line not in first]
    return different(path, "\n".join(lines) or "the order of the files differs")


def _manifest_lines(manifest: dict) -> list[str]:
    """A line for the head and one for every file."""
    head = {name: value for name, value in manifest.items() if name != "files"}
    return [json.dumps(entry, sort_keys=True) for entry in (head, *manifest["files"])]


def _wrong_digests(root: Path, manifest: dict) -> list[str]:
    wrong = []
    for entry in manifest.get("files", []):
        file = root / entry["path"]
        if not file.is_file():
            wrong.append(f"{entry['path']} (missing)")
        elif entry["content_hash"] != "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest():
            wrong.append(entry["path"])
    return wrong
