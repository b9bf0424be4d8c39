#!/usr/bin/env python3
"""What an edit takes when every tool is warm and waits for it: the limit of the latency of a watch.

    warm.py --course ROOT --tools DIR --out DIR [--rounds 20]

ROOT is a generated course that clm built. Prints JSON: for each kind of edit the seconds of every round, from the edited
text in memory to the last output written. Noticing the save, and waiting for more of them, is not a part of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import course
import drawio
from kernels import Zygote, execute
from limit import DPI, JVM
from pages import Fragments

DELIMITER = f"end-of-picture-{os.getpid()}-{os.urandom(8).hex()}"


def main() -> None:
    """Measures all kinds."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--course", type=Path, required=True)
    options.add_argument("--tools", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--rounds", type=int, default=20)
    arguments = options.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    zygote = Zygote()
    found = {**decks(arguments, zygote), "plantuml": plantuml(arguments), "drawio": asyncio.run(drawings(arguments))}
    zygote.end()
    found["data"] = data(arguments)
    json.dump({kind: [round(seconds, 5) for seconds in times] for kind, times in found.items()}, sys.stdout)


def decks(arguments: argparse.Namespace, zygote: Zygote) -> dict[str, list[float]]:
    """A prose edit: the five pages of a language. A code edit: an execution, and all ten pages."""
    deck = course.decks(arguments.course / "output")[0]
    renderer = Fragments()

    def write(outputs: list[list], languages: set[str] | None, change) -> float:
        started = time.perf_counter()
        for notebook, path in deck.pages(outputs() if callable(outputs) else outputs, languages):
            _write(arguments.out / path.name, renderer.render(change(notebook)).encode("utf-8", "replace"))
        return time.perf_counter() - started

    known = execute(zygote.ask(), deck.code())
    write(known, None, lambda notebook: notebook)
    prose, code = [], []
    for number in range(arguments.rounds):
        prose.append(write(known, {"en"}, lambda text, number=number: text.replace('"- **', f'"- {number} **', 1)))
        kernel = zygote.ask()
        # Started ahead: nobody waits for it.
        while not Path(f"{kernel}.pid").exists():
            time.sleep(0.01)
        time.sleep(0.1)
        first, *others = deck.code()
        sources = [f"{first}\nprint({number})", *others]
        code.append(write(lambda kernel=kernel, sources=sources: execute(kernel, sources), None, lambda text: text))
    return {"prose": prose, "code": code}


def plantuml(arguments: argparse.Namespace) -> list[float]:
    """A diagram in a JVM that waits, and its copies."""
    source = sorted(arguments.course.glob("slides/*/*/pu/*.pu"))[0]
    copies = len(list(arguments.course.glob(f"output/**/img/{source.stem}.png")))
    jar = next(arguments.tools.glob("plantuml-*/plantuml.jar"))
    command = ["java", *JVM, "-jar", jar, "-pipe", "-tpng", f"-Sdpi={DPI}", "-pipedelimitor", DELIMITER]
    times = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        # The first ones warm it up.
        for number in range(-5, arguments.rounds):
            text = re.sub(r"^title .*$", f"title Edit {number}", source.read_text("utf-8"), flags=re.MULTILINE)
            started = time.perf_counter()
            process.stdin.write(text.encode())
            process.stdin.flush()
            picture = b""
            end = DELIMITER.encode() + b"\n"
            while not picture.endswith(end):
                picture += os.read(process.stdout.fileno(), 1 << 20)
            _copy(picture.removesuffix(end), arguments.out, copies)
            if number >= 0:
                times.append(time.perf_counter() - started)
        process.stdin.close()
    return times


async def drawings(arguments: argparse.Namespace) -> list[float]:
    """A drawing in a window that waits, and its copies."""
    source = sorted(arguments.course.glob("slides/*/*/drawio/*.drawio"))[0]
    copies = len(list(arguments.course.glob(f"output/**/img/{source.stem}.png")))
    times = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = drawio.Browser(arguments.tools)
        await browser.start(profile)
        window = await browser.window()
        for number in range(-3, arguments.rounds):
            text = source.read_text("utf-8").replace("Box", f"{number} Box", 1)
            started = time.perf_counter()
            _copy(await browser.render(window, text), arguments.out, copies)
            if number >= 0:
                times.append(time.perf_counter() - started)
        await browser.end()
    return times


def data(arguments: argparse.Namespace) -> list[float]:
    """A data file and its copies."""
    source = sorted(arguments.course.glob("slides/*/*/data/*.csv"))[0]
    copies = len(list(arguments.course.glob(f"output/**/data/{source.name}")))
    times = []
    for _ in range(arguments.rounds):
        started = time.perf_counter()
        _copy(source.read_bytes(), arguments.out, copies)
        times.append(time.perf_counter() - started)
    return times


def _copy(content: bytes, out: Path, copies: int) -> None:
    for copy in range(copies):
        _write(out / f"copy-{copy}", content)


def _write(file: Path, content: bytes) -> None:
    # Some file systems write a file out at once that is truncated or renamed over, which takes milliseconds.
    file.unlink(missing_ok=True)
    file.write_bytes(content)


if __name__ == "__main__":
    main()
