"""RESULTS.md and the growth plots, made of the JSON files of a measurement."""

from __future__ import annotations

import json
import re
from pathlib import Path

import plot
from measure import median

ORDER = ["clm", "limit", "stat", "ninja", "CLM"]
SCENARIOS = {
    "cold": "cold build",
    "noop": "nothing to do",
    "prose": "one prose edit",
    "code": "one code edit",
    "plantuml": "one PlantUML edit",
    "drawio": "one draw.io edit",
    "data": "one data file edit",
    "restore": "outputs removed, cache filled",
}
# The directory of a contender's program says nothing.
PROGRAM = re.compile(r"/\S*/bin/(\w+)(?=\s)")
# What the queue has to reach.
LEAST_RATE, MOST_UNFAIR, LONGEST_CLAIM_MS = 0.8, 3.0, 100.0


def write(out: Path, results: Path | None) -> None:
    """Writes RESULTS.md and the plots."""
    results = results or out
    results.mkdir(parents=True, exist_ok=True)
    parts = {file.stem: json.loads(file.read_text()) for file in sorted(out.glob("*.json"))}
    if not parts:
        return
    builds = [part["data"] for part in parts.values() if part["part"].startswith("build-")]
    text = ["# Results", "", *_head(parts, builds)]
    text += [*_builds(builds), *_plots(builds, results)]
    for name, section in SECTIONS.items():
        if name in parts:
            text += section(parts[name]["data"])
    text += _commands(parts)
    (results / "RESULTS.md").write_text("\n".join(text).rstrip() + "\n", "utf-8")


def _head(parts: dict, builds: list[dict]) -> list[str]:
    first = min(parts.values(), key=lambda part: part["date"])
    last = max(parts.values(), key=lambda part: part["date"])
    machine = first["machine"]
    lines = [
        "Made by `contrib/bench/run.py report`; README.md says what is measured and how. Medians; seconds of wall time unless",
        "said otherwise. `~`: others used more than 15 % of the machine in most of the runs. Compare within one row only.",
        "",
        f"- {first['date']} to {last['date']} (UTC)",
        f"- {machine['cores']} cores, {machine['processor']}, {machine['memory_gb']} GB, {machine['system']},"
        f" {machine['file_system']}; load at the start {machine['load_at_start']}",
    ]
    versions = {name: version for build in builds for name, version in build["versions"].items()}
    return [*lines, *(f"- {name}: {versions[name]}" for name in ORDER if name in versions), ""]


def _builds(builds: list[dict]) -> list[str]:
    lines = []
    for topics in sorted({build["topics"] for build in builds}):
        found = {build["scenario"]: build for build in builds if build["topics"] == topics}
        names = [name for name in ORDER if any(name in build["contenders"] for build in found.values())]
        some = next(iter(found.values()))
        shape = some["shape"]
        outputs = max(build["outputs"] for build in found.values())
        makes = f"{', '.join(shape['kinds'])}; {', '.join(shape['formats'])}; {', '.join(shape['languages'])}"
        lines += [f"## Builds: {topics} topics, {outputs:,} outputs", "", f"Makes {makes}.", ""]
        lines += [_row(["", *names]), _row(["---", *["---:"] * len(names)])]
        for scenario, title in SCENARIOS.items():
            if scenario in found:
                contenders = found[scenario]["contenders"]
                ours = contenders.get("clm", {}).get("runs")
                lines.append(_row([title, *(_cell(contenders.get(name), ours, name) for name in names)]))
        lines += ["", _row(["", "n", "s (least - most)", "CPU s", "RSS MB: clm", "all", "others' CPU s"])]
        lines.append(_row(["---", *["---:"] * 6]))
        for scenario, title in SCENARIOS.items():
            for name in names:
                runs = found.get(scenario, {}).get("contenders", {}).get(name, {}).get("runs")
                if runs and name in ("clm", "CLM", "limit"):
                    lines.append(_detail(f"{title}, {name}", runs))
        lines.append("")
    return lines


def _cell(found: dict | None, ours: list[dict] | None, name: str) -> str:
    if not found:
        return ""
    runs = found["runs"]
    if not runs:
        return "failed"
    value = _median(runs, "wall")
    mark = "" if sum(run["quiet"] for run in runs) * 2 >= len(runs) else "~"
    ratio = f" ({value / _median(ours, 'wall'):.2g}x)" if ours and name != "clm" else ""
    failures = f", {len(found['failures'])} failed" if found["failures"] else ""
    return f"{mark}{_time(value)}{ratio}{failures}"


def _detail(title: str, runs: list[dict]) -> str:
    walls = [run["wall"] for run in runs]
    spread = f"{_time(median(walls))} ({_time(min(walls))} - {_time(max(walls))})"
    more = [f"{_median(runs, name):.{digits}f}" for name, digits in [("cpu", 2), ("rss", 0), ("rss_tree", 0), ("foreign", 2)]]
    return _row([title, str(len(runs)), spread, *more])


def _plots(builds: list[dict], results: Path) -> list[str]:
    lines = []
    for scenario, title in SCENARIOS.items():
        series: dict[str, list[tuple[float, float]]] = {}
        for build in sorted(builds, key=lambda build: build["topics"]):
            for name, found in build["contenders"].items():
                if build["scenario"] == scenario and found["runs"]:
                    series.setdefault(name, []).append((build["topics"], _median(found["runs"], "wall")))
        if any(len(points) > 1 for points in series.values()):
            ordered = {name: series[name] for name in ORDER if name in series}
            (results / f"growth-{scenario}.svg").write_text(plot.growth(title, ordered), "utf-8")
            lines += [f'<img src="growth-{scenario}.svg" width="420" alt="{title}: time against topics">']
    return ["## Growth", "", *lines, ""] if lines else []


def _starting(data: dict) -> list[str]:
    lines = ["## Start", "", _row(["", "ms", "n"]), _row(["---", "---:", "---:"])]
    for name, found in data["version"].items():
        lines.append(_row([f"`{name} --version`", f"{1000 * _median(found['runs'], 'wall'):.1f}", str(len(found["runs"]))]))
    names = {"run_started": "plan made", "first_job_started": "first job started", "output": "first output", "run_finished": "end"}
    for name, title in names.items():
        times = [run[name] for run in data["first_job"]]
        title = f"cold build of {data['topics']} topics: {title}"
        lines.append(_row([title, f"{1000 * median(times):.1f}", str(len(times))]))
    return [*lines, ""]


def _daemon(data: dict) -> list[str]:
    lines = [f"## Nothing to do, {data['topics']} topics, with a daemon and without", ""]
    lines += [_row(["", "ms", "CPU ms of the daemon", "n"]), _row(["---", "---:", "---:", "---:"])]
    for name, found in data["contenders"].items():
        runs = found["runs"]
        cells = [f"{1000 * _median(runs, 'wall'):.1f}", f"{1000 * _median(runs, 'daemon_cpu'):.0f}", str(len(runs))]
        lines.append(_row([f"{name}: `{found['command']}`", *cells]))
    memory = data["memory"]
    text = f"The daemon has {memory['clm']:.0f} MB at its most and {memory['rest']:.1f} MB at rest, then with its workers {memory['tree']:.0f} MB."
    return [*lines, "", text, ""]


def _watch(data: dict) -> list[str]:
    lines = [f"## From a save to its outputs, {data['topics']} topics (ms)", ""]
    lines += ["`limit`: every tool is warm and has the edited text already; see README.md.", ""]
    lines += [_row(["", "who", "first p50", "last p50", "last p95", "served p50", "outputs", "n"])]
    lines.append(_row(["---", "---", *["---:"] * 6]))
    notes = []
    for name, found in data["contenders"].items():
        if "problem" in found:
            notes.append(f"{name}: {found['problem']}.")
            continue
        for kind, edits in found["edits"].items():
            if "last" not in edits or not edits["last"]:
                notes.append(f"{name}, {kind}: {edits.get('problem', 'nothing was measured')}.")
                continue
            first, served = edits.get("first"), edits.get("served")
            cells = [_ms(median(first)) if first else "", _ms(median(edits["last"])), _ms(_p95(edits["last"]))]
            cells += [_ms(median(served)) if served else "", str(edits.get("outputs", "")), str(len(edits["last"]))]
            lines.append(_row([SCENARIOS[kind], name, *cells]))
        if idle := found.get("idle"):
            notes.append(
                f"{name} while nothing happens: {idle['cpu_percent']} % of a core, {idle['rss']:.0f} MB,"
                f" with its workers {idle['rss_tree']:.0f} MB in {idle['processes']} processes."
            )
    return [*lines, "", *[f"- {note}" for note in notes], ""]


def _racy(data: dict) -> list[str]:
    lines = ["## Edits right after a build", "", "Same size, in place, 0 to 20 ms after the build ended.", ""]
    lines += [_row(["", "tries", "missed", "for good"]), _row(["---", "---:", "---:", "---:"])]
    for name, found in data.items():
        lines.append(_row([name, str(found["tries"]), str(found["missed"]), str(found["missed_for_good"])]))
    return [*lines, ""]


def _queue(data: dict) -> list[str]:
    lines = ["## Queue", ""]
    names = ["", "processes", "jobs/s", "of bare", "claim ms p50", "p99", "max", "least - most jobs", "twice", "errors", "misses"]
    contests = data["contests"]
    for waiting in sorted({one["waiting"] for one in contests}):
        lines += [f"{waiting} jobs waiting:", "", _row(names), _row(["---", *["---:"] * 9, "---"])]
        for one in contests:
            if one["waiting"] == waiting and one["threads"] == 1 and one["processes"] > 1:
                lines.append(_contest(one, contests))
        lines.append("")
    groups = [one for one in contests if one["processes"] == 1]
    if groups:
        said = ", ".join(f"{one['threads']}: {one['jobs_per_s']:.0f} jobs/s" for one in groups)
        lines += [f"Threads of one process, whose writes are committed together: {said}.", ""]
    return lines


def _contest(one: dict, contests: list[dict]) -> str:
    same = [other for other in contests if all(other[name] == one[name] for name in ("processes", "waiting", "threads"))]
    bare = median([other["jobs_per_s"] for other in same if other["queue"] == "bare"])
    rate, claim = one["jobs_per_s"] / bare, one["claim_ms"]
    misses = []
    if one["queue"] == "store":
        misses += ["rate"] if rate < LEAST_RATE else []
        misses += ["fairness"] if one["most"] > MOST_UNFAIR * one["least"] else []
        misses += ["waiting"] if claim["max"] > LONGEST_CLAIM_MS else []
        misses += ["errors"] if one["errors"] or one["twice"] else []
    cells = [one["queue"], str(one["processes"]), f"{one['jobs_per_s']:.0f}", f"{100 * rate:.0f} %"]
    cells += [f"{claim['p50']:.2f}", f"{claim['p99']:.1f}", f"{claim['max']:.0f}", f"{one['least']} - {one['most']}"]
    return _row([*cells, str(one["twice"]), str(one["errors"]), ", ".join(misses)])


def _micro(data: dict) -> list[str]:
    lines = ["## Small pieces", "", _row(["", "median"]), _row(["---", "---:"])]
    return [*lines, *(_row([name, value]) for name, value in data["medians"].items()), ""]


SECTIONS = {"starting": _starting, "daemon": _daemon, "daemon-largest": _daemon, "watch": _watch, "racy": _racy, "queue": _queue, "micro": _micro}


def _commands(parts: dict) -> list[str]:
    found: dict[str, str] = {}
    for part in parts.values():
        if part["part"].startswith("build-"):
            for name, contender in part["data"]["contenders"].items():
                command = PROGRAM.sub(r"\1", contender["command"])
                found.setdefault(f"{name}, {part['data']['scenario']}", command)
    if not found:
        return []
    shown = [f"- {name}: `{command}`" for name, command in found.items()]
    return ["## Commands", "", "SITE is a contender's directory, TOOLS what `clm setup` installed.", "", *shown, ""]


def _median(runs: list[dict], name: str) -> float:
    return median([run[name] for run in runs])


def _p95(times: list[float]) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, -(-len(ordered) * 95 // 100) - 1)]


def _time(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds >= 10 else f"{seconds:.2f}" if seconds >= 1 else f"{seconds:.3f}"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f}"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
