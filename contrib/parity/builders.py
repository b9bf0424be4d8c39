"""Building a course with CLM and with clm."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import stub
from rules import Side

DIAGRAMS = {".pu", ".puml", ".plantuml", ".drawio"}
NOT_COPIED = shutil.ignore_patterns("output", ".clm", "img-generated", ".git")
HERE = Path(__file__).resolve().parent


@dataclass
class Run:
    """A finished build: exit code, what it said, seconds."""

    code: int
    said: str
    seconds: float

    @property
    def succeeded(self) -> bool:
        """CLM ends with 0 although decks failed, so its own count of errors decides."""
        errors = re.search(r"^\s*(\d+) errors?$", self.said, re.MULTILINE)
        return self.code == 0 and (errors is None or errors.group(1) == "0")


@dataclass
class Builders:
    """Both programs, and where they find their renderers."""

    clm_program: Path
    our_program: Path
    tools: Path
    work: Path

    def __post_init__(self):
        self.drawio = stub.install(self.work / "drawio-stub")
        self.their_logos = _their_logos(self.clm_program)
        self.our_logos = _our_logos()

    def compared(self, course: Path, spec: str, name: str, edits=(), arguments=()) -> tuple[Path, Path, Run, Run]:
        """Builds copies of a course with both, after the same edits (path, old text, new text) and with the same
        arguments; gives the two course roots and the two runs."""
        theirs, ours = self.work / name / "theirs", self.work / name / "ours"
        key, record = self._key(course, edits, arguments), self.work / name / "clm-run.json"
        their_run = _recorded(record, key)
        for root in [ours] if their_run else [theirs, ours]:
            if root.exists():
                shutil.rmtree(root)
            shutil.copytree(course, root, ignore=NOT_COPIED, symlinks=True)
            for path, old, new in edits:
                text = (root / path).read_text("utf-8")
                (root / path).write_text(text.replace(old, new), "utf-8")
        if their_run is None:
            expand_includes(theirs)
            their_run = self._run_clm(theirs, spec, arguments)
            record.write_text(json.dumps({"key": key, **asdict(their_run)}))
        return theirs, ours, their_run, self._run_ours(ours, spec, arguments)

    def _key(self, course: Path, edits, arguments) -> str:
        """A digest of everything that CLM's outputs of a course depend on."""
        digest = hashlib.sha256(repr((edits, arguments, str(self.clm_program))).encode())
        for file in sorted(course.rglob("*")):
            digest.update(f"{file.relative_to(course)}\0".encode())
            if file.is_file():
                digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    def sides(self, theirs: Path, ours: Path) -> tuple[Side, Side]:
        """What the comparison knows of each of the two after a build."""
        return (
            Side("CLM", self.their_logos, rendered(theirs), stub.beginnings()),
            Side("clm", self.our_logos, rendered(ours)),
        )

    def _run_clm(self, root: Path, spec: str, arguments) -> Run:
        environment = self._environment()
        environment["PLANTUML_JAR"] = str(_one(self.tools, "plantuml-*/plantuml.jar"))
        environment["DRAWIO_EXECUTABLE"] = str(self.drawio)
        # Both execute decks with one interpreter: kernels are not what is compared.
        environment["CLM_NOTEBOOK_KERNEL_PYTHON"] = str(_one(self.tools, "python-*/bin/python"))
        state = root.parent
        for database in state.glob("clm_*.db*"):
            database.unlink()
        databases = ["--cache-db-path", str(state / "clm_cache.db"), "--jobs-db-path", str(state / "clm_jobs.db")]
        command = [str(self.clm_program), *databases, "build", str(root / spec), "-d", str(root)]
        command += ["--no-progress", "--no-color", *arguments]
        run = _run(command, state, environment)
        # On a busy machine CLM's workers may be late, and CLM then gives up.
        return _run(command, state, environment) if "No live " in run.said else run

    def _run_ours(self, root: Path, spec: str, arguments) -> Run:
        command = [str(self.our_program), "build", str(root / spec), "-d", str(root), "--offline"]
        return _run([*command, *arguments], root, self._environment())

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CLM_") and name != "CI"}
        return {**inherited, "NO_COLOR": "1", "CLM_TOOLS_DIR": str(self.tools)}


def _recorded(record: Path, key: str) -> Run | None:
    """An earlier run of CLM on the same course in the same place: its outputs are still there."""
    if not record.exists():
        return None
    run = json.loads(record.read_text())
    return Run(**run) if run.pop("key") == key else None


def rendered(root: Path) -> dict[bytes, str]:
    """The pictures of a course's diagrams, by their bytes: the name of the diagram that each of them shows."""
    sources = [source for source in root.glob("slides/**/*") if source.suffix in DIAGRAMS]
    pictures = {f"{source.stem}.{extension}" for source in sources for extension in ("png", "svg")}
    directories = {source.parent.parent / name for source in sources for name in ("img-generated", "img")}
    files = [directory / name for directory in directories for name in pictures]
    # clm never writes over a picture in `img/`: then only its outputs have the new one.
    files += [file for file in root.glob("output*/**/img/*") if file.name in pictures]
    return {file.read_bytes(): file.stem for file in sorted(files) if file.is_file()}


def expand_includes(root: Path) -> None:
    """CLM draws a copy of a diagram in an empty directory, so an `!include` of a file beside it fails there: its copy
    of the course gets the text itself."""
    for source in root.glob("slides/**/*"):
        if source.suffix not in (".pu", ".puml", ".plantuml"):
            continue

        def text_of(match: re.Match, source: Path = source) -> str:
            included = source.parent / match.group(1)
            return included.read_text("utf-8").rstrip("\n") if included.is_file() else match.group(0)

        text = source.read_text("utf-8")
        expanded = re.sub(r"^!include (\S+)$", text_of, text, flags=re.MULTILINE)
        if expanded != text:
            source.write_text(expanded, "utf-8")


def _run(command: list[str], directory: Path, environment: dict[str, str]) -> Run:
    started = time.monotonic()
    try:
        run = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, errors="replace", timeout=900
        )
    except subprocess.TimeoutExpired:
        return Run(-1, "stopped after 900 s", 900.0)
    return Run(run.returncode, run.stdout + run.stderr, time.monotonic() - started)


def _one(directory: Path, pattern: str) -> Path:
    found = sorted(directory.glob(pattern))
    if not found:
        raise SystemExit(f"nothing like {pattern} in {directory}; run `clm setup`")
    return found[0]


def _their_logos(program: Path) -> dict[bytes, str]:
    logos = {}
    for file in program.parent.parent.glob("lib/python*/site-packages/clm/workers/notebook/templates_*/*.base64"):
        language = file.parent.name.removeprefix("templates_")
        logos[base64.b64decode(file.read_bytes())] = language
    return logos


def _our_logos() -> dict[bytes, str]:
    templates = HERE.parent.parent / "src" / "course" / "deck" / "templates"
    return {file.read_bytes(): file.stem for file in templates.glob("*.svg")}
