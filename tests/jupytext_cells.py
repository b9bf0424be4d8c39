"""Reads decks with jupytext and prints what it finds, one JSON line a deck: the reference for the reader and writer.

Arguments: a directory of decks, and the suffix of the scripts to write. For each deck prints its cells, the metadata of
the notebook (as far as they are about the deck), and the script without cell metadata. A deck that jupytext cannot
read gives its error."""

import json
import pathlib
import sys

import jupytext

KERNELS = {
    ".py": {"name": "python3", "language": "python", "display_name": "Python 3 (ipykernel)"},
    ".java": {"name": "java", "language": "java", "display_name": "Java"},
    ".cs": {"name": ".net-csharp", "language": "C#", "display_name": ".NET (C#)"},
    ".cpp": {"name": "xcpp20", "language": "cpp", "display_name": "C++20"},
    ".ts": {"name": "deno", "language": "typescript", "display_name": "Deno"},
}


def notebook_metadata(notebook):
    metadata = json.loads(json.dumps(notebook.metadata))
    section = metadata.get("jupytext", {})
    section.pop("text_representation", None)
    keys = section.get("cell_metadata_filter")
    if isinstance(keys, str):
        section["cell_metadata_filter"] = ",".join(sorted(keys.split(",")))
    if not section:
        metadata.pop("jupytext", None)
    return metadata


def describe(text, suffix, target):
    read_as = {"extension": suffix, "format_name": "markdown" if suffix == ".md" else "percent"}
    try:
        notebook = jupytext.reads(text, fmt=read_as)
    except Exception as error:  # whatever a hostile text makes it say
        return {"error": str(error)}
    found = notebook_metadata(notebook)
    cells = []
    for cell in notebook.cells:
        metadata = {key: value for key, value in cell.metadata.items() if not key.startswith("lines_to")}
        cells.append([cell.cell_type, cell.source, metadata])
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "cell_marker"}
    section = {"notebook_metadata_filter": "-all", "cell_metadata_filter": "-all"}
    for key in ("encoding", "executable"):
        if key in found.get("jupytext", {}):
            section[key] = found["jupytext"][key]
    notebook.metadata = {"jupytext": section, "kernelspec": KERNELS[target]}
    written = jupytext.writes(notebook, fmt={"extension": target, "format_name": "percent"})
    return {"cells": cells, "metadata": found, "written": written}


for path in sorted(pathlib.Path(sys.argv[1]).iterdir(), key=lambda path: int(path.stem)):
    text = path.read_bytes().decode("utf-8")
    print(json.dumps(describe(text, path.suffix, sys.argv[2])))
