#!/usr/bin/env python3
"""Does what a scenario cannot do without, with the same tools as clm, and nothing else. Run by `run.py`.

    limit.py SCENARIO --course ROOT --tools DIR --out DIR [--topic N] [--parts decks,plantuml,drawio,files]

ROOT is a generated course that clm built: its notebooks are the input, its outputs say what has to be written. There is
no plan, no key, no record, no check: what clm takes longer than this is what its promises cost. README.md describes it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS = {
    "cold": ("drawio", "plantuml", "files", "decks"),
    "prose": ("decks", "files"),
    "code": ("decks", "files"),
    "plantuml": ("plantuml", "files"),
    "drawio": ("drawio", "files"),
    "restore": ("files",),
}
# As clm has them.
DPI, LARGEST = 200, 8192
# An ordinary JVM takes a third longer for the diagrams of a course.
JVM = ["-Djava.awt.headless=true", f"-DPLANTUML_LIMIT_SIZE={LARGEST}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


class Limit:
    """The work of one scenario."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.scenario: str = arguments.scenario
        self.output: Path = arguments.course / "output"
        self.out: Path = arguments.out
        # The topic that was edited; None: all.
        self.topic = None if self.scenario in ("cold", "restore") else arguments.topic
        self.running: list[subprocess.Popen] = []

    def run(self) -> None:
        """All parts at once, as the machine has several cores."""
        parts = self.arguments.parts or PARTS[self.scenario]
        zygote = None
        if "decks" in parts and self.scenario != "prose":
            # Only who needs it waits for it to be imported.
            from kernels import Zygote

            zygote = Zygote()
        for part in parts:
            if part != "decks":
                getattr(self, part)()
        if "decks" in parts:
            self.decks(zygote)
        if zygote:
            zygote.end()
        for process in self.running:
            if process.wait() != 0:
                sys.exit(f"{process.args} ended with {process.returncode}")

    def plantuml(self) -> None:
        """All diagrams in one JVM, with as many threads as it likes."""
        jar = next(self.arguments.tools.glob("plantuml-*/plantuml.jar"))
        out = self.out / "plantuml"
        out.mkdir(parents=True)
        files = self.sources("pu")
        if files:
            command = ["java", *JVM, "-jar", jar, "-tpng", f"-Sdpi={DPI}", "-nbthread", "auto", "-o", out, *files]
            self.running.append(subprocess.Popen(command))

    def drawio(self) -> None:
        """All diagrams in one browser."""
        files = self.sources("drawio")
        if files:
            command = [sys.executable, HERE / "drawio.py", "--tools", self.arguments.tools, "--out", self.out / "drawio"]
            self.running.append(subprocess.Popen([*command, *files]))

    def sources(self, ending: str) -> list[Path]:
        """Diagrams of all topics, or of the one."""
        topic = "*" if self.topic is None else f"topic_{self.topic:04d}_*"
        return sorted(self.arguments.course.glob(f"slides/*/{topic}/{ending}/*.{ending}"))

    def files(self) -> None:
        """Writes all other outputs, in a process of its own: bytes that are read from what clm made."""
        if self.scenario == "restore":
            self.running.append(subprocess.Popen(["cp", "-r", self.output, self.out / "all"]))
            return
        if pid := os.fork():
            self.running.append(_Forked(pid))
            return
        try:
            for file in self.others():
                content = file.read_bytes()
                target = self.out / file.relative_to(self.output)
                try:
                    target.write_bytes(content)
                except FileNotFoundError:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content)
            os._exit(0)
        finally:
            os._exit(1)

    def others(self):
        """The outputs that are only written: in a restore all, else all but pages."""
        endings = {"prose": (".ipynb", ".py"), "code": (".ipynb", ".py"), "plantuml": ("flow",), "drawio": ("plan",)}
        for directory, _, names in os.walk(self.output):
            for name in names:
                if self.topic is not None:
                    wanted = endings[self.scenario]
                    is_it = f"{self.topic:04d}" in name and (name.endswith(wanted) or name.startswith(wanted))
                    # Prose is edited in one language.
                    if not is_it or (self.scenario == "prose" and "/measured-en/" not in directory):
                        continue
                elif name.endswith(".html"):
                    continue
                yield Path(directory, name)

    def decks(self, zygote) -> None:
        """Executes every deck once and renders its pages, in as many processes as there are cores."""
        import course
        from pages import RENDERERS

        found = course.decks(self.output)
        wanted = [found[number] for number in sorted(found) if self.topic in (None, number)]
        if not wanted:
            return
        # Imported and warmed up once; the processes are forked after that.
        renderer = RENDERERS[self.arguments.renderer]()
        processes = min(self.arguments.processes, len(wanted))
        for process in range(processes):
            if pid := os.fork():
                self.running.append(_Forked(pid))
                continue
            try:
                self.some_decks(wanted[process::processes], zygote, renderer)
                os._exit(0)
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            finally:
                os._exit(1)
        for forked in self.running[-processes:]:
            if forked.wait() != 0:
                sys.exit("decks failed")

    def some_decks(self, decks: list, zygote, renderer) -> None:
        """The decks of one process. The kernel of the next one starts while this one runs."""
        if zygote:
            from kernels import execute
        kernel = zygote.ask() if zygote else None
        for number, deck in enumerate(decks):
            following = zygote.ask() if zygote and number + 1 < len(decks) else None
            languages = {"en"} if self.scenario == "prose" else None
            # A prose edit needs no execution: whoever remembers the outputs puts them in.
            outputs = execute(kernel, deck.code()) if zygote else None
            for notebook, path in deck.pages(outputs, languages):
                page = renderer.render(notebook).encode("utf-8", "replace")
                (self.out / path).parent.mkdir(parents=True, exist_ok=True)
                (self.out / path).write_bytes(page)
            kernel = following


class _Forked:
    """A forked process, as far as `Popen` is needed."""

    args = "a forked process"

    def __init__(self, pid: int):
        self.pid, self.returncode = pid, None

    def wait(self) -> int:
        """Its exit code."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def main() -> None:
    """Runs a scenario."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("scenario", choices=list(PARTS))
    options.add_argument("--course", type=Path, required=True)
    options.add_argument("--tools", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--topic", type=int, default=0)
    options.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options.add_argument("--renderer", choices=["fragments", "memoised"], default="fragments")
    options.add_argument("--parts", type=lambda text: tuple(text.split(",")), help="only these, to see what each takes")
    arguments = options.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    Limit(arguments).run()


if __name__ == "__main__":
    main()
