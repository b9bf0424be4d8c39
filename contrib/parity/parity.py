#!/usr/bin/env python3
"""Builds courses with CLM 1.35.0 and with clm, and compares what both made. See README.md."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import environments

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
FIXTURES = ["mini", "demo", "broken"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clm", type=Path, help="our binary; by default it is built")
    parser.add_argument("--clm-venv", type=Path, default=environments.cache_directory() / "clm-1.35.0")
    parser.add_argument("--python", default="python3.12", help="makes CLM's environment: 3.12 or newer")
    parser.add_argument("--tools", type=Path, help="clm's tools directory")
    parser.add_argument("--corpus", default="mini,demo,broken,shared,generated", help="which, separated by commas")
    parser.add_argument("--shared", type=Path, default=PROJECT.parent / "shared" / "courses")
    parser.add_argument("--course", help="a specification of your own instead of the corpora")
    parser.add_argument("--count", type=int, default=300, help="generated courses")
    parser.add_argument("--seed", type=int, default=1, help="number of the first generated course")
    parser.add_argument("--html-every", type=int, default=10, help="every N-th batch also makes pages")
    parser.add_argument("--batch", type=int, default=10, help="generated courses that one build makes")
    parser.add_argument("--json", type=Path, help="write a report")
    parser.add_argument("--work", type=Path, help="where to build; kept, with CLM's outputs for a next run")
    parser.add_argument("--diffs", type=int, default=5, help="how many diffs of a course are shown")
    parser.add_argument("-q", "--quiet", action="store_true", help="show only what is different")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    environments.enter_comparer()
    import corpora
    import known
    import report
    from builders import Builders

    work = (options.work or Path(tempfile.mkdtemp(prefix="clm-parity-"))).resolve()
    work.mkdir(parents=True, exist_ok=True)
    builders = Builders(
        environments.clm(options.clm_venv, options.python), our_program(options.clm), tools(options.tools), work
    )
    entries = known.read(HERE / "KNOWN.md")
    results = []
    try:
        for corpus in corpora.chosen(options, PROJECT):
            result = report.Corpus(corpus.name)
            results.append(result)
            for course in corpus.courses(work):
                outcomes, runs = corpora.compared(course, builders)
                known.mark(corpus.name, outcomes, entries)
                result.courses += course.count
                result.their_seconds += runs[0].seconds
                result.our_seconds += runs[1].seconds
                result.add(course.name, outcomes)
                report.show(course.name, outcomes, not options.quiet, options.diffs)
                if not options.work:
                    shutil.rmtree(work / course.name, ignore_errors=True)
    finally:
        if not options.work:
            shutil.rmtree(work, ignore_errors=True)
        print()
        report.show_totals(results)
        if options.json:
            report.write(options.json, results)
    return 1 if any(result.unexplained for result in results) else 0


def our_program(given: Path | None) -> Path:
    if given:
        return given.resolve()
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=PROJECT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target")) / "release" / "clm"


def tools(given: Path | None) -> Path:
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return given or Path(os.environ.get("CLM_TOOLS_DIR") or Path(data) / "clm" / "tools")


if __name__ == "__main__":
    sys.exit(main())
