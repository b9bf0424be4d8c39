"""The edit right after a build: how many edits are missed that come 0 to 20 ms after a build ended.

An edit writes the file in place with other bytes of the same length, which is what fools engines that look at sizes
and times only. Then the course is built, and the output is compared with the source.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

import gen
from contenders import Setting, clean_environment

LATEST = 0.020
PEERS_TRIES = 100
BUILD_NINJA = "rule copy\n  command = cp $in $out\nbuild out: copy source\n"
MAKEFILE = "out: source\n\tcp source out\n"


def measure_all(setting: Setting, tries: int, budget: float, say) -> dict:
    """clm with a data file and with a deck, ninja and make with a copied file."""
    directory = setting.work / "racy"
    shutil.rmtree(directory, ignore_errors=True)
    found = {}
    peers = [("make", "make", [shutil.which("make"), "-s"])]
    if setting.ninja:
        peers.insert(0, ("ninja", "build.ninja", [str(setting.ninja), "--quiet"]))
    for name, file, command in peers:
        if command[0]:
            found[name] = _peer(directory / name, file, command, min(tries, PEERS_TRIES))
            say(f"{name}: {found[name]}")
    for name, edited in [("clm, data file", "data"), ("clm, deck", "deck")]:
        found[name] = _clm(setting, directory / edited, edited, tries, budget / 2)
        say(f"{name}: {found[name]}")
    return found


def _peer(directory: Path, file: str, command: list[str], tries: int) -> dict:
    directory.mkdir(parents=True)
    (directory / ("Makefile" if file == "make" else file)).write_text(MAKEFILE if file == "make" else BUILD_NINJA)
    source, output = directory / "source", directory / "out"

    def build() -> None:
        subprocess.run(command, cwd=directory, check=True, capture_output=True)

    return _try(source, b"edit %07d\n", build, lambda new: output.read_bytes() == new, tries, 60)


def _clm(setting: Setting, directory: Path, edited: str, tries: int, budget: float) -> dict:
    shape = gen.Shape(topics=1, languages=("en",), kinds=("completed",), formats=("notebook",), plantuml=0, drawio=0)
    gen.write(directory, shape)
    place = gen.topic(directory, shape, 0)
    command = [str(setting.clm), "build", str(directory / "course.xml"), "--offline", "--no-daemon", "--quiet"]

    def build() -> None:
        subprocess.run(command, check=True, capture_output=True, env=clean_environment(CLM_TOOLS_DIR=str(setting.tools)))

    def output(name: str) -> bytes:
        found = list((directory / "output").glob(f"**/{name}"))
        return found[0].read_bytes() if len(found) == 1 else b""

    if edited == "data":
        source = place.data[0]
        return _try(source, b"row,%07d\n", build, lambda new: output(source.name) == new, tries, budget)
    source = place.decks[0]
    text = source.read_bytes() + b"\n# %% [markdown]\n# edit "
    return _try(source, text + b"%07d\n", build, lambda new: new[-8:-1] in output("*.ipynb"), tries, budget)


def _try(source: Path, form: bytes, build, is_seen, tries: int, budget: float) -> dict:
    """Edits and builds in turns; counts what was not seen, and what was not seen by the next build either."""
    chance = random.Random(1)
    head, _, tail = form.rpartition(b"%07d")
    source.write_bytes(head + b"%07d" % 0 + tail)
    build()
    missed, lost, done = 0, 0, 0
    began = time.monotonic()
    for number in range(1, tries + 1):
        if time.monotonic() - began > budget:
            break
        # Every fifth edit comes at once; the others at any time up to the latest.
        if number % 5:
            time.sleep(chance.random() * LATEST)
        new = head + b"%07d" % number + tail
        source.write_bytes(new)
        build()
        done += 1
        if not is_seen(new):
            missed += 1
            build()
            lost += not is_seen(new)
    return {"tries": done, "missed": missed, "missed_for_good": lost}
