"""The Python environments that a comparison needs; both are made when they are missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CLM_PACKAGES = [
    "coding-academy-lecture-manager==1.35.0",
    # What this release was compared with; newer ones write other pages and notebooks.
    "jupytext==1.19.6",
    "nbconvert==7.16.6",
    "nbformat==5.10.4",
    "nbclient==0.11.0",
    "ipykernel==6.29.5",
    "Jinja2==3.1.6",
]
COMPARER_PACKAGES = ["lxml", "pillow"]


def cache_directory() -> Path:
    """Where environments go by default."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "clm-parity"


def clm(directory: Path, python: str) -> Path:
    """The `clm` program of CLM's environment, which is made of `python` (3.12 or newer) when it is missing."""
    program = directory / "bin" / "clm"
    if not program.exists():
        _make(directory, python, CLM_PACKAGES)
    return program


def enter_comparer() -> None:
    """Runs this program again in an environment with what comparing needs, unless it is there."""
    try:
        import lxml.html  # noqa: F401
        import PIL  # noqa: F401
    except ImportError:
        directory = cache_directory() / "comparer"
        python = directory / "bin" / "python"
        if Path(sys.prefix) == directory:
            raise
        if not python.exists():
            _make(directory, sys.executable, COMPARER_PACKAGES)
        os.execv(python, [str(python), *sys.argv])


def _make(directory: Path, python: str, packages: list[str]) -> None:
    print(f"Making {directory} ...", file=sys.stderr)
    subprocess.run([python, "-m", "venv", str(directory)], check=True)
    install = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *packages], check=True)
