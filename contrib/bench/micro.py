"""The micro benches (`tests/bench/micro.rs`): medians of what they print."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from contenders import clean_environment

PROJECT = Path(__file__).resolve().parents[2]


def measure_all(target: Path | None, budget: float, say) -> dict:
    """Runs them; gives the median of each, with its unit."""
    environment = clean_environment()
    if target:
        environment["CARGO_TARGET_DIR"] = str(target)
    command = ["cargo", "bench", "--quiet", "--bench", "micro"]
    # Building the benches takes longer than running them, and is not a part of the budget.
    said = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=budget + 3600)
    if said.returncode != 0:
        raise RuntimeError(said.stderr[-2000:])
    found = medians(said.stdout)
    for name, value in found.items():
        say(f"{name}: {value}")
    return {"medians": found}


def medians(text: str) -> dict[str, str]:
    """The medians in divan's tree; `outer, inner` where a bench has arguments."""
    found: dict[str, str] = {}
    outer = ""
    for line in text.splitlines():
        if branch := re.match(r"^[├╰]─ (\S+)(.*)$", line):
            outer = branch.group(1)
            rest = branch.group(2).split("│")
            if len(rest) > 2 and re.search(r"\d", rest[0]):
                found[outer] = rest[2].strip()
        elif branch := re.match(r"^(?:│|\s)\s+[├╰]─ (\S+)(.*)$", line):
            rest = branch.group(2).split("│")
            if len(rest) > 2 and re.search(r"\d", rest[0]):
                found[f"{outer}, {branch.group(1)}"] = rest[2].strip()
    return found
