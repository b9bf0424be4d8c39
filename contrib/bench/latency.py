"""From a save to what is made of it: clm's and CLM's watch, under edits of every kind.

A time runs from the close of the saved file to the moment when an output shows the edit: the first one, and the last of
those that do. Which outputs do is learnt from one edit that does not count. Outputs are looked for every millisecond.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

import measure
from contenders import LIMIT, Builder, Clm, PythonClm, Setting
from edits import EDITS, Trace
from gen import Shape
from scenarios import shown

KINDS = ("prose", "code", "plantuml", "drawio", "data")
PATIENCE = 120.0
LOOK = 0.001
# Between edits clm starts the next kernel ahead; an author saves no more often.
PAUSE = 1.5


def measure_all(setting: Setting, shape: Shape, edits: int, budget: float, say) -> dict:
    """Every kind of edit under clm's watch, then under CLM's."""
    watches: list[Watch] = [ClmWatch(Clm(setting, shape))]
    if setting.python_clm:
        watches.append(PythonClmWatch(PythonClm(setting, shape)))
    found = {}
    for watch in watches:
        name = watch.one.name
        count = edits if name == "clm" else min(edits, 3)
        found[name] = watch.measure(count, budget / len(watches), say)
    found["limit"] = warm(watches[0].one, edits, say)
    return {"topics": shape.topics, "contenders": found}


def warm(clm: Builder, edits: int, say) -> dict:
    """What edits take when all tools wait for them: `limit/warm.py`."""
    out = clm.site.with_name("limit") / "warm"
    command = [clm.setting.kernel_python, LIMIT / "warm.py", "--course", clm.root, "--tools", clm.setting.tools]
    words = [str(word) for word in [*command, "--out", out, "--rounds", edits]]
    said = subprocess.run(words, capture_output=True, text=True, env=clm.environment(), timeout=600)
    if said.returncode != 0:
        return {"problem": said.stderr[-500:]}
    times = json.loads(said.stdout)
    for kind, found in times.items():
        say(f"limit, {kind}: {1000 * measure.median(found):.0f} ms")
    return {"command": shown(words, clm), "edits": {kind: {"last": times[kind]} for kind in KINDS}}


class Watch:
    """A contender that watches its course."""

    def __init__(self, one: Builder):
        self.one = one
        self.preview: str | None = None
        self.said: list[str] = []

    def command(self) -> list[str]:
        """How the watch is started."""
        raise NotImplementedError

    def read(self, line: str) -> None:
        """Takes a line that it says."""
        self.said = [*self.said[-20:], line]

    def problem(self) -> str | None:
        """Why it cannot watch."""
        return None

    def measure(self, edits: int, budget: float, say) -> dict:
        """Starts it, edits, ends it."""
        if problem := self.problem():
            return {"problem": problem}
        self.one.prepare()
        if not self.one.is_built():
            self.one.before("cold")
            if problem := self.one.failed(self.one.run("cold")):
                return {"problem": problem}
            self.one.mark_built(True)
        process = subprocess.Popen(
            self.command(),
            cwd=self.one.site,
            env=self.one.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        threading.Thread(target=lambda: [self.read(line) for line in process.stdout], daemon=True).start()
        began = time.monotonic()
        try:
            quiet(process.pid)
            if process.poll() is not None:
                return {"problem": f"the watch ended with exit code {process.returncode}: {''.join(self.said[-5:])}"}
            found = {"command": shown(self.command(), self.one), "idle": idle(process.pid), "edits": {}}
            for kind in KINDS:
                left = budget * (KINDS.index(kind) + 1) / len(KINDS) - (time.monotonic() - began)
                found["edits"][kind] = self.edit(kind, edits, max(left, 1), process)
                say(f"{self.one.name}, {kind}: {_said(found['edits'][kind])}")
            found["rss_after"] = round(measure.resident(process.pid), 1)
            return found
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                measure.kill_tree(process.pid)
                process.wait()

    def edit(self, kind: str, edits: int, budget: float, process: subprocess.Popen) -> dict:
        """Edits one source again and again."""
        number = self.one.next_edit()
        edit, shape, root = EDITS[kind], self.one.shape, self.one.root
        trace = edit(root, shape, number)
        if not _wait(lambda: not trace.missing(root)):
            return {"problem": f"an edit of {trace.edited.name} is not seen after {PATIENCE:.0f} s"}
        quiet(process.pid)
        outputs = _outputs(trace, root, kind)
        times: dict[str, list[float]] = {"first": [], "last": []}
        began = time.monotonic()
        for _ in range(edits):
            if time.monotonic() - began > budget and times["last"]:
                break
            # The same source each time: the numbers of one topic are that far apart.
            number += shape.topics
            trace = edit(root, shape, number)
            saved = time.perf_counter()
            seen = _seen(trace, outputs, saved)
            if seen is None:
                return {**times, "problem": f"an edit of {trace.edited.name} was missed"}
            times["first"].append(seen[0])
            times["last"].append(seen[1])
            if served := self.served(trace, outputs, saved):
                times.setdefault("served", []).append(served)
            self.settle(process.pid)
        # Other edits must not have the numbers that were used here.
        (self.one.site / "edits").write_text(str(number))
        return {"outputs": len(outputs), **times}

    def settle(self, pid: int) -> None:
        """Waits until the next edit may come."""
        time.sleep(PAUSE)

    def served(self, trace: Trace, outputs: list[Path], saved: float) -> float | None:
        """When the preview serves a page with the edit."""
        return None


class ClmWatch(Watch):
    """`clm watch --serve`."""

    def command(self) -> list[str]:
        spec = str(self.one.root / "course.xml")
        return [str(self.one.setting.clm), "watch", spec, "--serve", "127.0.0.1:0", "--message-format", "json"]

    def read(self, line: str) -> None:
        super().read(line)
        if found := re.search(r"http://[^\s\"]+", line):
            self.preview = self.preview or found.group()

    def served(self, trace: Trace, outputs: list[Path], saved: float) -> float | None:
        pages = [path for path in outputs if path.suffix == ".html"]
        if not pages or not self.preview:
            return None
        address = self.preview + "out/" + urllib.parse.quote(str(pages[0].relative_to(self.one.root / "output")))

        def is_served() -> bool:
            with urllib.request.urlopen(address) as answer:
                return trace.seen(answer.read())

        return time.perf_counter() - saved if _wait(is_served) else None


class PythonClmWatch(Watch):
    """`clm build --watch` of CLM."""

    def command(self) -> list[str]:
        return [str(part) for part in self.one.command("watch")] + ["--watch"]

    def problem(self) -> str | None:
        program = "import importlib.metadata as m; print(m.version('watchdog'))"
        python = self.one.setting.python_clm.parent / "python"
        said = subprocess.run([python, "-c", program], capture_output=True, text=True, env=self.one.environment())
        version = said.stdout.strip()
        if said.returncode != 0:
            return "its environment has no watchdog (--python-path gives it one)"
        # CLM's patterns match no path with 7.1: it watches, and sees nothing.
        return f"it sees no change with watchdog {version}; 6.0.0 is needed" if version >= "7.1" else None

    def settle(self, pid: int) -> None:
        quiet(pid)


def quiet(pid: int, least: float = 2.0) -> None:
    """Waits until a process tree has used next to no CPU time for some seconds."""
    since, before, began = time.monotonic(), measure.cpu_of_tree(pid), time.monotonic()
    while time.monotonic() - since < least and time.monotonic() - began < PATIENCE:
        time.sleep(0.25)
        now = measure.cpu_of_tree(pid)
        if now - before > 0.05:
            since = time.monotonic()
        before = now


def idle(pid: int, seconds: float = 10.0) -> dict:
    """What a watch costs while nothing happens."""
    before, tree = measure.cpu_of_tree(pid), measure.tree_of(pid)
    time.sleep(seconds)
    return {
        "cpu_percent": round(100 * (measure.cpu_of_tree(pid) - before) / seconds, 2),
        "rss": round(measure.resident(pid), 1),
        "rss_tree": round(sum(map(measure.resident, tree)), 1),
        "processes": len(tree),
    }


def _outputs(trace: Trace, root: Path, kind: str) -> list[Path]:
    """All outputs that show an edit that was built."""
    names = "**/*" if kind in ("prose", "code") else trace.outputs
    files = [file for file in (root / "output").glob(names) if file.is_file()]
    if kind in ("prose", "code"):
        title = re.search(r"\d{4} 0", trace.outputs).group()
        files = [file for file in files if title in file.name]
    return [file for file in files if trace.seen(file.read_bytes())]


def _seen(trace: Trace, outputs: list[Path], saved: float) -> tuple[float, float] | None:
    """When the first and the last output showed the edit, in seconds after the save."""
    waiting: dict[Path, int] = {path: 0 for path in outputs}
    first = None
    while waiting:
        for path, looked_at in list(waiting.items()):
            try:
                changed = path.stat().st_mtime_ns
                if changed != looked_at and trace.seen(path.read_bytes()):
                    first = first or time.perf_counter() - saved
                    del waiting[path]
                else:
                    waiting[path] = changed
            except FileNotFoundError:
                continue
        now = time.perf_counter() - saved
        if now > PATIENCE:
            return None
        if waiting:
            time.sleep(LOOK)
    return round(first, 5), round(now, 5)


def _wait(is_true) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK)
    return True


def _said(found: dict) -> str:
    if "problem" in found:
        return found["problem"]
    parts = [f"{name} {1000 * measure.median(times):.0f} ms" for name, times in found.items() if isinstance(times, list)]
    return ", ".join(parts) + f" ({found['outputs']} outputs, n {len(found['last'])})"
