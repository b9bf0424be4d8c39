#!/usr/bin/env python3
"""Measures what a shared cache and archives of it gain and cost, on a generated course.

    sharing.py CLM --topics 50 --work DIR

A machine builds everything; others, which have neither records nor renderers, get the results: from its own records, from
an archive, and from nginx on this machine. Then one deck is changed. Prints a table in Markdown: seconds, megabytes, and
how many actions workers made. Needs `nginx` and the renderers.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import gen

CONFIGURATION = Path(__file__).resolve().parents[1] / "ci" / "nginx.conf"


class Server:
    """nginx with the configuration of `contrib/ci`, for everybody to read and write."""

    def __init__(self, work: Path):
        self.dir = work / "server"
        (self.dir / "cache").mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        text = CONFIGURATION.read_text()
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}").replace("/var/cache/clm", str(self.dir / "cache"))
        text = text.replace('auth_basic "clm cache"', "auth_basic off")
        whole = f"daemon off; user root; pid {self.dir}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{text}\n}}\n"
        (self.dir / "nginx.conf").write_text(whole)
        self.process = subprocess.Popen(["nginx", "-c", str(self.dir / "nginx.conf"), "-e", str(self.dir / "error.log")])
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        sys.exit("nginx does not listen")

    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def megabytes(self) -> float:
        files = (self.dir / "cache").rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file()) / 1e6

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


class Machine:
    """A checkout; without renderers if it is `bare`."""

    def __init__(self, clm: str, directory: Path, bare: bool, remote: str = ""):
        self.clm = clm
        self.directory = directory
        self.environment = dict(os.environ, CLM_CACHE_REMOTE=remote)
        if bare:
            self.environment |= {"PATH": "/nowhere", "CLM_TOOLS_DIR": "/nowhere"}

    def run(self, *arguments: str) -> tuple[float, str]:
        begun = time.monotonic()
        done = subprocess.run(
            [self.clm, *arguments], cwd=self.directory, env=self.environment, text=True, capture_output=True, check=False
        )
        took = time.monotonic() - begun
        if done.returncode != 0:
            sys.exit(f"{arguments}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return took, done.stdout

    def build(self) -> tuple[float, int]:
        took, text = self.run("build", "--message-format", "json")
        ends = [json.loads(line) for line in text.splitlines() if '"run_finished"' in line]
        return took, ends[-1]["built"]


def best(rounds: int, prepare, run) -> tuple[float, int]:
    """Returns the shortest of several runs, each after a preparation that is not measured."""
    results = []
    for _ in range(rounds):
        prepare()
        results.append(run())
    return min(results)


def begin(description: str | None, topics: int | None = None) -> argparse.Namespace:
    """Reads the options and writes the course to `source` in the working directory; without `topics` they must be given."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clm")
    parser.add_argument("--topics", type=int, default=topics, required=topics is None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    options.work = options.work.resolve()
    if options.work.exists() and any(options.work.iterdir()):
        sys.exit(f"{options.work} is not empty")
    gen.write(options.work / "source", gen.Shape(topics=options.topics))
    return options


def main() -> None:
    options = begin(__doc__)
    work: Path = options.work
    source = work / "source"
    rows: list[tuple[str, float, float | None, int | None]] = []

    def checkout(name: str) -> Path:
        place = work / name
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(source, place)
        return place

    first = Machine(options.clm, checkout("first"), bare=False)
    took, made = first.build()
    rows.append(("everything made, no cache", took, None, made))
    first.run("setup", "--lock", "course.xml")
    shutil.copy(first.directory / "clm.lock", source / "clm.lock")
    forget = lambda machine: shutil.rmtree(machine.directory / "output", ignore_errors=True)
    without = Machine(options.clm, first.directory, bare=True)
    took, made = best(options.rounds, lambda: forget(without), without.build)
    rows.append(("its outputs removed: restored from its records, no renderers", took, None, made))
    archive = work / "cache.tar.zst"
    took, _ = first.run("cache", "export", str(archive))
    rows.append(("archive written", took, archive.stat().st_size / 1e6, None))
    second = Machine(options.clm, work / "second", bare=True)

    def imported() -> float:
        checkout("second")
        return second.run("cache", "import", str(archive))[0]

    rows.append(("archive read, on another machine", imported(), None, None))
    local, made = best(options.rounds, imported, second.build)
    rows.append(("then restored: an empty machine with the results, no renderers", local, None, made))
    server = Server(work)
    try:
        filling = Machine(options.clm, checkout("filling"), bare=False, remote=server.url())
        took, made = filling.build()
        rows.append(("everything made, and sent to the server", took, server.megabytes(), made))
        third = Machine(options.clm, work / "third", bare=True, remote=server.url())
        took, made = best(options.rounds, lambda: checkout("third"), third.build)
        rows.append((f"an empty machine without renderers, from the server ({took / local:.2f} times that from local results)", took, None, made))
        changed = Machine(options.clm, checkout("changed"), bare=False, remote=server.url())
        deck = sorted((changed.directory / "slides").rglob("*.py"))[0]
        deck.write_text(deck.read_text() + "\n# %%\nprint('a change')\n")
        took, made = changed.build()
        rows.append(("an empty machine, one deck changed", took, None, made))
    finally:
        server.stop()
    print(f"| {options.topics} topics | s | MB | made by workers |\n|---|---:|---:|---:|")
    for what, seconds, megabytes, number in rows:
        size = "" if megabytes is None else f"{megabytes:.1f}"
        count = "" if number is None else str(number)
        print(f"| {what} | {seconds:.2f} | {size} | {count} |")


if __name__ == "__main__":
    main()
