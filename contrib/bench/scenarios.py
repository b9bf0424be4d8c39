"""The scenarios: what happens to the course before each build, in what order, how often."""

from __future__ import annotations

import time
from collections.abc import Iterable

from contenders import EDITED, LIMIT, Builder, Contender
from edits import EDITS


def measure_scenario(scenario: str, contenders: Iterable[Contender], rounds: int, budget: float, say) -> dict:
    """Measures a scenario: in every round each contender once, one after the other.

    Ends after `rounds`, or when `budget` seconds are over and every contender was measured. Gives for every contender
    its command and runs.
    """
    taking_part = [one for one in contenders if scenario in one.scenarios]
    found = {one.name: {"command": _shown(one, scenario), "runs": [], "failures": []} for one in taking_part}
    started = time.monotonic()
    for number in range(rounds):
        for one in taking_part:
            results = found[one.name]
            over = time.monotonic() - started > budget
            if number >= one.rounds.get(scenario, rounds) or (over and number > 0):
                continue
            say(f"{scenario}, {one.shape.topics} topics, round {number + 1}: {one.name}")
            run, problem = once(one, scenario)
            record = {**run.record(), "quiet": run.quiet}
            if problem:
                say(f"  FAILED: {problem}")
                results["failures"].append({"problem": problem, **record})
            else:
                say(f"  {run.wall:.3f} s, {run.cpu:.2f} s CPU, {run.rss:.0f} MB, others {run.foreign:.2f} s CPU")
                results["runs"].append(record)
    return found


def once(one: Contender, scenario: str):
    if scenario != "cold" and not one.is_built():
        # A build that is not measured; later scenarios begin where it ends.
        if isinstance(one, Builder):
            one.before("cold")
        first = one.run("cold" if "cold" in one.scenarios else scenario)
        if problem := one.failed(first):
            return first, problem
        one.mark_built(True)
    one.before(scenario)
    trace = None
    if scenario in EDITED:
        number = one.next_edit()
        if one.owns_sources:
            trace = EDITS[scenario](one.root, one.shape, number)
    elif scenario in ("cold", "restore"):
        one.mark_built(False)
    run = one.run(scenario)
    problem = one.failed(run)
    if problem is None and trace and isinstance(one, Builder):
        missing = trace.missing(one.root)
        if missing:
            problem = f"the edit of {trace.edited.name} is not seen in {missing[0]}"
    if problem is None and scenario == "noop" and isinstance(one, Builder) and not one.is_built():
        problem = "it was not built before"
    if isinstance(one, Builder) and scenario in ("cold", "restore"):
        one.mark_built(problem is None)
    return run, problem


def _shown(one: Contender, scenario: str) -> str:
    return shown(one.command(scenario), one)


def shown(command: list, one: Contender) -> str:
    """A command without the places of this machine."""
    text = " ".join(map(str, command))
    for directory, name in [(one.site, "SITE"), (one.setting.work, "WORK"), (one.setting.tools, "TOOLS"), (LIMIT.parents[2], ".")]:
        text = text.replace(str(directory), name)
    return text
