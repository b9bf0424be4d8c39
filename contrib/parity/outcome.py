"""What a comparison of one output says."""

from __future__ import annotations

from dataclasses import dataclass, field

IDENTICAL = "identical"
NORMALISED = "equal after normalising"
DIFFERENT = "different"


@dataclass
class Outcome:
    """The verdict on one output: its path below the output root, the rules that were needed, and a diff if any."""

    path: str
    verdict: str
    rules: list[str] = field(default_factory=list)
    diff: str = ""
    known: str = ""

    def line(self) -> str:
        """One line for people."""
        note = f" ({', '.join(self.rules)})" if self.rules else ""
        known = f" [known: {self.known}]" if self.known else ""
        return f"{self.verdict}{note}{known}: {self.path}"


def identical(path: str) -> Outcome:
    """Equal bytes."""
    return Outcome(path, IDENTICAL)


def different(path: str, diff: str) -> Outcome:
    """Something that no rule explains."""
    return Outcome(path, DIFFERENT, diff=diff)


def normalised(path: str, rules) -> Outcome:
    """Equal once these rules are applied to both."""
    return Outcome(path, NORMALISED, sorted(rules))
