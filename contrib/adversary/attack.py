#!/usr/bin/env python3
"""Attacks a clm binary at random and reports how often it was wrong: see README.md beside this file.

    attack.py --clm target/release/clm --seconds 600 [--seed N] [--kinds stale,lost,hang,blame,orphan] [--keep]
"""

import argparse
import collections
import os
import pathlib
import random
import shutil
import signal
import tempfile
import time

from kinds import KINDS
from world import World


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clm", required=True)
    arguments.add_argument("--seconds", type=float, default=300)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--only-seed", action="store_true")
    arguments.add_argument("--kinds", default=",".join(KINDS))
    arguments.add_argument("--keep", action="store_true", help="keep the courses in which something was wrong")
    options = arguments.parse_args()
    clm = str(pathlib.Path(options.clm).resolve())
    begun, seed = time.monotonic(), options.seed
    attacks, wrong = collections.Counter(), collections.Counter()
    kinds = options.kinds.split(",")
    while time.monotonic() - begun < options.seconds:
        kind = kinds[seed % len(kinds)]
        base = tempfile.mkdtemp(prefix="attack-")
        world = World(clm, base, random.Random(seed))
        try:
            story, verdict, detail = KINDS[kind](world)
        finally:
            world.stop()
            for pid, _ in world.survivors():
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
        attacks[kind] += 1
        if verdict:
            wrong[f"{kind}: {verdict}"] += 1
            print(f"WRONG seed {seed} {kind}: {verdict}\n  story: {story}\n  {detail}\n  {base if options.keep else ''}", flush=True)
        if not (verdict and options.keep):
            shutil.rmtree(base, ignore_errors=True)
        if options.only_seed:
            break
        seed += 1
    print(f"attacks {dict(attacks)}; wrong {dict(wrong)}; {time.monotonic() - begun:.0f} s, next seed {seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
