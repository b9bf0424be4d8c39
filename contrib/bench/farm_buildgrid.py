#!/usr/bin/env python3
"""Builds a course through a farm of BuildGrid on this machine, and kills parts of the farm meanwhile.

    farm_buildgrid.py --clm target/release/clm                      # the demo course
    farm_buildgrid.py --clm target/release/clm --topics 50          # a generated one
    farm_buildgrid.py --clm target/release/clm --only farm,kill     # some of the checks

The course is built once without a farm. Every check then starts a farm with an empty cache, builds a fresh copy with nothing
made locally (`CLM_FARM_LOCAL=0`), and compares all outputs with those of the first build; lists of outputs, which name the
time, are left out. Prints a line for each check, and seconds. The exit code is 1 if a check failed. Needs Linux on x86-64,
Python 3.11, PostgreSQL, and the renderers of `clm setup`. The machine does all the work itself, twice over: compare the
seconds only with one another.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import gen
from farm_grid import Grid, wait_for

ROOT = Path(__file__).resolve().parents[2]
# Of a course: what builds made, and not its sources.
MADE = ("output", ".clm", "img-generated", "__pycache__")


def fail(text: str) -> None:
    """Ends a check."""
    raise AssertionError(text)


@dataclass
class Built:
    """What a build did."""

    seconds: float
    code: int
    totals: dict[str, int]
    cache: dict[str, int]
    said: str


class Checkout:
    """A copy of the course, of somebody with a home of their own."""

    def __init__(self, bench: Bench, name: str, settings: str = ""):
        self.bench = bench
        self.place = bench.work / name
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(bench.source, self.place / "course", ignore=shutil.ignore_patterns(*MADE))
        (self.place / "home").mkdir()
        self.root = self.place / "course"
        if settings:
            with (self.root / "clm.toml").open("a") as file:
                file.write(settings)

    def start(self, endpoint: str = "") -> None:
        """Starts a build, with a farm or without."""
        environment = self.bench.environment | {"HOME": str(self.place / "home"), "CLM_FARM": endpoint, "CLM_FARM_LOCAL": "0"}
        command = [str(self.bench.clm), "build", "--no-daemon", "--message-format", "json", "course.xml"]
        self.begun = time.monotonic()
        with (self.place / "out").open("w") as out, (self.place / "err").open("w") as err:
            self.process = subprocess.Popen(command, cwd=self.root, env=environment, stdout=out, stderr=err)

    def finish(self) -> Built:
        """Waits for the end of the build."""
        try:
            code = self.process.wait(self.bench.patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            fail(f"the build did not end in {self.bench.patience} s")
        seconds = time.monotonic() - self.begun
        lines = (self.place / "out").read_text()
        events = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
        of = lambda name: next((event for event in reversed(events) if event["event"] == name), {})
        return Built(seconds, code, of("run_finished"), of("cache_used"), lines + (self.place / "err").read_text())

    def build(self, endpoint: str = "") -> Built:
        """Builds."""
        self.start(endpoint)
        return self.finish()

    def outputs(self) -> dict[str, str]:
        """Returns the digest of every output by its path."""
        root = self.root / "output"
        files = (file for file in root.rglob("*") if file.is_file() and file.name != ".clm-manifest.json")
        return {str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


class Bench:
    """The course, the first build of it, and the checks."""

    def __init__(self, options: argparse.Namespace, work: Path):
        self.clm, self.cache, self.work, self.bots = options.clm.resolve(), options.cache, work, options.bots
        self.patience = options.patience
        self.results: list[tuple[str, str, float]] = []
        tools = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share")) / "clm/tools"
        # Settings of whoever runs this have no influence.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("CLM_", "XDG_"))}
        self.environment["CLM_TOOLS_DIR"] = os.environ.get("CLM_TOOLS_DIR", str(tools))
        self.source = options.course.resolve()
        if options.topics:
            self.source = work / "source"
            gen.write(self.source, gen.Shape(topics=options.topics))

    def reference(self) -> None:
        """Builds without a farm."""
        checkout = Checkout(self, "local")
        built = checkout.build()
        if built.code != 0:
            sys.exit(f"the build without a farm fails:\n{built.said[-3000:]}")
        self.expected = checkout.outputs()
        self.actions, self.seconds = built.totals["built"], built.seconds
        print(f"without a farm: {built.seconds:.1f} s, {self.actions} actions, {len(self.expected)} outputs compared", flush=True)

    def compare(self, checkout: Checkout, built: Built) -> None:
        """Fails if a build did, or if its outputs are others than those without a farm."""
        if built.code != 0:
            fail(f"exit code {built.code}: {built.said[-1500:]}")
        found = checkout.outputs()
        names = sorted(name for name in found.keys() | self.expected.keys() if found.get(name) != self.expected.get(name))
        if names:
            fail(f"{len(names)} outputs differ or are missing, such as {names[:3]}")

    def warned(self, built: Built) -> str:
        """Returns the first thing that a build said of the farm, for people to read."""
        events = (json.loads(line) for line in built.said.splitlines() if line.startswith("{"))
        texts = [str(event.get("message", "")) for event in events]
        texts += [line for line in built.said.splitlines() if line.startswith(("warning", "note"))]
        return next((f"; it says: {text}" for text in texts if "farm" in text), "")

    def grid(self, name: str) -> Grid:
        """Returns a farm with an empty cache."""
        place = self.work / f"grid-{name}"
        shutil.rmtree(place, ignore_errors=True)
        return Grid(place, self.clm, self.cache, self.environment, self.bots)

    def check(self, name: str) -> bool:
        """Runs a check, and says how it went."""
        function = CHECKS[name]
        begun = time.monotonic()
        try:
            text = function(self)
            good = True
        except (AssertionError, TimeoutError) as error:
            text, good = str(error), False
        title = function.__doc__.splitlines()[0].rstrip(".")
        print(f"{'ok' if good else 'FAILED'}: {name}: {title}: {text} [{time.monotonic() - begun:.0f} s]", flush=True)
        return good


def farm(bench: Bench) -> str:
    """Everything is made by the farm; then others have it without doing anything."""
    with bench.grid("farm") as grid:
        first = Checkout(bench, "farm-1")
        built = first.build(grid.endpoint())
        bench.compare(first, built)
        begun = grid.begun()
        if len(set(begun)) < bench.actions:
            fail(f"the farm began {len(set(begun))} of {bench.actions} actions{bench.warned(built)}")
        second = Checkout(bench, "farm-2")
        again = second.build(grid.endpoint())
        bench.compare(second, again)
        if again.totals["built"] or len(grid.begun()) > len(begun):
            fail(f"the second checkout had {again.totals['built']} actions made")
        ended = [len(bot.lines("end")) for bot in grid.bots]
        return (
            f"{built.seconds:.1f} s, {len(begun)} actions run by {len(ended)} workers ({ended}), equal bytes; "
            f"a second checkout: {again.seconds:.1f} s, nothing made"
        )


def two(bench: Bench) -> str:
    """Two clients build the same at once, and each action runs once."""
    with bench.grid("two") as grid:
        clients = [Checkout(bench, f"two-{number}") for number in (1, 2)]
        for client in clients:
            client.start(grid.endpoint())
        results = [client.finish() for client in clients]
        for client, built in zip(clients, results):
            bench.compare(client, built)
        counts = collections.Counter(grid.begun())
        twice = [digest for digest, count in counts.items() if count > 1]
        if twice or len(counts) < bench.actions:
            fail(f"{len(counts)} actions ran, {len(twice)} of them more than once")
        known = sum(len(bot.lines("known")) for bot in grid.bots)
        seconds = " and ".join(f"{built.seconds:.1f} s" for built in results)
        return f"{seconds}, {len(counts)} actions, each once ({known} were asked for twice within moments)"


def bot_ends(bench: Bench, name: str, number: signal.Signals) -> str:
    """Builds while a worker is sent a signal in the middle of an action."""
    with bench.grid(name) as grid:
        client = Checkout(bench, name)
        client.start(grid.endpoint())
        victim = grid.bots[0]
        wait_for("a quarter of the actions has begun", lambda: len(grid.begun()) * 4 >= bench.actions)
        wait_for("the worker runs an action", victim.is_busy)
        running = victim.lines("begin")[-1]
        victim.process.send_signal(number)
        killed = time.monotonic()
        built = client.finish()
        bench.compare(client, built)
        others = [digest for bot in grid.bots[1:] for digest in bot.lines("begin")]
        what = "ran on another worker" if running in others else "had ended just then, or was made here"
        after = time.monotonic() - killed
        return f"{built.seconds:.1f} s, {after:.1f} s of it afterwards, equal bytes; its action {what}{bench.warned(built)}"


def kill(bench: Bench) -> str:
    """A worker is killed in the middle of an action."""
    return bot_ends(bench, "kill", signal.SIGKILL)


def term(bench: Bench) -> str:
    """A worker is asked to end in the middle of an action."""
    return bot_ends(bench, "term", signal.SIGTERM)


def server(bench: Bench) -> str:
    """The server is killed in the middle, and started again 3 s later."""
    with bench.grid("server") as grid:
        client = Checkout(bench, "server")
        client.start(grid.endpoint())
        wait_for("a quarter of the actions has begun", lambda: len(grid.begun()) * 4 >= bench.actions)
        grid.server.kill()
        grid.server.wait()
        before = len(set(grid.begun()))
        time.sleep(3)
        grid.start_server()
        built = client.finish()
        bench.compare(client, built)
        # What the farm still had to do ends, and it is used by the next one who builds.
        later = Checkout(bench, "server-later")
        deck = sorted((later.root / "slides").rglob("*.py"))[0]
        deck.write_text(deck.read_text() + "\n# %%\nprint('another cell')\n")
        begun = len(set(grid.begun()))
        again = later.build(grid.endpoint())
        if again.code != 0 or len(set(grid.begun())) == begun:
            fail(f"the farm is not used again: exit code {again.code}{bench.warned(again)}")
        return (
            f"{built.seconds:.1f} s, equal bytes; {before} actions had begun before, {begun - before} after it"
            f"{bench.warned(built)}; the next build uses the farm"
        )


def unknown(bench: Bench) -> str:
    """A property that the farm does not know: the work is done here, and the setting is named."""
    with bench.grid("unknown") as grid:
        client = Checkout(bench, "unknown", '[farm.platform]\ncolour = "blue"\n')
        built = client.build(grid.endpoint())
        bench.compare(client, built)
        if "farm.platform" not in built.said or "colour" not in built.said:
            fail(f"`farm.platform` and `colour` are not named{bench.warned(built)}")
        return f"{built.seconds:.1f} s, equal bytes{bench.warned(built)}"


def nobody(bench: Bench) -> str:
    """A property that no worker has: after `max_queue` the work is done here."""
    with bench.grid("nobody") as grid:
        client = Checkout(bench, "nobody", '[farm]\nmax_queue = "3 s"\n[farm.platform]\nclm-tools = "none"\n')
        built = client.build(grid.endpoint())
        bench.compare(client, built)
        if grid.begun():
            fail("a worker took an action that asks for what it does not have")
        if built.seconds > bench.seconds * 2 + 20:
            fail(f"{built.seconds:.1f} s, and without a farm {bench.seconds:.1f}: it waits for one action after the other")
        return f"{built.seconds:.1f} s, equal bytes{bench.warned(built)}"


CHECKS = {function.__name__: function for function in (farm, two, kill, term, server, unknown, nobody)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clm", type=Path, required=True)
    parser.add_argument("--course", type=Path, default=ROOT / "fixtures/demo", help="a course (the demo)")
    parser.add_argument("--topics", type=int, help="a generated course of so many topics instead")
    parser.add_argument("--bots", type=int, default=2, help="workers, with one action at a time each (2)")
    parser.add_argument("--only", default=",".join(CHECKS), help=f"of the checks {', '.join(CHECKS)}, these")
    parser.add_argument("--patience", type=float, default=600, help="seconds that a build may take (600)")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "clm-farm-programs", help="for downloads")
    parser.add_argument("--keep", action="store_true", help="keep the working directory, with all logs")
    options = parser.parse_args()
    names = options.only.split(",")
    if wrong := [name for name in names if name not in CHECKS]:
        parser.error(f"there is no check {wrong[0]}")
    options.cache.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="clm-farm-"))
    work.chmod(0o711)  # PostgreSQL may run as another user
    try:
        bench = Bench(options, work)
        bench.reference()
        failed = [name for name in names if not bench.check(name)]
    finally:
        if options.keep:
            print(f"everything is in {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    sys.exit(f"{len(failed)} of {len(names)} checks failed" if failed else 0)


if __name__ == "__main__":
    main()
