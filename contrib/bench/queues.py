"""Queues under many processes: clm's store, SQLite alone, and CLM's queue."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from contenders import Setting, clean_environment

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]


def measure_all(setting: Setting, target: Path | None, budget: float, say) -> dict:
    """All contests, as lines of `tests/bench/queue.rs` and `queue_clm.py`."""
    environment = clean_environment()
    if target:
        environment["CARGO_TARGET_DIR"] = str(target)
    # A contest takes 3 s and the start of its processes; there are 16 and three of threads, and 8 of CLM.
    seconds = ["--seconds", str(min(3.0, budget / 60))]
    command = ["cargo", "bench", "--quiet", "--bench", "queue", "--", *seconds]
    found = _lines(command, PROJECT, environment, say)
    if setting.python_clm:
        python = setting.python_clm.parent / "python"
        found += _lines([python, HERE / "queue_clm.py", *seconds], setting.work, environment, say)
    return {"contests": found}


def _lines(command: list, directory: Path, environment: dict, say) -> list[dict]:
    found = []
    words = [str(word) for word in command]
    with subprocess.Popen(words, cwd=directory, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            contest = json.loads(line)
            found.append(contest)
            say(f"{contest['queue']}, {contest['processes']} processes: {contest['jobs_per_s']:.0f} jobs/s")
    if process.returncode != 0:
        raise RuntimeError(f"{os.path.basename(words[0])} ended with exit code {process.returncode}")
    return found
