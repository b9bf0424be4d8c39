#!/usr/bin/env python3
"""Measures two clm binaries beside each other, such as those before and after a change.

Each has a copy of a generated course; they take turns in every scenario, and each scenario is measured in both orders:
after half of the rounds the two exchange their copies, since two directories of one file system are not equally quick.
Gives medians, and the ratio of the second binary to the first.

    compare.py BEFORE AFTER --topics 50 --rounds 6 --work DIR

Besides the scenarios of README.md: `asked` is a build with nothing to do beside a watch that answers it, `memory` the
resident megabytes of a watch that has nothing to do.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import gen
import latency
import measure
from contenders import BUILDS, Clm, Setting
from scenarios import once

WATCHED = ("asked", "memory")
SCENARIOS = (*BUILDS, *WATCHED)
# How often a watch is asked in a round: it answers in milliseconds.
ASKED = 15


class Binary(Clm):
    """One of the two, with the copy of the course that it has now."""

    def __init__(self, name: str, setting: Setting, shape: gen.Shape):
        self.name = name
        super().__init__(setting, shape)

    def use(self, copy: str) -> None:
        """Takes a copy as if it were new to this binary."""
        self.site = self.setting.work / f"{self.shape.topics}-topics" / copy
        self.root = self.site / "course"
        self.prepare()
        self.before("cold")
        self.mark_built(False)


def watched(one: Binary, scenario: str) -> list[float]:
    """Figures of a watch: seconds of the builds that ask it, or its memory."""
    command = [one.setting.clm, "watch", one.root / "course.xml", *one.setting.arguments]
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=one.site,
        env=one.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        latency.quiet(process.pid, 4.0)
        if process.poll() is not None:
            sys.exit(f"{one.name}: the watch ended with exit code {process.returncode}")
        if scenario == "memory":
            return [measure.resident(process.pid)]
        ask = [one.setting.clm, "build", one.root / "course.xml", "--offline", *one.setting.arguments]
        runs = [measure.run(ask, one.site, one.environment(), leaves_a_daemon=True) for _ in range(ASKED)]
        for run in runs:
            if problem := one.failed(run) or ("without the daemon" in run.said and "it worked alone"):
                sys.exit(f"{one.name}: {problem}")
        return [run.wall for run in runs]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def measured(one: Binary, scenario: str) -> list[float]:
    """Figures of one turn."""
    if scenario not in WATCHED:
        run, problem = once(one, scenario)
        if problem:
            sys.exit(f"{one.name}, {scenario}: {problem}")
        return [run.wall]
    if not one.is_built():
        once(one, "noop")
    return watched(one, scenario)


def main() -> None:
    """Measures what the command line asks for, and prints a table."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[gen.parser()]
    )
    options.add_argument("before", type=Path)
    options.add_argument("after", type=Path)
    options.add_argument("--topics", type=int, default=50)
    options.add_argument("--rounds", type=int, default=6, help="of each scenario, half of them in each order")
    options.add_argument("--cold", type=int, default=2, help="rounds of cold builds, which take long")
    options.add_argument("--scenarios", default=",".join(SCENARIOS))
    options.add_argument("--work", type=Path, required=True, help="where the courses are built; it is removed before")
    options.add_argument("--tools", type=Path, default=Path.home() / ".local/share/clm/tools")
    given = options.parse_args()
    wanted = given.scenarios.split(",")
    if unknown := set(wanted) - set(SCENARIOS):
        options.error(f"{', '.join(unknown)}: known are {', '.join(SCENARIOS)}")
    shutil.rmtree(given.work, ignore_errors=True)
    shape = gen.shape_of(given, given.topics)
    both = [
        Binary(name, Setting(binary.absolute(), given.tools, given.work.absolute()), shape)
        for name, binary in (("before", given.before), ("after", given.after))
    ]
    found = {scenario: {one.name: [] for one in both} for scenario in wanted}
    measure.become_subreaper()
    for copies in (("a", "b"), ("b", "a")):
        for one, copy in zip(both, copies):
            one.use(copy)
        for scenario in wanted:
            for number in range(max((given.cold if scenario == "cold" else given.rounds) // 2, 1)):
                for one in both if number % 2 == 0 else reversed(both):
                    found[scenario][one.name] += measured(one, scenario)
                    print(f"  {scenario} {one.name} {found[scenario][one.name][-1]:.4f}", file=sys.stderr, flush=True)
    print(f"| {given.topics} topics | before | after | ratio |\n|---|---|---|---|")
    for scenario, figures in found.items():
        before, after = (statistics.median(figures[one.name]) for one in both)
        unit, factor = ("MB", 1) if scenario == "memory" else ("ms", 1000)
        print(f"| {scenario} | {before * factor:.1f} {unit} | {after * factor:.1f} {unit} | {after / before:.3f} |")


if __name__ == "__main__":
    main()
