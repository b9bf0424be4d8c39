"""What a whole measurement found, without its single runs: `results.json`, which `run.py report` makes everything of."""

from __future__ import annotations

import json
import re
from pathlib import Path

from measure import median

FILE = "results.json"
ORDER = ["clm", "limit", "stat", "ninja", "CLM"]
# Contenders whose spread, memory and CPU time are told.
DETAILED = ("clm", "CLM", "limit")
MACHINE = ("cores", "processor", "memory_gb", "system", "file_system", "load_at_start")
SHAPE = ("kinds", "formats", "languages")
CONTEST = ("queue", "processes", "waiting", "jobs_per_s", "claim_ms", "least", "most", "twice", "errors")
# The directory of a contender's program says nothing.
PROGRAM = re.compile(r"/\S*/bin/(\w+)(?=\s)")
# A value that fits into a line of this length is written in one.
WIDTH = 160


class Problem(Exception):
    """Why there can be no report: names the file."""


def collect(out: Path) -> dict:
    """The results of the JSON files of a measurement, a file a part."""
    files = [file for file in sorted(out.glob("*.json")) if file.name != FILE]
    if not files:
        raise Problem(f"{out}: there is no result of any part")
    return condense({file.stem: json.loads(file.read_text("utf-8")) for file in files})


def load(file: Path) -> dict:
    """The results that were stored."""
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Problem(f"{file}: {error}") from error


def text(value: object, indent: int = 0) -> str:
    """JSON with a line for every value that fits into one, so that a difference of two results can be read."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or len(line) + indent <= WIDTH:
        return line
    inner = indent + 1
    if isinstance(value, dict):
        parts = [f"{json.dumps(name, ensure_ascii=False)}: {text(one, inner)}" for name, one in value.items()]
    else:
        parts = [text(one, inner) for one in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    lines = ",\n".join(" " * inner + part for part in parts)
    return f"{opening}\n{lines}\n{' ' * indent}{closing}"


def condense(parts: dict[str, dict]) -> dict:
    """Medians and spreads of all parts."""
    first = min(parts.values(), key=lambda part: part["date"])
    last = max(parts.values(), key=lambda part: part["date"])
    builds = [part["data"] for part in parts.values() if part["part"].startswith("build-")]
    versions = {name: version for build in builds for name, version in build["versions"].items()}
    return {
        "first": first["date"],
        "last": last["date"],
        "machine": {name: first["machine"][name] for name in MACHINE},
        "versions": {name: versions[name] for name in ORDER if name in versions},
        "builds": [_size(topics, builds) for topics in sorted({build["topics"] for build in builds})],
        "sections": {name: section(parts[name]["data"]) for name, section in SECTIONS.items() if name in parts},
        "commands": _commands(builds),
    }


def _size(topics: int, builds: list[dict]) -> dict:
    """All scenarios of the builds of one size."""
    found = [build for build in builds if build["topics"] == topics]
    return {
        "topics": topics,
        "outputs": max(build["outputs"] for build in found),
        **{name: list(found[0]["shape"][name]) for name in SHAPE},
        "scenarios": {build["scenario"]: _scenario(build["contenders"]) for build in found},
    }


def _scenario(contenders: dict) -> dict:
    ours = contenders.get("clm", {}).get("runs")
    return {name: _contender(name, contenders[name], ours) for name in ORDER if name in contenders}


def _contender(name: str, found: dict, ours: list[dict] | None) -> dict:
    """Ratios are those of the medians before these are rounded."""
    runs = found["runs"]
    entry: dict = {"failures": len(found["failures"])} if found["failures"] else {}
    if not runs:
        return entry
    walls = [run["wall"] for run in runs]
    entry["wall"] = _median(runs, "wall")
    if ours and name != "clm":
        entry["ratio"] = float(f"{median(walls) / median([run['wall'] for run in ours]):.4g}")
    if sum(run["quiet"] for run in runs) * 2 < len(runs):
        entry["quiet"] = False
    if name in DETAILED:
        entry |= {"n": len(runs), "least": min(walls), "most": max(walls)}
        entry |= {value: _median(runs, value) for value in ("cpu", "rss", "rss_tree", "foreign")}
    return entry


def _starting(data: dict) -> dict:
    names = ("run_started", "first_job_started", "output", "run_finished")
    versions = {name: found["runs"] for name, found in data["version"].items()}
    version = {name: {"wall": _median(runs, "wall"), "n": len(runs)} for name, runs in versions.items()}
    first_job = {name: _median(data["first_job"], name) for name in names}
    return {"topics": data["topics"], "version": version, "first_job": first_job, "n": len(data["first_job"])}


def _daemon(data: dict) -> dict:
    contenders = {}
    for name, found in data["contenders"].items():
        runs = found["runs"]
        medians = {value: _median(runs, value) for value in ("wall", "daemon_cpu")}
        contenders[name] = {"command": found["command"], **medians, "n": len(runs)}
    memory = {name: round(data["memory"][name], 2) for name in ("clm", "rest", "tree")}
    return {"topics": data["topics"], "contenders": contenders, "memory": memory}


def _watch(data: dict) -> dict:
    return {"topics": data["topics"], "contenders": {name: _watcher(found) for name, found in data["contenders"].items()}}


def _watcher(found: dict) -> dict:
    if "problem" in found:
        return {"problem": found["problem"]}
    idle = {"idle": found["idle"]} if "idle" in found else {}
    return {"edits": {kind: _edits(edits) for kind, edits in found["edits"].items()}, **idle}


def _edits(edits: dict) -> dict:
    if not edits.get("last"):
        return {"problem": edits.get("problem", "nothing was measured")}
    entry = {name: round(median(edits[name]), 5) for name in ("first", "last") if edits.get(name)}
    entry["p95"] = _p95(edits["last"])
    if edits.get("served"):
        entry["served"] = round(median(edits["served"]), 5)
    if "outputs" in edits:
        entry["outputs"] = edits["outputs"]
    return {**entry, "n": len(edits["last"])}


def _racy(data: dict) -> dict:
    return {name: {value: found[value] for value in ("tries", "missed", "missed_for_good")} for name, found in data.items()}


def _queue(data: dict) -> dict:
    contests = data["contests"]
    alone = [one for one in contests if one["threads"] == 1 and one["processes"] > 1]
    threads = {str(one["threads"]): round(one["jobs_per_s"], 1) for one in contests if one["processes"] == 1}
    return {"contests": [_contest(one) for one in alone], "threads": threads}


def _contest(one: dict) -> dict:
    claim = {name: round(one["claim_ms"][name], 3) for name in ("p50", "p99", "max")}
    return {**{name: one[name] for name in CONTEST}, "jobs_per_s": round(one["jobs_per_s"], 1), "claim_ms": claim}


def _micro(data: dict) -> dict:
    return {"medians": data["medians"]}


SECTIONS = {
    "starting": _starting,
    "daemon": _daemon,
    "daemon-largest": _daemon,
    "watch": _watch,
    "racy": _racy,
    "queue": _queue,
    "micro": _micro,
}


def _commands(builds: list[dict]) -> dict[str, str]:
    found: dict[str, str] = {}
    for build in builds:
        for name, contender in build["contenders"].items():
            found.setdefault(f"{name}, {build['scenario']}", PROGRAM.sub(r"\1", contender["command"]))
    return found


def _median(runs: list[dict], name: str) -> float:
    return round(median([run[name] for run in runs]), 5)


def _p95(times: list[float]) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, -(-len(ordered) * 95 // 100) - 1)]
