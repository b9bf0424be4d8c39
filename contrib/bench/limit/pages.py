"""Pages of notebooks: the least that nbconvert can do for them.

`Fragments` renders every cell once and puts pages together, with the part of clm that does so (same bytes as nbconvert):
the least work that we know. `Memoised` is nbconvert with one exporter, whose filters for Markdown and highlighting
remember what they made: what is easily had without clm.
"""

from __future__ import annotations

import sys
from pathlib import Path

WORKER = Path(__file__).resolve().parents[3] / "src" / "worker" / "notebook"


class Fragments:
    """clm's way."""

    def __init__(self):
        sys.path.insert(0, str(WORKER))
        from html_worker import WARM_UP, Renderer

        self.renderer = Renderer()
        self.renderer.render(WARM_UP)

    def render(self, notebook: str) -> str:
        """The page of a notebook's text."""
        return self.renderer.render(notebook)


class Memoised:
    """One exporter that remembers."""

    def __init__(self):
        import nbformat
        from nbconvert import HTMLExporter
        from nbconvert.filters.highlight import Highlight2HTML

        _remember(HTMLExporter, "markdown2html", lambda _self, _context, source: source)
        _remember(Highlight2HTML, "__call__", lambda self, source, language=None, metadata=None: (source, language))
        self.read = nbformat.reads
        self.exporter = HTMLExporter(template_name="classic")

    def render(self, notebook: str) -> str:
        """The page of a notebook's text."""
        return self.exporter.from_notebook_node(self.read(notebook, as_version=4))[0]


def _remember(owner: type, name: str, key_of) -> None:
    original, known = getattr(owner, name), {}

    def remembering(*arguments, **named):
        key = key_of(*arguments, **named)
        if key not in known:
            known[key] = original(*arguments, **named)
        return known[key]

    # Jinja reads from marks of the function whether it wants the context.
    remembering.__dict__.update(original.__dict__)
    setattr(owner, name, remembering)


RENDERERS = {"fragments": Fragments, "memoised": Memoised}
