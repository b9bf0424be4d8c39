"""Counting and telling."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from outcome import DIFFERENT, IDENTICAL, NORMALISED, Outcome


@dataclass
class Corpus:
    """What came out of one corpus."""

    name: str
    courses: int = 0
    their_seconds: float = 0.0
    our_seconds: float = 0.0
    outcomes: list[tuple[str, Outcome]] = field(default_factory=list)

    def add(self, course: str, outcomes: list[Outcome]) -> None:
        """Takes the outcomes of a course."""
        self.outcomes.extend((course, outcome) for outcome in outcomes)

    @property
    def unexplained(self) -> list[tuple[str, Outcome]]:
        """What is different and known to nobody."""
        return [(course, it) for course, it in self.outcomes if it.verdict == DIFFERENT and not it.known]

    def totals(self) -> dict:
        """Counts by verdict, by rule and by known difference."""
        verdicts = Counter(it.verdict for _, it in self.outcomes)
        return {
            "courses": self.courses,
            "outputs": len(self.outcomes),
            IDENTICAL: verdicts[IDENTICAL],
            NORMALISED: verdicts[NORMALISED],
            DIFFERENT: verdicts[DIFFERENT],
            "different and not known": len(self.unexplained),
            "rules": dict(Counter(rule for _, it in self.outcomes for rule in it.rules)),
            "known": dict(Counter(it.known for _, it in self.outcomes if it.known)),
            "seconds of CLM": round(self.their_seconds, 1),
            "seconds of clm": round(self.our_seconds, 1),
        }


def show(course: str, outcomes: list[Outcome], is_verbose: bool, diffs: int) -> None:
    """Prints the outcomes of a course: all or just the different ones; diffs of the first few."""
    for outcome in outcomes:
        is_new = outcome.verdict == DIFFERENT and not outcome.known
        if is_verbose or is_new:
            print(f"{course}: {outcome.line()}")
        if is_new and diffs > 0:
            diffs -= 1
            print("    " + outcome.diff.replace("\n", "\n    "))


def show_totals(corpora: list[Corpus]) -> None:
    """Prints a table."""
    width = max([len(corpus.name) for corpus in corpora] + [6])
    print(f"{'corpus':<{width}}  courses  outputs  identical  normalised  different  of these known  CLM s  clm s")
    for corpus in corpora:
        totals = corpus.totals()
        known = totals[DIFFERENT] - totals["different and not known"]
        print(
            f"{corpus.name:<{width}}  {totals['courses']:>7}  {totals['outputs']:>7}  {totals[IDENTICAL]:>9}"
            f"  {totals[NORMALISED]:>10}  {totals[DIFFERENT]:>9}  {known:>14}"
            f"  {totals['seconds of CLM']:>5}  {totals['seconds of clm']:>5}"
        )


def write(file: Path, corpora: list[Corpus]) -> None:
    """Writes the report as JSON: totals of every corpus, and everything that is not identical."""
    report = {
        corpus.name: {
            "totals": corpus.totals(),
            "outputs": [
                {"course": course, **asdict(it)} for course, it in corpus.outcomes if it.verdict != IDENTICAL
            ],
        }
        for corpus in corpora
    }
    file.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
