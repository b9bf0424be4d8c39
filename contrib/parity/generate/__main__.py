"""Writes generated courses to look at: `python3 -m generate DIRECTORY FIRST [LAST] [--pages]`."""

import sys
from pathlib import Path

from generate import write

if __name__ == "__main__":
    directory, *numbers = [argument for argument in sys.argv[1:] if argument != "--pages"]
    first, last = int(numbers[0]), int(numbers[-1])
    print("build it with", *write(Path(directory), range(first, last + 1), "--pages" in sys.argv))
