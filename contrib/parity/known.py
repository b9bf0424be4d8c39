"""KNOWN.md: the differences that are accepted, with the reason why clm is right."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from outcome import DIFFERENT, Outcome


@dataclass
class Known:
    """An accepted difference: which outputs, and what their diff must contain."""

    name: str
    corpus: str
    path: str
    diff: str
    why: str

    def explains(self, corpus: str, outcome: Outcome) -> bool:
        """Whether this is the difference."""
        return (
            fnmatchcase(corpus, self.corpus)
            and fnmatchcase(outcome.path, self.path)
            and re.search(self.diff, outcome.diff, re.MULTILINE | re.DOTALL) is not None
        )


def read(file: Path) -> list[Known]:
    """All TOML blocks of the document that hold `[[known]]` tables."""
    entries = []
    for block in re.findall(r"^```toml\n(.*?)^```", file.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        for entry in tomllib.loads(block).get("known", []):
            unknown = set(entry) - {"name", "corpus", "path", "diff", "why"}
            if unknown or not entry.get("name") or not entry.get("why"):
                raise SystemExit(f"{file}: {entry}: needs name and why, and must not have {unknown or 'less'}")
            entries.append(
                Known(entry["name"], entry.get("corpus", "*"), entry.get("path", "*"), entry.get("diff", ""), entry["why"])
            )
    return entries


def mark(corpus: str, outcomes: list[Outcome], known: list[Known]) -> None:
    """Notes on every difference which entry explains it."""
    for outcome in outcomes:
        if outcome.verdict == DIFFERENT:
            outcome.known = next((entry.name for entry in known if entry.explains(corpus, outcome)), "")
