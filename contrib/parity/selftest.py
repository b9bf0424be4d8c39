#!/usr/bin/env python3
"""Proves that no rule of the comparison hides a loss: every mutation of a real output must be *different*.

Works on outputs that this test writes in the form of real ones, so it needs neither CLM nor clm.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import sys
import tempfile
import unittest
from pathlib import Path

import environments

environments.enter_comparer()

import compare  # noqa: E402
import known  # noqa: E402
import stub  # noqa: E402
from outcome import DIFFERENT, IDENTICAL, NORMALISED, Outcome  # noqa: E402
from rules import Side  # noqa: E402

THEIR_LOGO, OUR_LOGO = b"<svg>their snake</svg>", b"<svg>our snake, which is longer</svg>"
OTHER_LOGO = b"<svg>our cup of coffee</svg>"


def png(*pixels: int, width: int = 1) -> bytes:
    """A small picture of grey pixels."""
    import io

    from PIL import Image

    image = Image.new("L", (width, len(pixels) // width))
    image.putdata(pixels)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


THEIR_DIAGRAM = png(1, 2, 3)
OUR_DIAGRAM = THEIR_DIAGRAM + b"trailing source text"


def sides() -> tuple[Side, Side]:
    return (
        Side("CLM", {THEIR_LOGO: "python"}, {THEIR_DIAGRAM: "pu/flow.pu"}, stub.beginnings()),
        Side("clm", {OUR_LOGO: "python", OTHER_LOGO: "java"}, {OUR_DIAGRAM: "pu/flow.pu"}),
    )


def data_url(content: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(content).decode()


def notebook(logo: bytes) -> dict:
    def cell(kind: str, source: str, metadata: dict, **more) -> dict:
        lines = source.splitlines(keepends=True)
        digest = hashlib.sha3_224(source.encode()).hexdigest()[:16]
        return {"cell_type": kind, "id": digest, "metadata": metadata, "source": lines, **more}

    title = f'<img src="{data_url(logo)}\n"\n     style="width:10%" alt="Python Logo"/>\n<b>Title</b>'
    code = {"execution_count": None, "outputs": []}
    return {
        "cells": [
            cell("markdown", title, {"lang": "en", "tags": ["slide"]}),
            cell("code", "print(1)", {"tags": ["keep"]}, **code),
            cell("markdown", "About *this*", {"lang": "en"}),
            cell("code", "", {}, **code),
        ],
        "metadata": {"kernelspec": {"name": "python3"}, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def page(logo: bytes, nbconvert: str, address: str, process: int) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"/><title>Notebook</title><script>mermaid/{nbconvert}</script>
<style>a {{ color: {nbconvert} }}</style></head>
<body><main><div id="notebook-container">
<div class="cell text_cell celltag_slide" id="cell-id=0123456789abcdef{'' if nbconvert == '1' else '0'}">
<p><img alt="Python Logo" src="{data_url(logo)}" style="width:10%"/></p><b>Title</b></div>
<div class="cell code_cell" id="cell-id=aaaa456789abcdef"><div class="input"><div class="prompt">In [1]:</div>
<div class="highlight hl-ipython3"><pre><span class="mi">0x12345678</span></pre></div></div>
<div class="output_wrapper"><div class="output"><pre>&lt;object object at {address}&gt;
{tempfile.gettempdir()}/ipykernel_{process}/{process}99.py:1: UserWarning: careful
the answer is 42
</pre></div></div></div>
<div class="cell text_cell" id="cell-id=bbbb456789abcdef"><p>Last words</p></div>
</div></main></body></html>
"""


THEIR_PAGE = page(THEIR_LOGO, "1", "0x7f12345678", 11)
OUR_PAGE = page(OUR_LOGO, "2", "0x7fabcdef90", 222)


class ComparisonTest(unittest.TestCase):
    """Compares pairs of outputs."""

    def verdict(self, name: str, theirs: bytes | str, ours: bytes | str) -> Outcome:
        with tempfile.TemporaryDirectory() as directory:
            files = []
            for side, content in (("theirs", theirs), ("ours", ours)):
                file = Path(directory) / side / name
                file.parent.mkdir(parents=True)
                file.write_bytes(content if isinstance(content, bytes) else content.encode())
                files.append(file)
            return compare.one(name, *files, sides())

    def notebooks(self, mutate) -> str:
        ours = copy.deepcopy(notebook(OUR_LOGO))
        mutate(ours)
        return self.verdict("a.ipynb", json.dumps(notebook(THEIR_LOGO)), json.dumps(ours)).verdict

    def pages(self, old: str, new: str) -> str:
        self.assertIn(old, OUR_PAGE)
        return self.verdict("a.html", THEIR_PAGE, OUR_PAGE.replace(old, new)).verdict


class NotebookTest(ComparisonTest):
    def test_the_logo_and_its_cell_id_are_normalised(self):
        outcome = self.verdict("a.ipynb", json.dumps(notebook(THEIR_LOGO)), json.dumps(notebook(OUR_LOGO)))
        self.assertEqual((outcome.verdict, outcome.rules), (NORMALISED, ["header_logo", "logo_cell_id"]))

    def test_every_loss_is_seen(self):
        def cell_of(number, **changes):
            return lambda it: it["cells"][number].update(changes)

        mutations = {
            "a cell is dropped": lambda it: it["cells"].pop(2),
            "the title cell is dropped": lambda it: it["cells"].pop(0),
            "the last cell is dropped": lambda it: it["cells"].pop(),
            "a cell comes twice": lambda it: it["cells"].insert(1, it["cells"][1]),
            "cells are swapped": lambda it: it["cells"].insert(1, it["cells"].pop(2)),
            "another language": lambda it: it["cells"][2]["metadata"].update(lang="de"),
            "another title": lambda it: it["cells"][0]["source"].__setitem__(-1, "<b>Titel</b>"),
            "code-along instead of completed": cell_of(1, source=[]),
            "completed instead of code-along": cell_of(3, source=["x = 1"]),
            "another cell type": cell_of(2, cell_type="raw"),
            "a tag is lost": cell_of(1, metadata={}),
            "another id": cell_of(1, id="ffffffffffffffff"),
            "an output appears": cell_of(1, outputs=[{"output_type": "stream"}]),
            "another kernel": lambda it: it["metadata"]["kernelspec"].update(name="java"),
            "metadata is lost": lambda it: it["metadata"].pop("language_info"),
            "the logo of another language": lambda it: it.update(notebook(OTHER_LOGO)),
            "an unknown logo": lambda it: it.update(notebook(b"<svg>who?</svg>")),
        }
        for name, mutate in mutations.items():
            with self.subTest(name):
                self.assertEqual(self.notebooks(mutate), DIFFERENT)

    def test_a_notebook_written_in_another_way_is_different(self):
        text = json.dumps(notebook(OUR_LOGO))
        self.assertEqual(self.verdict("a.ipynb", text, text + "\n").verdict, DIFFERENT)


class PageTest(ComparisonTest):
    def test_what_may_differ_is_normalised(self):
        outcome = self.verdict("a.html", THEIR_PAGE, OUR_PAGE)
        self.assertEqual(outcome.verdict, NORMALISED, outcome.diff)
        expected = ["header_logo", "kernel_file_names", "logo_cell_id", "object_addresses", "template_assets"]
        self.assertEqual(outcome.rules, expected)

    def test_every_loss_is_seen(self):
        last = '<div class="cell text_cell" id="cell-id=bbbb456789abcdef"><p>Last words</p></div>'
        output = OUR_PAGE[OUR_PAGE.index('<div class="output_wrapper">') : OUR_PAGE.index("</div>\n" + last)]
        mutations = {
            "a cell is dropped": (last, ""),
            "a cell comes twice": (last, last + last),
            "another language": ("Last words", "Letzte Worte"),
            "another title": ("<b>Title</b>", "<b>Titel</b>"),
            "an output is dropped": (output, ""),
            "another output": ("the answer is 42", "the answer is 41"),
            "an output is emptied": ("the answer is 42\n", ""),
            "a warning is lost": ("UserWarning: careful", ""),
            "not executed": ("In [1]:", "In [ ]:"),
            "another number in the code": ("0x12345678", "0x12345679"),
            "emptied code": ('<span class="mi">0x12345678</span>', ""),
            "another lexer": ("hl-ipython3", "hl-java"),
            "a tag is lost": (" celltag_slide", ""),
            "another id": ("cell-id=aaaa", "cell-id=cccc"),
            "no picture": ('<img alt="Python Logo"', '<b alt="Python Logo"'),
            "another language of the page": ('<html lang="en">', '<html lang="de">'),
            "another title of the page": ("<title>Notebook", "<title>Other"),
            "no styles": (OUR_PAGE[OUR_PAGE.index("<style") : OUR_PAGE.index("</head>")], ""),
        }
        for name, (old, new) in mutations.items():
            with self.subTest(name):
                self.assertEqual(self.pages(old, new), DIFFERENT)


class PictureTest(ComparisonTest):
    def test_diagrams_are_compared_by_their_pixels(self):
        self.assertEqual(self.verdict("a.png", THEIR_DIAGRAM, OUR_DIAGRAM).rules, ["diagram_encoding"])
        for changed in (png(1, 2, 4), png(1, 2, 3, 3, width=2), b"no picture"):
            their, our = sides()
            our.rendered[changed] = "pu/flow.pu"
            with tempfile.TemporaryDirectory() as directory:
                first, second = Path(directory, "a.png"), Path(directory, "b.png")
                first.write_bytes(THEIR_DIAGRAM)
                second.write_bytes(changed)
                self.assertEqual(compare.one("a.png", first, second, (their, our)).verdict, DIFFERENT)

    def test_other_pictures_are_compared_by_their_bytes(self):
        self.assertEqual(self.verdict("a.png", png(9), png(9) + b" ").verdict, DIFFERENT)
        self.assertEqual(self.verdict("a.png", png(9), png(9)).verdict, IDENTICAL)

    def test_for_drawings_there_must_be_a_picture(self):
        drawn = stub.png() + b"0" * 64
        self.assertEqual(self.verdict("a.png", drawn, png(5)).rules, ["drawio_stub"])
        self.assertEqual(self.verdict("a.png", drawn, b"").verdict, DIFFERENT)
        self.assertEqual(self.verdict("a.svg", stub.SVG + b"</title></svg>", b"<svg/>").rules, ["drawio_stub"])
        self.assertEqual(self.verdict("a.svg", stub.SVG + b"</title></svg>", b"").verdict, DIFFERENT)


class ProgramTest(ComparisonTest):
    def test_cmake_files_may_differ_in_comments_only(self):
        theirs = "# Theirs\nif(NOT CLM_CODE_EXPORT_CONFIGURED)\n  # why\nendif()\n\nadd_executable(a \"a.cpp\")\n"
        ours = 'if(PROJECT_IS_TOP_LEVEL)\nendif()\nadd_executable(a "a.cpp")\n'
        self.assertEqual(self.verdict("CMakeLists.txt", theirs, ours).rules, ["cmake_commands"])
        for changed in (ours.replace("a.cpp", "b.cpp"), ours.replace('add_executable(a "a.cpp")\n', "")):
            self.assertEqual(self.verdict("CMakeLists.txt", theirs, changed).verdict, DIFFERENT)

    def test_the_support_header_must_offer_the_same_names(self):
        theirs = "#define SHOW(x) x\nnamespace clm {}\n"
        name = "include/clm/display.hpp"
        self.assertEqual(self.verdict(name, theirs, theirs + "// ours\n").rules, ["support_header"])
        self.assertEqual(self.verdict(name, theirs, "namespace clm {}\n").verdict, DIFFERENT)
        self.assertEqual(self.verdict("include/other.hpp", theirs, theirs + "// ours\n").verdict, DIFFERENT)


class TreeTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.roots = [Path(self.directory.name, side) for side in ("theirs", "ours")]
        for root, logo in zip(self.roots, (THEIR_LOGO, OUR_LOGO)):
            for path, text in {"en/a.py": "x = 1\n", "de/a.py": "x = 2\n", "en/a.svg": logo.decode()}.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)

    def verdicts(self, only_common: bool = False) -> dict[str, str]:
        outcomes = compare.trees(*self.roots, sides(), only_common)
        return {outcome.path: outcome.verdict for outcome in outcomes}

    def test_missing_and_extra_files_and_directories_are_different(self):
        (self.roots[0] / "en/a.svg").unlink()
        (self.roots[1] / "en/a.svg").unlink()
        self.assertEqual(set(self.verdicts().values()), {IDENTICAL})
        (self.roots[1] / "en/a.py").unlink()
        (self.roots[1] / "extra.py").write_text("")
        (self.roots[0] / "empty").mkdir()
        expected = {"en/a.py": DIFFERENT, "extra.py": DIFFERENT, "empty": DIFFERENT, "de/a.py": IDENTICAL}
        found = self.verdicts()
        self.assertEqual({path: found[path] for path in expected}, expected)
        self.assertNotIn("extra.py", self.verdicts(only_common=True))

    def test_text_is_compared_by_its_bytes(self):
        (self.roots[1] / "de/a.py").write_bytes(b"x = 2\r\n")
        self.assertEqual(self.verdicts()["de/a.py"], DIFFERENT)
        (self.roots[1] / "de/a.py").write_text("x = 2")
        self.assertEqual(self.verdicts()["de/a.py"], DIFFERENT)

    def test_manifests_may_differ_in_times_and_true_digests_only(self):
        def write(root: Path, time: str, path: str = "en/a.svg", digest: str | None = None, kind: str = "completed"):
            digest = digest or "sha256:" + hashlib.sha256((root / "en/a.svg").read_bytes()).hexdigest()
            entry = {"path": path, "content_hash": digest, "kind": kind}
            (root / compare.MANIFEST).write_text(json.dumps({"built_at": time, "files": [entry]}))

        write(self.roots[0], "now")
        write(self.roots[1], "later")
        self.assertEqual(self.verdicts()[compare.MANIFEST], NORMALISED)
        for changes in ({"digest": "sha256:0"}, {"path": "en/b.svg"}, {"kind": "trainer"}):
            write(self.roots[1], "later", **changes)
            self.assertEqual(self.verdicts()[compare.MANIFEST], DIFFERENT, changes)


class KnownTest(unittest.TestCase):
    def test_an_entry_explains_only_what_it_names(self):
        document = '```toml\n[[known]]\nname = "n"\npath = "*.py"\ndiff = "^-gone"\nwhy = "w"\n```\n'
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "KNOWN.md")
            file.write_text(document)
            entries = known.read(file)
        outcomes = [
            Outcome("a.py", DIFFERENT, diff="-gone"),
            Outcome("a.py", DIFFERENT, diff="-other"),
            Outcome("a.txt", DIFFERENT, diff="-gone"),
        ]
        known.mark("demo", outcomes, entries)
        self.assertEqual([outcome.known for outcome in outcomes], ["n", "", ""])


if __name__ == "__main__":
    sys.exit(unittest.main())
