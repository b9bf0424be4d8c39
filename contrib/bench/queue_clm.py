#!/usr/bin/env python3
"""CLM's own queue under many processes; runs with the Python of CLM's environment, started by `run.py`.

    queue_clm.py [--processes 2,8,32,64] [--waiting 200,4000] [--seconds 3]

The same contest as `tests/bench/queue.rs`: claim, complete and, while the queue is short, add a job that does nothing.
Prints a line of JSON for each.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import sqlite3
import tempfile
import time
from pathlib import Path

from clm.infrastructure.database.job_queue import JobQueue

SHORT = 1000
# About as large as what CLM queues for a deck.
PAYLOAD = {"data": "x" * 1500}


def main() -> None:
    """Holds all contests."""
    logging.disable(logging.CRITICAL)
    options = argparse.ArgumentParser()
    for name, default in [("processes", "2,8,32,64"), ("waiting", "200,4000")]:
        options.add_argument(f"--{name}", type=lambda text: [int(one) for one in text.split(",")], default=default)
    options.add_argument("--seconds", type=float, default=3.0)
    arguments = options.parse_args()
    for waiting in arguments.waiting:
        for processes in arguments.processes:
            with tempfile.TemporaryDirectory() as directory:
                print(json.dumps(contest(Path(directory, "jobs.db"), processes, waiting, arguments.seconds)), flush=True)


def contest(database: Path, processes: int, waiting: int, seconds: float) -> dict:
    """One contest."""
    queue = JobQueue(database)
    for number in range(waiting):
        add(queue, f"first-{number}")
    queue.close()
    context = multiprocessing.get_context("fork")
    start = context.Barrier(processes)
    pipes = []
    for number in range(processes):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=take_part, args=(database, number, start, waiting <= SHORT, seconds, there))
        process.start()
        pipes.append((here, process))
    records = [here.recv() for here, _ in pipes]
    for _, process in pipes:
        process.join()
    jobs = [job for record in records for job in record["jobs"]]
    claims = sorted(claim for record in records for claim in record["claims"])
    elapsed = max(record["seconds"] for record in records)
    claim_ms = {name: round(1000 * claims[min(int(len(claims) * part), len(claims) - 1)], 3) for name, part in PARTS}
    return {
        "queue": "CLM",
        "processes": processes,
        "threads": 1,
        "waiting": waiting,
        "jobs": len(jobs),
        "seconds": elapsed,
        "jobs_per_s": round(len(jobs) / elapsed),
        "claim_ms": claim_ms,
        "least": min(len(record["jobs"]) for record in records),
        "most": max(len(record["jobs"]) for record in records),
        "twice": len(jobs) - len(set(jobs)),
        "errors": sum(record["errors"] for record in records),
        "an_error": None,
    }


PARTS = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)]


def add(queue: JobQueue, name: str) -> None:
    """Adds a job with a name of its own."""
    queue.add_job("plantuml", f"{name}.pu", f"{name}.png", name, PAYLOAD)


def take_part(database: Path, number: int, start, is_short: bool, seconds: float, there) -> None:
    """Works until the time is over."""
    queue = JobQueue(database)
    queue.get_job(0)
    record: dict = {"jobs": [], "claims": [], "errors": 0}
    start.wait()
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        asked = time.perf_counter()
        try:
            job = queue.get_next_job("plantuml")
            if job is None:
                if is_short:
                    continue
                break
            record["claims"].append(time.perf_counter() - asked)
            record["jobs"].append(job.id)
            queue.update_job_status(job.id, "completed")
            if is_short:
                add(queue, f"{number}-{len(record['jobs'])}")
        except sqlite3.OperationalError:
            record["errors"] += 1
    record["seconds"] = time.perf_counter() - began
    there.send(record)


if __name__ == "__main__":
    main()
