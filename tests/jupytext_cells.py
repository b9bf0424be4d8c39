"""Reads decks with jupytext and prints their cells, one JSON line a deck: the reference for tests/percent.rs.

Arguments: a directory of decks. For each deck also prints what jupytext writes back without metadata."""

import json
import pathlib
import sys

import jupytext

KERNELS = {
    ".py": {"name": "python3", "language": "python", "display_name": "Python 3 (ipykernel)"},
    ".java": {"name": "java", "language": "java", "display_name": "Java"},
}

for path in sorted(pathlib.Path(sys.argv[1]).iterdir(), key=lambda path: int(path.stem)):
    text = path.read_text(encoding="utf-8")
    suffix = path.suffix
    notebook = jupytext.reads(text, fmt={"extension": suffix, "format_name": "percent"})
    cells = []
    for cell in notebook.cells:
        metadata = {key: value for key, value in cell.metadata.items() if not key.startswith("lines_to")}
        cells.append([cell.cell_type, cell.source, metadata])
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "cell_marker"}
    notebook.metadata = {
        "jupytext": {"notebook_metadata_filter": "-all", "cell_metadata_filter": "-all"},
        "kernelspec": KERNELS[suffix],
    }
    written = jupytext.writes(notebook, fmt={"extension": suffix, "format_name": "percent"})
    print(json.dumps({"cells": cells, "written": written}))
