"""The texts of a report: RESULTS.md, the growth plots, and the blocks of figures in other documents.

A row of a table is made by one function, whatever the table is for: the documents cannot tell a figure in two ways.
"""

from __future__ import annotations

import textwrap

import plot
from results import ORDER, Problem

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
NOISE = "`~`: others used more than 15 % of the machine in most of the runs."
WATCH_NAMES = ["", "who", "first p50", "last p50", "last p95", "served p50", "outputs", "n"]
# The course whose builds other documents show, and the contenders beside which they show them.
SHOWN_TOPICS = 50
SHOWN = ("clm", "limit", "CLM")
LINE = 125
# What the queue has to reach.
LEAST_RATE, MOST_UNFAIR, LONGEST_CLAIM_MS = 0.8, 3.0, 100.0


def document(found: dict) -> str:
    """RESULTS.md."""
    lines = ["# Results", "", *_preface(), *_head(found, ORDER), ""]
    for size in found["builds"]:
        lines += _builds(size)
    names = plots(found["builds"])
    if names:
        shown = [f'<img src="{name}" width="420" alt="{title}: time against topics">' for name, (title, _) in names.items()]
        lines += ["## Growth", "", *shown, ""]
    for name, section in SECTIONS.items():
        if name in found["sections"]:
            lines += section(found["sections"][name])
    lines += _commands(found["commands"])
    return "\n".join(lines).rstrip() + "\n"


def plots(builds: list[dict]) -> dict[str, tuple[str, str]]:
    """The growth plots: file names with titles and pictures."""
    files = {}
    for scenario, title in SCENARIOS.items():
        series: dict[str, list[tuple[float, float]]] = {}
        for size in builds:
            for name, one in size["scenarios"].get(scenario, {}).items():
                if "wall" in one:
                    series.setdefault(name, []).append((size["topics"], one["wall"]))
        if any(len(points) > 1 for points in series.values()):
            ordered = {name: series[name] for name in ORDER if name in series}
            files[f"growth-{scenario}.svg"] = (title, plot.growth(title, ordered))
    return files


def brief(found: dict) -> str:
    """The figures of clm alone, as sentences."""
    size, watch = _shown_size(found), _shown_watch(found)
    saves = [f"{row[0]} {row[3]}" for row in watch_rows(watch) if row[1] == "clm"]
    builds = [f"{title} {value}" for title, value in build_rows(size, ["clm"])]
    cores = found["machine"]["cores"]
    lines = [
        f"Medians for generated courses, on {cores} cores ({found['last'][:10]}):",
        f"- from a save to its last output, {watch['topics']} topics, in ms: {'; '.join(saves)}",
        f"- `clm build`, {size['topics']} topics ({size['outputs']:,} outputs), in s: {'; '.join(builds)}",
    ]
    return "\n".join(_wrapped(line) for line in lines)


def tables(found: dict) -> str:
    """The figures of clm beside others, as tables of RESULTS.md."""
    size, watch = _shown_size(found), _shown_watch(found)
    names = [name for name in _names(size) if name in SHOWN]
    lines = ["Medians for generated courses:", "", *_head(found, names), ""]
    title = f"Builds, {size['topics']} topics ({size['outputs']:,} outputs), in seconds; in brackets, as a multiple of clm's."
    lines += [_wrapped(f"{title} {NOISE}"), ""]
    lines += [*_build_table(size, names), ""]
    lines += [f"From a save to its outputs, {watch['topics']} topics, in milliseconds:", "", *_watch_table(watch)]
    return "\n".join(lines)


def _shown_size(found: dict) -> dict:
    size = next((size for size in found["builds"] if size["topics"] == SHOWN_TOPICS), None)
    if not size or not all(build_rows(size, ["clm"])):
        raise Problem(f"the results have no builds of {SHOWN_TOPICS} topics, which other documents show")
    return size


def _shown_watch(found: dict) -> dict:
    watch = found["sections"].get("watch")
    if not watch or "edits" not in watch["contenders"].get("clm", {}):
        raise Problem("the results have no part `watch`, which other documents show")
    return watch


def _preface() -> list[str]:
    return [
        "Made by `contrib/bench/run.py report`; README.md says what is measured and how. Medians; seconds of wall time unless",
        f"said otherwise. {NOISE} Compare within one row only.",
        "",
    ]


def _head(found: dict, names: list[str]) -> list[str]:
    machine = found["machine"]
    lines = [
        f"- {found['first']} to {found['last']} (UTC)",
        f"- {machine['cores']} cores, {machine['processor']}, {machine['memory_gb']} GB, {machine['system']},"
        f" {machine['file_system']}; load at the start {machine['load_at_start']}",
    ]
    versions = found["versions"]
    return [*lines, *(f"- {name}: {versions[name]}" for name in names if name in versions)]


def _names(size: dict) -> list[str]:
    """Who took part in the builds of a size."""
    return [name for name in ORDER if any(name in contenders for contenders in size["scenarios"].values())]


def _builds(size: dict) -> list[str]:
    names = _names(size)
    makes = f"{', '.join(size['kinds'])}; {', '.join(size['formats'])}; {', '.join(size['languages'])}"
    lines = [f"## Builds: {size['topics']} topics, {size['outputs']:,} outputs", "", f"Makes {makes}.", ""]
    lines += [*_build_table(size, names), ""]
    lines += [_row(["", "n", "s (least - most)", "CPU s", "RSS MB: clm", "all", "others' CPU s"])]
    lines.append(_row(["---", *["---:"] * 6]))
    for scenario, title in SCENARIOS.items():
        for name in names:
            one = size["scenarios"].get(scenario, {}).get(name, {})
            if "n" in one:
                lines.append(_detail(f"{title}, {name}", one))
    return [*lines, ""]


def _build_table(size: dict, names: list[str]) -> list[str]:
    rows = [_row(cells) for cells in build_rows(size, names)]
    return [_row(["", *names]), _row(["---", *["---:"] * len(names)]), *rows]


def build_rows(size: dict, names: list[str]) -> list[list[str]]:
    """For every scenario its title and the medians of contenders."""
    found = size["scenarios"]
    return [[title, *(_cell(found[name].get(who)) for who in names)] for name, title in SCENARIOS.items() if name in found]


def _cell(one: dict | None) -> str:
    if one is None:
        return ""
    if "wall" not in one:
        return "failed"
    mark = "" if one.get("quiet", True) else "~"
    ratio = f" ({_ratio(one['ratio'])}x)" if "ratio" in one else ""
    failures = f", {one['failures']} failed" if "failures" in one else ""
    return f"{mark}{_time(one['wall'])}{ratio}{failures}"


def _detail(title: str, one: dict) -> str:
    spread = f"{_time(one['wall'])} ({_time(one['least'])} - {_time(one['most'])})"
    more = [f"{one[name]:.{digits}f}" for name, digits in [("cpu", 2), ("rss", 0), ("rss_tree", 0), ("foreign", 2)]]
    return _row([title, str(one["n"]), spread, *more])


def _starting(data: dict) -> list[str]:
    lines = ["## Start", "", _row(["", "ms", "n"]), _row(["---", "---:", "---:"])]
    for name, found in data["version"].items():
        lines.append(_row([f"`{name} --version`", f"{1000 * found['wall']:.1f}", str(found["n"])]))
    names = {"run_started": "plan made", "first_job_started": "first job started", "output": "first output", "run_finished": "end"}
    for name, title in names.items():
        title = f"cold build of {data['topics']} topics: {title}"
        lines.append(_row([title, f"{1000 * data['first_job'][name]:.1f}", str(data["n"])]))
    return [*lines, ""]


def _daemon(data: dict) -> list[str]:
    lines = [f"## Nothing to do, {data['topics']} topics, with a daemon and without", ""]
    lines += [_row(["", "ms", "CPU ms of the daemon", "n"]), _row(["---", "---:", "---:", "---:"])]
    for name, found in data["contenders"].items():
        cells = [f"{1000 * found['wall']:.1f}", f"{1000 * found['daemon_cpu']:.0f}", str(found["n"])]
        lines.append(_row([f"{name}: `{found['command']}`", *cells]))
    memory = data["memory"]
    said = f"The daemon has {memory['clm']:.0f} MB at its most and {memory['rest']:.1f} MB at rest, then with its workers {memory['tree']:.0f} MB."
    return [*lines, "", said, ""]


def _watch(data: dict) -> list[str]:
    lines = [f"## From a save to its outputs, {data['topics']} topics (ms)", ""]
    lines += ["`limit`: every tool is warm and has the edited text already; see README.md.", ""]
    lines += [*_watch_table(data), ""]
    for name, found in data["contenders"].items():
        if "problem" in found:
            lines.append(f"- {name}: {found['problem']}.")
            continue
        problems = {kind: edits["problem"] for kind, edits in found["edits"].items() if "problem" in edits}
        lines += [f"- {name}, {kind}: {problem}." for kind, problem in problems.items()]
        if idle := found.get("idle"):
            lines.append(
                f"- {name} while nothing happens: {idle['cpu_percent']} % of a core, {idle['rss']:.0f} MB,"
                f" with its workers {idle['rss_tree']:.0f} MB in {idle['processes']} processes."
            )
    return [*lines, ""]


def _watch_table(data: dict) -> list[str]:
    return [_row(WATCH_NAMES), _row(["---", "---", *["---:"] * 6]), *map(_row, watch_rows(data))]


def watch_rows(data: dict) -> list[list[str]]:
    """For every contender and kind of edit the cells that `WATCH_NAMES` names."""
    rows = []
    for name, found in data["contenders"].items():
        for kind, edits in found.get("edits", {}).items():
            if "problem" not in edits:
                times = [_ms(edits.get(value)) for value in ("first", "last", "p95", "served")]
                rows.append([SCENARIOS[kind], name, *times, str(edits.get("outputs", "")), str(edits["n"])])
    return rows


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
        lines += [_contest(one, contests) for one in contests if one["waiting"] == waiting]
        lines.append("")
    if data["threads"]:
        said = ", ".join(f"{threads}: {rate:.0f} jobs/s" for threads, rate in data["threads"].items())
        lines += [f"Threads of one process, whose writes are committed together: {said}.", ""]
    return lines


def _contest(one: dict, contests: list[dict]) -> str:
    same = [other for other in contests if all(other[name] == one[name] for name in ("processes", "waiting"))]
    bare = next(other["jobs_per_s"] for other in same if other["queue"] == "bare")
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


def _commands(commands: dict[str, str]) -> list[str]:
    if not commands:
        return []
    shown = [f"- {name}: `{command}`" for name, command in commands.items()]
    return ["## Commands", "", "SITE is a contender's directory, TOOLS what `clm setup` installed.", "", *shown, ""]


def _time(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds >= 10 else f"{seconds:.2f}" if seconds >= 1 else f"{seconds:.3f}"


def _ratio(ratio: float) -> str:
    """Two digits, and never a power of ten: 830, not 8.3e+02."""
    return f"{float(f'{ratio:.2g}'):g}"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.0f}"


def _wrapped(line: str) -> str:
    indent = "  " if line.startswith("- ") else ""
    return textwrap.fill(line, LINE, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
