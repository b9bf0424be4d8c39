"""Runs a command and measures it: wall time, CPU time of its whole tree, memory, and what others burnt meanwhile."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
CORES = os.cpu_count() or 1
# A run counts as quiet when others used at most this part of the machine.
QUIET = 0.15
PR_SET_CHILD_SUBREAPER = 36
# How often the command itself and its tree are looked at, in seconds; later more seldom, as looking costs time.
LOOK = 0.002
LOOK_AT_TREE = 0.1


@dataclass
class Run:
    """What a finished command took. Seconds, and megabytes of 10^6 bytes; `foreign` is CPU time of other processes."""

    wall: float
    cpu: float
    foreign: float
    rss: float
    rss_tree: float
    processes: int
    code: int
    said: str = ""

    @property
    def quiet(self) -> bool:
        """Whether the machine was quiet enough. Short runs cannot be told: the system counts in ticks of 10 ms."""
        return self.foreign <= max(QUIET * CORES * self.wall, 2 / TICK)

    def record(self) -> dict:
        """For the results: without what was said, but for failures."""
        values = {name: round(value, 5) if isinstance(value, float) else value for name, value in asdict(self).items()}
        said = values.pop("said")
        return values if self.code == 0 else {**values, "said": said[-2000:]}


def become_subreaper() -> None:
    """Makes orphans of what we start our own children, so that their time is counted and they can be waited for."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(
    command: list,
    directory: Path | None = None,
    environment: dict | None = None,
    limit: float = 3600,
    leaves_a_daemon: bool = False,
) -> Run:
    """Runs a command to its end, and until the last process that it started has ended (but for a daemon)."""
    before = set(children_of(os.getpid()))
    own = resource.getrusage(resource.RUSAGE_SELF)
    children, busy = _children(), _busy()
    started = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.extend(iter(lambda: process.stdout.read1(65536), b"")))
    reader.start()
    watcher = _Watcher(process.pid)
    watcher.start()
    timer = threading.Timer(limit, lambda: kill_tree(process.pid))
    timer.start()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    wall = time.perf_counter() - started
    timer.cancel()
    watcher.ended.set()
    watcher.join()
    code = process.wait()
    if not leaves_a_daemon:
        _reap_orphans(before)
    reader.join(5)
    busy = _busy() - busy
    cpu = _children() - children
    now = resource.getrusage(resource.RUSAGE_SELF)
    ours = now.ru_utime + now.ru_stime - own.ru_utime - own.ru_stime
    foreign = max(busy - cpu - ours, 0.0)
    text = b"".join(said).decode(errors="replace")
    return Run(wall, cpu, foreign, watcher.own, watcher.tree, watcher.count, code, text)


class _Watcher(threading.Thread):
    """Looks at a process and its tree until it has ended."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.pid, self.ended = pid, threading.Event()
        self.own = self.tree = 0.0
        self.count = 1

    def run(self) -> None:
        started = last = time.perf_counter()
        while not self.ended.wait(LOOK if time.perf_counter() - started < 1 else 20 * LOOK):
            self.own = max(self.own, peak_of(self.pid))
            if time.perf_counter() - last > LOOK_AT_TREE:
                last = time.perf_counter()
                pids = tree_of(self.pid)
                self.tree = max(self.tree, sum(resident(pid) for pid in pids))
                self.count = max(self.count, len(pids))
        self.tree = max(self.tree, self.own)


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _busy() -> float:
    """Seconds in which the machine's cores worked (or were stolen by other virtual machines)."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(int, file.readline().split()[1:])
    return (user + nice + system + irq + softirq + steal) / TICK


def _reap_orphans(others: set[int], patience: float = 10.0) -> None:
    """Waits for what the command left behind; whatever does not end is killed, as it would disturb the next run."""
    deadline = time.monotonic() + patience
    while orphans := set(children_of(os.getpid())) - others:
        for pid in orphans:
            if time.monotonic() > deadline:
                kill_tree(pid)
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
        time.sleep(0.005)


def parents() -> dict[int, int]:
    """The parent of every process."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = stat_of(int(name))
            if fields:
                found[int(name)] = int(fields[1])
    return found


def stat_of(pid: int) -> list[str] | None:
    """The fields of `/proc/PID/stat` after the name: state, parent, .."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def children_of(pid: int) -> list[int]:
    """The processes whose parent this is."""
    return [child for child, parent in parents().items() if parent == pid]


def tree_of(pid: int) -> list[int]:
    """A process and all below it."""
    below: dict[int, list[int]] = {}
    for child, parent in parents().items():
        below.setdefault(parent, []).append(child)
    found = [pid]
    for one in found:
        found += below.get(one, [])
    return found


def cpu_of_tree(pid: int) -> float:
    """Seconds that the living processes of a tree, and those they waited for, have used so far."""
    ticks = 0
    for one in tree_of(pid):
        fields = stat_of(one)
        if fields:
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICK


def resident(pid: int) -> float:
    """Resident megabytes of a process."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * PAGE / 1e6
    except (OSError, IndexError):
        return 0.0


def peak_of(pid: int) -> float:
    """The most resident megabytes that a process ever had; 0 once it has ended."""
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    return 0.0


def kill_tree(pid: int) -> None:
    """Ends a process that we started, and all below it."""
    for one in reversed(tree_of(pid)):
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            pass


def median(values: list[float]) -> float:
    """The middle value."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
