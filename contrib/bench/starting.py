"""How long programs take to begin: `--version`, the first job of a cold build, a build through a running daemon."""

from __future__ import annotations

import json
import os
import subprocess
import time

import measure
from contenders import Clm, Setting, clean_environment
from gen import Shape

# Seconds after which a daemon has given memory back.
REST = 4.0


def measure_all(setting: Setting, shape: Shape, rounds: int, budget: float, say) -> dict:
    """`--version` of clm and CLM in turns, and clm's way to the first job."""
    programs = {"clm": setting.clm, "CLM": setting.python_clm}
    versions = {name: {"command": f"{name} --version", "runs": []} for name, program in programs.items() if program}
    for _ in range(rounds * 3):
        for name, found in versions.items():
            run = measure.run([programs[name], "--version"], environment=clean_environment())
            found["runs"].append({**run.record(), "quiet": run.quiet})
    one = Clm(setting, shape)
    one.prepare()
    first = []
    started = time.monotonic()
    for number in range(min(rounds, 5)):
        if number and time.monotonic() - started > budget:
            break
        one.mark_built(False)
        one.before("cold")
        first.append(_to_first_job(one))
        one.mark_built(True)
        say(f"first job, {shape.topics} topics: {first[-1]}")
    return {"topics": shape.topics, "version": versions, "first_job": first}


def _to_first_job(one: Clm) -> dict[str, float]:
    """Seconds until the plan stands, the first job is given to a worker, the first output is there, all is done."""
    command = [str(part) for part in one.command("cold")] + ["--message-format", "json"]
    times: dict[str, float] = {}
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=one.environment()) as process:
        for line in process.stdout:
            now = round(time.perf_counter() - started, 5)
            event = json.loads(line)
            name = event["event"]
            if name == "action_started" and event["kind"] in ("execute", "html", "plantuml", "drawio"):
                name = "first_job_started"
            times.setdefault(name, now)
            if name == "run_finished":
                times["run_finished"] = now
    if process.returncode != 0:
        raise RuntimeError(f"a cold build ended with exit code {process.returncode}")
    names = ("run_started", "first_job_started", "output", "run_finished")
    return {name: times[name] for name in names}


def daemon(setting: Setting, shape: Shape, rounds: int, budget: float, say) -> dict:
    """A build with nothing to do: by a running daemon, and alone, in turns."""
    one = Clm(setting, shape)
    one.prepare()
    alone = one.command("noop")
    served = [part for part in alone if part != "--no-daemon"]
    if measure.run(alone, one.site, one.environment()).code != 0:
        raise RuntimeError("the course cannot be built")
    start = [setting.clm, "daemon", "start", one.root / "course.xml"]
    started = measure.run(start, one.site, one.environment(), leaves_a_daemon=True)
    if started.code != 0:
        raise RuntimeError(f"the daemon does not start: {started.said}")
    found = {"daemon": {"command": "clm build", "runs": []}, "alone": {"command": "clm build --no-daemon", "runs": []}}
    try:
        pid = _daemon_pid(one)
        begun = time.monotonic()
        # The first client meets a daemon that is still looking at the course.
        measure.run(served, one.site, one.environment())
        for number in range(rounds):
            if number and time.monotonic() - begun > budget:
                break
            for name, command in [("daemon", served), ("alone", alone)]:
                before = measure.cpu_of_tree(pid)
                run = measure.run(command, one.site, one.environment())
                if problem := one.failed(run):
                    raise RuntimeError(f"{name}: {problem}")
                record = {**run.record(), "quiet": run.quiet, "daemon_cpu": round(measure.cpu_of_tree(pid) - before, 3)}
                found[name]["runs"].append(record)
        time.sleep(REST)
        memory = {
            "clm": measure.peak_of(pid),
            "rest": measure.resident(pid),
            "tree": sum(map(measure.resident, measure.tree_of(pid))),
        }
    finally:
        measure.run([setting.clm, "daemon", "stop", one.root / "course.xml"], one.site, one.environment())
    say(f"no-op: daemon {measure.median([run['wall'] for run in found['daemon']['runs']]):.4f} s")
    return {"topics": shape.topics, "start": started.record(), "memory": memory, "contenders": found}


def _daemon_pid(one: Clm) -> int:
    """The process of the daemon: the one child of ours that runs clm on this course."""
    own = [pid for pid in measure.children_of(os.getpid()) if _command_line(pid)[:1] == [str(one.setting.clm)]]
    if len(own) != 1:
        raise RuntimeError(f"expected one daemon among our children, found {own}")
    return own[0]


def _command_line(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read().split("\0")
    except OSError:
        return []
