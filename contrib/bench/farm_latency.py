#!/usr/bin/env python3
"""Times single builds with a farm beside builds without one: nothing to do, one edited deck, one edited diagram.

    farm_latency.py --clm target/release/clm --farm grpc://127.0.0.1:50051 [--course DIR] [--rounds 7]

Three copies of the course (the demo) are built in turns: without the farm, with both, and with nothing made here
(CLM_FARM_LOCAL=0). Prints the median of each in milliseconds. Every build is a process of its own: without the farm it starts its
renderers, while those of the farm are warm.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

DEMO = Path(__file__).parents[2] / "fixtures" / "demo"


def build(clm: str, course: Path, variables: dict[str, str]) -> float:
    """Builds, and returns the seconds that it took."""
    begin = time.perf_counter()
    ran = subprocess.run(
        [clm, "build", "--no-daemon"], cwd=course, env={**os.environ, **variables}, capture_output=True, text=True
    )
    if ran.returncode != 0:
        raise SystemExit(f"{course.name}: exit code {ran.returncode}\n{ran.stdout}{ran.stderr}")
    return time.perf_counter() - begin


def first(course: Path, pattern: str) -> Path:
    """Returns the first source of a kind."""
    return min(course.glob(f"slides/**/{pattern}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clm", required=True)
    parser.add_argument("--farm", required=True)
    parser.add_argument("--course", type=Path, default=DEMO)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    farm = {"CLM_FARM": args.farm, "CLM_CACHE_REMOTE": ""}
    ways = {"here": {"CLM_FARM": ""}, "both": farm, "farm": {**farm, "CLM_FARM_LOCAL": "0"}}
    with tempfile.TemporaryDirectory() as scratch:
        courses = {way: Path(scratch) / way for way in ways}
        for way, course in courses.items():
            shutil.copytree(args.course, course, ignore=shutil.ignore_patterns(".clm", "output"))
            build(args.clm, course, ways[way])
        times = {way: {"nothing": [], "deck": [], "diagram": []} for way in ways}
        for number in range(args.rounds):
            for way, course in courses.items():
                found = times[way]
                found["nothing"].append(build(args.clm, course, ways[way]))
                deck = first(course, "slides_*.py")
                deck.write_text(deck.read_text() + f'\n\n# %%\nprint("{way} {number}")\n')
                found["deck"].append(build(args.clm, course, ways[way]))
                diagram = first(course, "*.pu")
                diagram.write_text(diagram.read_text().replace("@enduml", f"' {way} {number}\n@enduml"))
                found["diagram"].append(build(args.clm, course, ways[way]))
    for way, found in times.items():
        shown = (f"{what} {statistics.median(all) * 1000:.0f} ms" for what, all in found.items())
        print(f"{way}: {', '.join(shown)}")


if __name__ == "__main__":
    main()
