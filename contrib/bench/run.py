#!/usr/bin/env python3
"""Measures clm, beside CLM (the Python tool), ninja, a bare stat, and the limit that the renderers set.

    run.py all --clm target/release/clm --out /tmp/results [--python-clm VENV/bin/clm] [--ninja PROGRAM]
    run.py report [--check] [--out /tmp/results]

`all` measures part by part and writes a JSON file for each; a part that has one is skipped, so that an interrupted run
goes on where it was. `--parts` chooses parts, `--again` measures them once more. `report` writes RESULTS.md, the plots
and the blocks of figures in documents: of the files in --out, or else of the `results.json` that is stored here. See
README.md for what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import contenders
import gen
import latency
import machine
import measure
import micro
import publish
import queues
import racy
import results
import scenarios
import starting

# Above this many topics a course makes fewer outputs unless told otherwise.
LARGE = 1000
LARGE_MAKES = {"kinds": ("completed",), "formats": ("notebook", "code")}


@dataclass(frozen=True)
class Part:
    """A piece of the whole measurement: a name, what it does, and how many seconds of rounds it may take."""

    name: str
    measure: Callable[[float], dict]
    budget: float


def main() -> int:
    """Runs the command line."""
    options = command_line()
    arguments = options.parse_args()
    if arguments.what == "report":
        return make_report(arguments.out, arguments.results, arguments.check)
    if not arguments.out or arguments.check:
        options.error("`--out` is needed" if not arguments.out else "`--check` is for `report`")
    if arguments.what == "list":
        for part in parts_of(arguments, None):
            print(f"{part.name:28} at most about {part.budget:.0f} s of rounds")
        return 0
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    arguments.work = (arguments.work or out / "work").resolve()
    arguments.work.mkdir(parents=True, exist_ok=True)
    os.chdir(arguments.work)
    measure.become_subreaper()
    parts = parts_of(arguments, setting_of(arguments))
    wanted = arguments.parts.split(",") if arguments.parts else None
    failed = []
    for part in parts:
        if wanted and not any(part.name == name or part.name.startswith(name + "-") for name in wanted):
            continue
        file = out / f"{part.name}.json"
        if file.exists() and not arguments.again:
            say(f"== {part.name}: measured before")
        elif not measure_part(part, file, arguments):
            failed.append(part.name)
    if failed:
        say(f"failed: {', '.join(failed)}")
    return max(make_report(out, arguments.results, False), 1 if failed else 0)


def make_report(out: Path | None, directory: Path | None, check: bool) -> int:
    """Writes the report of a measurement in `out`, or of the results that are stored; or says which files differ."""
    directory = directory or out or publish.PROJECT / publish.STORED
    try:
        found = results.collect(out) if out else results.load(directory / results.FILE)
        texts = publish.files(found, directory)
        if check:
            differing = publish.differing(texts)
            for file in differing:
                say(f"{shown(file)} is not what `contrib/bench/run.py report` writes")
            return 1 if differing else 0
        directory.mkdir(parents=True, exist_ok=True)
        publish.write(texts)
    except results.Problem as problem:
        say(f"no report: {problem}")
        return 1
    return 0


def shown(file: Path) -> Path:
    """A file's path within the project, if it is there."""
    return file.relative_to(publish.PROJECT) if file.is_relative_to(publish.PROJECT) else file


def measure_part(part: Part, file: Path, arguments: argparse.Namespace) -> bool:
    """Measures a part and writes its file; a part that fails does not end the others."""
    say(f"== {part.name}")
    started = time.monotonic()
    record = {"part": part.name, "date": machine.today(), "machine": machine.machine(arguments.work)}
    try:
        record["data"] = part.measure(part.budget * arguments.patience)
    except Exception:
        say(traceback.format_exc())
        return False
    record["seconds"] = round(time.monotonic() - started, 1)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=1))
    partial.rename(file)
    return True


def setting_of(arguments: argparse.Namespace) -> contenders.Setting:
    """Where the programs are."""
    # Abroad from the course, and never the file that a compiler may replace meanwhile.
    clm = arguments.work / "clm"
    shutil.copy2(arguments.clm, clm)
    ninja = arguments.ninja or shutil.which("ninja")
    return contenders.Setting(
        clm=clm,
        tools=arguments.tools.resolve(),
        work=arguments.work,
        python_clm=arguments.python_clm and arguments.python_clm.absolute(),
        python_clm_workers=arguments.python_clm_workers,
        python_path=arguments.python_path,
        ninja=Path(ninja).absolute() if ninja else None,
    )


def parts_of(arguments: argparse.Namespace, setting: contenders.Setting | None) -> list[Part]:
    """All parts, in the order in which they are measured."""
    names = arguments.contenders.split(",") if arguments.contenders else None
    parts = []
    for topics in arguments.topics:
        shape = shape_of(arguments, topics)
        for scenario in contenders.BUILDS:
            # Cold builds take long, and are the same every time; the others are short.
            rounds, budget = (3, 600) if scenario == "cold" else (arguments.rounds, 240)

            def build(budget, scenario=scenario, shape=shape, rounds=rounds):
                return builds(setting, shape, names, scenario, rounds, budget, arguments)

            parts.append(Part(f"build-{topics}-{scenario}", build, budget))
    shape, largest = shape_of(arguments, arguments.topics[0]), shape_of(arguments, arguments.topics[-1])
    return [
        *parts,
        Part("starting", lambda budget: starting.measure_all(setting, shape, arguments.rounds, budget, say), 120),
        Part("daemon", lambda budget: starting.daemon(setting, shape, arguments.rounds * 3, budget, say), 120),
        Part("daemon-largest", lambda budget: starting.daemon(setting, largest, arguments.rounds * 3, budget, say), 120),
        Part("watch", lambda budget: latency.measure_all(setting, shape, arguments.edits, budget, say), 900),
        Part("racy", lambda budget: racy.measure_all(setting, arguments.tries, budget, say), 600),
        Part("queue", lambda budget: queues.measure_all(setting, arguments.cargo_target, budget, say), 600),
        Part("micro", lambda budget: micro.measure_all(arguments.cargo_target, budget, say), 600),
    ]


def builds(setting, shape, names, scenario, rounds, budget, arguments) -> dict:
    """One scenario of builds at one size."""
    everyone = contenders.all_of(setting, shape, names)
    largest = arguments.python_clm_topics
    taking_part = [one for one in everyone if one.name != "CLM" or shape.topics <= largest]
    for one in taking_part:
        one.prepare()
    found = scenarios.measure_scenario(scenario, taking_part, rounds, budget, say)
    return {
        "topics": shape.topics,
        "scenario": scenario,
        "shape": {name: getattr(shape, name) for name in shape.__dataclass_fields__},
        "outputs": count_files(setting, shape),
        "versions": {one.name: one.version() for one in taking_part},
        "contenders": found,
    }


def count_files(setting: contenders.Setting, shape: gen.Shape) -> int:
    """How many outputs the course has."""
    output = contenders.Clm(setting, shape).root / "output"
    return sum(len(files) for _, _, files in os.walk(output))


def shape_of(arguments: argparse.Namespace, topics: int) -> gen.Shape:
    """The shape of the course of a size."""
    shape = gen.shape_of(arguments, topics)
    if topics < LARGE or arguments.everything:
        return shape
    return gen.Shape(**{**{name: getattr(shape, name) for name in shape.__dataclass_fields__}, **LARGE_MAKES})


def command_line() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[gen.parser()]
    )
    options.add_argument("what", choices=["all", "list", "report"])
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    tools = Path(os.environ.get("CLM_TOOLS_DIR") or Path(data) / "clm" / "tools")
    absolute = {"type": lambda text: Path(text).absolute()}
    options.add_argument("--out", **absolute, help="where results go, a file a part")
    options.add_argument("--results", **absolute, help="where the report goes; default: --out, else its place here")
    options.add_argument("--check", action="store_true", help="for `report`: write nothing; exit code 1 if a file differs")
    options.add_argument("--work", **absolute, help="where courses are built; default: `work` in --out")
    options.add_argument("--clm", **absolute, default=Path("target/release/clm").absolute())
    options.add_argument("--tools", **absolute, default=tools, help="what `clm setup` installed")
    options.add_argument("--python-clm", **absolute, help="the `clm` of an environment with CLM 1.35.0")
    options.add_argument("--python-clm-workers", type=int, help="ask for so many workers (needs Python 3.13: README.md)")
    options.add_argument("--python-clm-topics", type=int, default=50, help="the largest course that CLM builds")
    options.add_argument("--python-path", help="a directory for CLM's PYTHONPATH, such as one with watchdog 6.0.0")
    options.add_argument("--ninja", type=Path)
    options.add_argument("--cargo-target", **absolute, help="CARGO_TARGET_DIR of the benches; default: cargo's own")
    options.add_argument("--topics", type=lambda text: [int(size) for size in text.split(",")], default=[10, 50, 200, 2000])
    options.add_argument("--everything", action="store_true", help=f"all outputs for courses of {LARGE} topics and more, too")
    options.add_argument("--contenders", help="only these, by name")
    options.add_argument("--parts", help="only these parts, or all whose names begin so: build-10,racy")
    options.add_argument("--again", action="store_true", help="measure parts that have results, too")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--edits", type=int, default=20, help="edits of each kind under a watch")
    options.add_argument("--tries", type=int, default=1000, help="edits right after a build")
    options.add_argument("--patience", type=float, default=1.0, help="a factor for the time budget of every part")
    return options


def say(text: str) -> None:
    """Tells how it goes."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
