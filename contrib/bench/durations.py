#!/usr/bin/env python3
"""Records how long the actions of a generated course take, for the simulation `src/engine/schedule/simulation.rs`.

    durations.py CLM --topics 60 --work DIR > src/engine/schedule/durations.csv

Builds the course with one worker of each kind, first the diagrams, then decks and pages, so that nobody waits for a
processor. The median of `--rounds` builds counts. The first ten topics are left out: programs are slower at first. What
the first action of a kind takes longer than the median of all is the start of its renderer. Needs the renderers, two
processors, and that nobody else uses them.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import sys
from pathlib import Path
from statistics import median

from sharing import Machine, begin

WARMING = 10
# The columns, and the actions of a topic that are in them. The decks of both languages have the same code, executed once.
COLUMNS = {
    "execute": r"execute .*",
    "plain_de": r"html .* de plain",
    "plain_en": r"html .* en plain",
    "executed_de": r"html .* de executed",
    "executed_en": r"html .* en executed",
    "plantuml": r"plantuml .*",
    "drawio": r"drawio .*",
}


def recorded(directory: Path) -> tuple[dict[tuple[str, int], int], dict[str, int]]:
    """Returns what the records of a course say: milliseconds by column and topic, and those of the first of each kind."""
    times, first = {}, {}
    with contextlib.closing(sqlite3.connect(directory / ".clm" / "clm.db")) as records:
        rows = records.execute("SELECT action, kind, duration_ms FROM actions ORDER BY id").fetchall()
    for action, kind, ms in rows:
        for column, pattern in COLUMNS.items():
            if re.fullmatch(pattern, action):
                times[column, int(re.search(r"topic_(\d+)", action)[1])] = ms
                first.setdefault(kind, ms)
    return times, first


def main() -> None:
    options = begin(__doc__)
    if options.topics <= WARMING:
        sys.exit(f"--topics must be more than {WARMING}")
    rounds = []
    for number in range(options.rounds):
        directory = options.work / f"round{number}"
        shutil.copytree(options.work / "source", directory)
        machine = Machine(options.clm, directory, bare=False)
        for more in (["--fast"], []):
            machine.run("build", "--offline", "--no-daemon", "-j", "1", *more)
        rounds.append(recorded(directory))
    topics = range(WARMING, options.topics)
    times = {key: round(median(times[key] for times, _ in rounds)) for key in rounds[0][0]}
    starts = []
    for column, pattern in COLUMNS.items():
        kind = pattern.split(" ")[0]
        usual = median(ms for (other, _), ms in times.items() if COLUMNS[other].startswith(kind))
        starts.append(round(median(first[kind] for _, first in rounds) - usual))
    print("# How many milliseconds the actions of generated topics took, each the median of several builds, and how much")
    print("# longer the first of a kind, which starts its renderer. One worker of each kind, two processors.")
    print("# Made by `contrib/bench/durations.py`.")
    print(",".join(["topic", *COLUMNS]))
    print(",".join(["start", *map(str, starts)]))
    for topic in topics:
        print(",".join(str(value) for value in [topic, *(times[column, topic] for column in COLUMNS)]))


if __name__ == "__main__":
    main()
