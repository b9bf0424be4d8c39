"""HTML of notebooks put together from the HTML of their cells: the same bytes as nbconvert gives, with less work.

The pages of a deck (kinds, both before and after an edit) are made of the same cells. Each cell is rendered once and
remembered. A page is head + cells + tail, and these facts make it equal to what nbconvert makes of the whole:

- A template that extends nbconvert's own puts marks around cells. It renders, in one pass, the cells that are not
  known yet; head and tail do not depend on the cells (checked in every pass).
- nbconvert passes its documents through BeautifulSoup. A cell that is *closed* gives the same text there as alone
  inside the tags that surround it: its own tags are balanced, it ends none of the others, no token is open at its end.
- BeautifulSoup shortens whitespace between tags, which is the one thing that neighbours share.

Whatever is not certain to be equal is left to nbconvert: `page` then returns None.
"""

import json
import re
from collections import OrderedDict
from html.parser import HTMLParser
from typing import NamedTuple

import nbformat
from jinja2 import DictLoader
from nbconvert import HTMLExporter
from nbconvert.exporters.templateexporter import TemplateExporter

MARK = "\0"
MARKED_TEMPLATE = "clm-marked.html.j2"
MARKED = f"{{%- extends 'BASE' -%}}{{%- block any_cell -%}}{MARK}{{{{ super() }}}}{MARK}{{%- endblock any_cell -%}}"
HOLE = "<x-clm-hole></x-clm-hole>"
END = "<x-clm-end></x-clm-end>"
# Stands for the random identifiers that a few outputs contain: such cells are left to nbconvert.
RANDOM = "clm-random-identifier"
WHITESPACE = " \n\t\f\r"
# BeautifulSoup remembers, for the whole document, which void elements were closed.
VOID_END = re.compile(
    r"</\s*(area|base|basefont|bgsound|br|col|command|embed|frame|hr|image|img|input|isindex|keygen|link|menuitem"
    r"|meta|nextid|param|source|spacer|track|wbr)\b",
    re.IGNORECASE,
)
# How many characters of HTML are remembered.
MEMO_SIZE = 64 << 20


class Piece(NamedTuple):
    """Post-processed HTML between the whitespace that may have to be shortened."""

    before: str
    html: str
    after: str


class Shell(NamedTuple):
    """What surrounds the cells of a page."""

    raw: tuple
    head: Piece
    tail: Piece
    opening: str
    closing: str


class Between(TemplateExporter):
    """Stands between HTMLExporter, which post-processes a document, and TemplateExporter, which renders it."""

    given = None
    rendered = None

    def from_notebook_node(self, nb, resources=None, **kw):
        if self.given is not None:
            return self.given, resources
        self.rendered, resources = super().from_notebook_node(nb, resources, **kw)
        return "", resources


class PartExporter(HTMLExporter, Between):
    """Does the two halves of HTMLExporter's work one at a time, with nbconvert's own code."""

    def render(self, notebook):
        """The document as the template makes it."""
        self.given = None
        self.from_notebook_node(notebook)
        return self.rendered

    def post_process(self, html):
        """What nbconvert makes of a rendered document."""
        self.given = html
        return self.from_notebook_node(nbformat.v4.new_notebook())[0]


class Fragments:
    """Renders pages from remembered cells."""

    def __init__(self, template):
        base = HTMLExporter(template_name=template).template_file
        loader = DictLoader({MARKED_TEMPLATE: MARKED.replace("BASE", base)})
        self._exporter = PartExporter(
            template_name=template, template_file=MARKED_TEMPLATE, extra_loaders=[loader]
        )
        self._exporter.environment.globals["uuid4"] = lambda: RANDOM
        self._shells = {}
        self._memo = OrderedDict()
        self._size = 0

    def page(self, notebook):
        """The HTML of a notebook, or None when nbconvert must make it."""
        if not notebook.cells or "widgets" in notebook.metadata:
            return None
        # nbconvert gives cells with the same id new ones.
        if len({cell.get("id") for cell in notebook.cells}) < len(notebook.cells):
            return None
        context = canonical(notebook.metadata)
        keys = [context + canonical(cell) for cell in notebook.cells]
        if any(MARK in key or "\\u0000" in key for key in keys):
            return None
        missing = {key: cell for key, cell in zip(keys, notebook.cells) if key not in self._memo}
        if (missing or context not in self._shells) and not self._render(notebook, context, missing):
            return None
        shell = self._shells[context]
        cells = [self._recall(key) for key in keys]
        self._forget_oldest()
        if shell is None or None in cells:
            return None
        return join([shell.head, *(cell for cell in cells if cell.html), shell.tail])

    def _render(self, notebook, context, missing):
        """Renders cells into the memo, and head and tail of their documents; False if the template is not as expected."""
        cells = list(missing.values()) or notebook.cells[:1]
        part = nbformat.NotebookNode({**notebook, "cells": cells})
        head, *marked, tail = self._exporter.render(part).split(MARK)
        # Cells stand at even places, with nothing between them.
        if len(marked) != 2 * len(cells) - 1 or any(marked[1::2]):
            return False
        if context not in self._shells:
            self._shells[context] = self._shell(head, tail)
        shell = self._shells[context]
        if shell is None or shell.raw != (head, tail):
            return False
        for key, html in zip(missing, marked[::2]):
            self._remember(key, self._closed(html, shell))
        return True

    def _shell(self, head, tail):
        """What surrounds cells; None if cells could depend on it in ways that are not known here."""
        before, hole, after = self._exporter.post_process(head + HOLE + tail).partition(HOLE)
        # In documents of JupyterLab's look, nbconvert changes elements by what surrounds them.
        if not hole or "jp-Notebook" in before + after:
            return None
        tags = OpenTags()
        tags.feed(before)
        return Shell(
            raw=(head, tail),
            head=Piece("", before.rstrip(WHITESPACE), ending(head)),
            tail=Piece(beginning(tail), after.lstrip(WHITESPACE), ""),
            opening="".join(f"<{name}>" for name in tags.open),
            closing="".join(f"</{name}>" for name in reversed(tags.open)),
        )

    def _closed(self, html, shell):
        """The post-processed HTML of a cell; None if it depends on its neighbours."""
        core = html.strip(WHITESPACE)
        if not html:
            return Piece("", "", "")
        if not (core.startswith("<div") and core.endswith("</div>")):
            return None
        if VOID_END.search(core) or RANDOM in core or "x-clm-" in core or not ends_at_rest(core):
            return None
        opening = shell.opening + "<x-clm-cell>"
        closing = END + "</x-clm-cell>" + shell.closing
        done = self._exporter.post_process(opening + core + closing)
        inner = done[len(opening) : len(done) - len(closing)]
        if done != opening + inner + closing or "x-clm-" in inner:
            return None
        return Piece(beginning(html), inner, ending(html))

    def _remember(self, key, cell):
        self._memo[key] = cell
        self._size += weight(key, cell)

    def _recall(self, key):
        self._memo.move_to_end(key)
        return self._memo[key]

    def _forget_oldest(self):
        while self._size > MEMO_SIZE and self._memo:
            key, cell = self._memo.popitem(last=False)
            self._size -= weight(key, cell)


class OpenTags(HTMLParser):
    """The names of the tags that are open at the end of a well-formed text."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if not VOID_END.match(f"</{tag}"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass


def ends_at_rest(html):
    """Whether the tokenizer has no unfinished tag, comment or script at the end."""
    tokenizer = HTMLParser(convert_charrefs=False)
    tokenizer.feed(html)
    return not tokenizer.rawdata and tokenizer.cdata_elem is None


def canonical(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def weight(key, cell):
    return len(key) + (len(cell.html) if cell else 0)


def beginning(html):
    """The whitespace at the beginning."""
    return html[: len(html) - len(html.lstrip(WHITESPACE))]


def ending(html):
    """The whitespace at the end."""
    return html[len(html.rstrip(WHITESPACE)) :]


def join(pieces):
    """Joins pieces; what is between two of them is shortened as BeautifulSoup does."""
    text = []
    between = ""
    for before, html, after in pieces:
        between += before
        if between:
            text.append("\n" if "\n" in between else " ")
        text.append(html)
        between = after
    return "".join(text)
