"""What machine this is, for results."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path


def machine(work: Path) -> dict:
    """Processor, cores, memory, system, file system of the work directory."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return {
        "processor": model.group(1) if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory.group(1)) * 1024 / 1e9, 1) if memory else None,
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "file_system": _file_system(work),
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def today() -> str:
    """The date and time, in UTC."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M")


def _file_system(directory: Path) -> str:
    said = subprocess.run(["stat", "-f", "-c", "%T", str(directory)], capture_output=True, text=True)
    return said.stdout.strip() or "unknown"
