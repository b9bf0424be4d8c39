"""Who is measured: each contender has a copy of the course, and a command for every scenario that it takes part in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import gen
import measure

HERE = Path(__file__).resolve().parent
LIMIT = HERE / "limit"
sys.path.append(str(HERE.parent / "parity"))
EDITED = ("prose", "code", "plantuml", "drawio", "data")
BUILDS = ("cold", "noop", *EDITED, "restore")


@dataclass
class Setting:
    """What the contenders need to know of this machine."""

    clm: Path
    tools: Path
    work: Path
    python_clm: Path | None = None
    python_clm_workers: int | None = None
    python_path: str | None = None
    ninja: Path | None = None
    arguments: list[str] = field(default_factory=list)

    def tool(self, pattern: str) -> Path:
        """A renderer that `clm setup` installed."""
        found = sorted(self.tools.glob(pattern))
        if not found:
            sys.exit(f"nothing like {pattern} in {self.tools}; run `clm setup`")
        return found[0]

    @property
    def kernel_python(self) -> Path:
        """The interpreter of kernels, the same for all contenders."""
        return self.tool("python-*/bin/python")

    @property
    def plantuml_jar(self) -> Path:
        """PlantUML, the same for all contenders."""
        return self.tool("plantuml-*/plantuml.jar")


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without settings of clm and of CI, which would change what is measured."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CLM_") and name != "CI"}
    return {**inherited, "NO_COLOR": "1", **more}


class Contender:
    """One that builds. A subclass gives `scenarios`, `version` and the commands."""

    name = ""
    scenarios: tuple[str, ...] = BUILDS
    # Most rounds of a scenario, where one round takes minutes; by scenario.
    rounds: dict[str, int] = {}
    # The largest course that it builds unless told otherwise, in topics.
    largest = 1_000_000
    # Whether its sources are a copy of its own, which is edited.
    owns_sources = True

    def __init__(self, setting: Setting, shape: gen.Shape):
        self.setting, self.shape = setting, shape
        self.site = setting.work / f"{shape.topics}-topics" / self.name.replace(" ", "-")
        self.root = self.site / "course"
        # The number of the last edit: no two are the same.
        self.edits = 0

    def prepare(self) -> None:
        """Writes the sources, unless they are there."""
        if not (self.root / "course.xml").exists():
            shutil.rmtree(self.site, ignore_errors=True)
            gen.write(self.root, self.shape)

    def version(self) -> str:
        """What it says it is."""
        raise NotImplementedError

    def command(self, scenario: str) -> list:
        """What is measured."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """The environment of the command."""
        return clean_environment(CLM_TOOLS_DIR=str(self.setting.tools))

    def before(self, scenario: str) -> None:
        """Brings the copy into the state in which the scenario begins."""

    def run(self, scenario: str) -> measure.Run:
        """Runs the command once."""
        return measure.run(self.command(scenario), self.site, self.environment())

    def failed(self, run: measure.Run) -> str | None:
        """Why a run must not count."""
        return None if run.code == 0 else f"exit code {run.code}: {run.said[-500:]}"

    def next_edit(self) -> int:
        """The number of the next edit; a later run of this program goes on counting."""
        counter = self.site / "edits"
        self.edits = 1 + (int(counter.read_text()) if counter.exists() else 0)
        counter.write_text(str(self.edits))
        return self.edits

    def is_built(self) -> bool:
        """Whether all outputs are there and known to it."""
        return (self.site / "built").exists()

    def mark_built(self, is_built: bool) -> None:
        """Remembers whether all outputs are there; also for a later run of this program."""
        mark = self.site / "built"
        mark.touch() if is_built else mark.unlink(missing_ok=True)


class Builder(Contender):
    """One that has outputs and records of its own."""

    def before(self, scenario: str) -> None:
        if scenario in ("cold", "restore"):
            shutil.rmtree(self.root / "output", ignore_errors=True)
            for directory in self.root.glob("slides/*/*/img-generated"):
                shutil.rmtree(directory)
        if scenario == "cold":
            self.forget()

    def forget(self) -> None:
        """Removes its records and caches."""
        raise NotImplementedError


class Clm(Builder):
    """This project."""

    name = "clm"

    def version(self) -> str:
        return _says([self.setting.clm, "--version"])

    def command(self, scenario: str) -> list:
        command = [self.setting.clm, "build", self.root / "course.xml", "--offline", "--no-daemon"]
        return [*command, *self.setting.arguments]

    def forget(self) -> None:
        shutil.rmtree(self.root / ".clm", ignore_errors=True)


class PythonClm(Builder):
    """CLM, the Python tool. It gets our PlantUML and kernel interpreter, and a stub for draw.io desktop: what it
    spends on draw.io is its own overhead."""

    name = "CLM"
    rounds = {"cold": 1, "restore": 2, "prose": 2, "code": 2, "plantuml": 2, "drawio": 2, "data": 2, "noop": 3}
    largest = 50

    def version(self) -> str:
        said = _says([self.setting.python_clm, "--version"]).replace("clm, version", "CLM")
        python = _says([self.setting.python_clm.parent / "python", "--version"])
        return f"{said} ({python}, {self.workers()} worker(s) of a kind)"

    def workers(self) -> int:
        """How many workers of a kind it starts at most: half of the cores that its Python sees."""
        program = "import os; print(max(1, (os.cpu_count() or 2) // 2))"
        return int(_says([self.setting.python_clm.parent / "python", "-c", program], self.environment()))

    def prepare(self) -> None:
        super().prepare()
        # A stub is named after its input, so that an edited drawing gives another picture.
        import stub

        stub.install(self.site / "drawio-stub")

    def environment(self) -> dict[str, str]:
        more = {
            "PLANTUML_JAR": str(self.setting.plantuml_jar),
            "DRAWIO_EXECUTABLE": str(self.site / "drawio-stub" / "drawio"),
            "CLM_NOTEBOOK_KERNEL_PYTHON": str(self.setting.kernel_python),
        }
        if self.setting.python_path:
            more["PYTHONPATH"] = self.setting.python_path
        if self.setting.python_clm_workers:
            # Python 3.13 and newer: how many cores a program is told, the documented way to more workers.
            more["PYTHON_CPU_COUNT"] = str(2 * self.setting.python_clm_workers)
        return clean_environment(**more)

    def command(self, scenario: str) -> list:
        databases = ["--cache-db-path", self.site / "cache.db", "--jobs-db-path", self.site / "jobs.db"]
        build = [self.setting.python_clm, *databases, "build", self.root / "course.xml", "-d", self.root]
        workers = self.setting.python_clm_workers
        more = [part for kind in ("notebook", "plantuml", "drawio") for part in (f"--{kind}-workers", workers)]
        return [*build, "--no-progress", "--no-color", *(more if workers else [])]

    def forget(self) -> None:
        for file in self.site.glob("*.db*"):
            file.unlink()

    def failed(self, run: measure.Run) -> str | None:
        errors = re.search(r"^\s*(\d+) errors?$", run.said, re.MULTILINE)
        if run.code == 0 and errors and errors.group(1) != "0":
            return f"{errors.group()}: {run.said[-500:]}"
        return super().failed(run)


class Ninja(Contender):
    """The engine alone: as many inputs and outputs as the course has, and a command that only writes an empty file."""

    name = "ninja"
    scenarios = ("noop", "data")

    def version(self) -> str:
        return f"ninja {_says([self.setting.ninja, '--version'])}"

    def prepare(self) -> None:
        super().prepare()
        if (self.site / "build.ninja").exists():
            return
        lines = ["rule make", "  command = touch $out", ""]
        for number in range(self.shape.topics):
            place = gen.topic(self.root, self.shape, number)
            for source, outputs in outputs_of(place, self.shape):
                name = source.relative_to(self.site)
                made = " ".join(f"out/{name}.{output}" for output in range(outputs))
                lines.append(f"build {made}: make {name}")
        (self.site / "build.ninja").write_text("\n".join([*lines, ""]))

    def command(self, scenario: str) -> list:
        return [self.setting.ninja, "-C", self.site, "--quiet"]


def outputs_of(place: gen.Topic, shape: gen.Shape) -> list[tuple[Path, int]]:
    """The sources of a topic, and how many outputs of the course are made of each."""
    decks = len(shape.languages) * len(shape.kinds) * len(shape.formats)
    copies = [(source, decks) for source in place.plantuml + place.drawio + place.data]
    return [(deck, decks) for deck in place.decks] + copies


class Stat(Contender):
    """Asking the system for size and time of as many files as there are sources and outputs: what no build that
    trusts nothing can do without."""

    name = "stat"
    owns_sources = False
    scenarios = ("noop",)

    def version(self) -> str:
        return _says(["find", "--version"]).splitlines()[0]

    def prepare(self) -> None:
        """It looks at the files of `Clm`."""
        self.root = self.site.with_name(Clm.name) / "course"
        self.site.mkdir(parents=True, exist_ok=True)

    def command(self, scenario: str) -> list:
        return ["find", self.root / "slides", self.root / "output", "-type", "f", "-size", "-1c", "-newermt", "2200-01-01"]

    def is_built(self) -> bool:
        return True


class Limit(Contender):
    """What cannot be avoided, done by small scripts with the same tools and nothing else (see `limit/`)."""

    name = "limit"
    owns_sources = False
    scenarios = ("cold", "prose", "code", "plantuml", "drawio", "restore")

    def version(self) -> str:
        return "scripts in limit/"

    def prepare(self) -> None:
        """It makes the outputs that `Clm` made, from the same sources, into a directory of its own."""
        self.root = self.site.with_name(Clm.name) / "course"
        self.site.mkdir(parents=True, exist_ok=True)

    def before(self, scenario: str) -> None:
        shutil.rmtree(self.site / "out", ignore_errors=True)

    def command(self, scenario: str) -> list:
        number = self.edits * 7 % self.shape.topics
        command = [self.setting.kernel_python, LIMIT / "limit.py", scenario, "--course", self.root, "--tools", self.setting.tools]
        return [*command, "--out", self.site / "out", "--topic", number]

    def is_built(self) -> bool:
        return True


def _says(command: list, environment: dict[str, str] | None = None) -> str:
    words = [str(part) for part in command]
    said = subprocess.run(words, capture_output=True, text=True, env=environment or clean_environment())
    return (said.stdout + said.stderr).strip()


def all_of(setting: Setting, shape: gen.Shape, names: list[str] | None = None) -> list[Contender]:
    """The contenders that can take part here."""
    classes: list[type[Contender]] = [Clm]
    if setting.python_clm:
        classes.append(PythonClm)
    if setting.ninja:
        classes.append(Ninja)
    classes += [Stat, Limit]
    return [one(setting, shape) for one in classes if not names or one.name in names]
