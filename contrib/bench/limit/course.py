"""What clm made of a generated course, as a list of what the limit has to make."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

# Kinds without outputs of cells.
NOT_EXECUTED = {"Code-Along"}
# The kind with every cell: what is executed.
COMPLETE = "Trainer"


@dataclass
class Deck:
    """A deck: its notebooks as clm wrote them, not executed, and where their pages go."""

    number: int
    # Language and kind -> text of the notebook, path of the page below the output directory.
    notebooks: dict[tuple[str, str], tuple[str, Path]] = field(default_factory=dict)

    def code(self) -> list[str]:
        """The sources of all code cells, in order. They are the same in all languages."""
        for wanted in (COMPLETE, "Completed"):
            for (_, kind), (text, _) in self.notebooks.items():
                if kind == wanted:
                    return [cell["source"] for cell in _cells(text)]
        raise SystemExit(f"deck {self.number} has no notebook of the kinds {COMPLETE} and Completed")

    def pages(self, outputs: list[list] | None, languages: set[str] | None = None):
        """Notebooks with the outputs put in, and the paths of their pages."""
        known = dict(zip(self.code(), outputs or [], strict=False))
        for (language, kind), (text, path) in self.notebooks.items():
            if languages and language not in languages:
                continue
            if outputs is None or kind in NOT_EXECUTED:
                yield text, path
                continue
            notebook = json.loads(text)
            for number, cell in enumerate(_code_of(notebook)):
                cell["outputs"] = known["".join(cell["source"])]
                cell["execution_count"] = number + 1
            yield json.dumps(notebook), path


def decks(output: Path) -> dict[int, Deck]:
    """All decks with pages, by the number of their topic."""
    found: dict[int, Deck] = {}
    for file in sorted(output.glob("*/measured-*/*/Notebooks/*/*/*.ipynb")):
        _, course, slides, _, kind, section, name = file.relative_to(output).parts
        page = file.relative_to(output).parents[3] / "Html" / kind / section / name.replace(".ipynb", ".html")
        if not (output / page).exists():
            continue
        number = int(re.search(r"(\d{4}) \d+\.ipynb$", name).group(1))
        deck = found.setdefault(number, Deck(number))
        deck.notebooks[course[-2:], kind] = (file.read_text("utf-8"), page)
    return found


def _cells(text: str) -> list[dict]:
    return [{**cell, "source": "".join(cell["source"])} for cell in _code_of(json.loads(text))]


def _code_of(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
