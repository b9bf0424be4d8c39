#!/usr/bin/env python3
"""Measures how long `clm watch` takes from a save to what it makes of it.

    watch_latency.py CLM COURSE_DIR [--edits 20] [--json FILE]

Copies the course (a directory with `course.xml`), builds it, starts `clm watch --serve` on the copy, and edits one deck
and one diagram of each kind again and again. A time runs from the close of the saved file to the moment when an output
with the new text (or, for pictures, other bytes) is there, looked for every millisecond. Prints the median and the 95th
percentile for every kind of edit, in milliseconds.
"""

import argparse
import hashlib
import json
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

LIMIT = 60.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clm")
    parser.add_argument("course", type=pathlib.Path)
    parser.add_argument("--edits", type=int, default=20)
    parser.add_argument("--pause", type=float, default=1.5, help="seconds between edits, in which kernels are warmed")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory) / "course"
        ignored = shutil.ignore_patterns("output", "img-generated")
        shutil.copytree(args.course, root, ignore=ignored)
        results = Watch(args.clm, root, args.pause).measure(args.edits)
    for name, times in results.items():
        print(f"{name:42} p50 {percentile(times, 50):7.0f} ms   p95 {percentile(times, 95):7.0f} ms   n {len(times)}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


class Watch:
    def __init__(self, clm, root, pause):
        self.clm, self.root, self.pause = clm, root, pause
        self.idle = threading.Event()
        self.preview = None

    def measure(self, edits):
        subprocess.run([self.clm, "build", self.root / "course.xml", "--quiet"], check=False)
        started = time.monotonic()
        command = [self.clm, "watch", self.root / "course.xml", "--serve", "127.0.0.1:0", "--message-format", "json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self.read_events, daemon=True).start()
        threading.Thread(target=self.read_words, daemon=True).start()
        try:
            self.idle.wait(600)
            results = {"start, nothing to do": [time.monotonic() - started]}
            time.sleep(3)
            results["memory of clm (MB, not ms)"] = [rss(self.process.pid) / 1000]
            self.edits(edits, results)
            return {name: times for name, times in results.items() if times}
        finally:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)

    def read_events(self):
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] == "run_finished":
                self.idle.set()

    def read_words(self):
        for line in self.process.stderr:
            found = re.search(r"http://\S+", line)
            if found:
                self.preview = found.group()

    def edits(self, edits, results):
        deck = next(path for path in sorted(self.root.glob("slides/**/slides_*.py")))
        original = deck.read_text()
        outputs = self.outputs_of(deck)
        for number in range(edits):
            marker = f"marker{number}x{os.getpid()}"
            # Prose: a text cell at the end.
            deck.write_text(original + f"\n# %% [markdown]\n#\n# {marker}\n")
            saved = time.monotonic()
            self.until(outputs["notebook"], marker, saved, results, "prose edit -> notebook")
            self.until(outputs["code"], marker, saved, results, "prose edit -> script")
            self.until(outputs["html"], marker, saved, results, "prose edit -> all executed HTML of a language")
            self.until_served(outputs["html"][0], marker, saved, results, "prose edit -> served by the preview")
            time.sleep(self.pause)
        for number in range(edits):
            marker = f"result{number}x{os.getpid()}"
            deck.write_text(original + f'\n# %% tags=["keep"]\nprint("{marker[:6]}" + "{marker[6:]}")\n')
            saved = time.monotonic()
            self.until(outputs["notebook"], marker[6:], saved, results, "code edit -> notebook")
            self.until(outputs["html"], marker, saved, results, "code edit -> all executed HTML of a language")
            time.sleep(self.pause)
        deck.write_text(original)
        time.sleep(self.pause)
        for suffix, name in [("pu", "PlantUML edit -> PNG"), ("drawio", "draw.io edit -> PNG")]:
            self.diagram(edits, suffix, name, results)

    def diagram(self, edits, suffix, name, results):
        source = next(iter(sorted(self.root.glob(f"slides/**/*.{suffix}"))), None)
        if source is None:
            return
        picture = source.stem + ".png"
        output = next(iter(sorted((self.root / "output").glob(f"**/img/{picture}"))))
        original = source.read_text()
        first, _, rest = original.partition("\n")
        for number in range(edits):
            before = digest(output)
            if suffix == "pu":
                source.write_text(f"{first}\ntitle edit {number}\n{rest}")
            else:
                source.write_text(re.sub(r'value="([A-Za-z])', rf'value="{number} \1', original, count=1))
            saved = time.monotonic()
            while digest(output) == before:
                if time.monotonic() - saved > LIMIT:
                    print(f"{name}: {output} did not change", file=sys.stderr)
                    return
                time.sleep(0.001)
            results.setdefault(name, []).append(time.monotonic() - saved)
            time.sleep(self.pause)

    def outputs_of(self, deck):
        """The completed outputs of the deck in English, by format: those that contain its title."""
        title = re.search(r'header\("[^"]*", "([^"]*)"\)|header_en\("([^"]*)"\)', deck.read_text())
        title = next(text for text in title.groups() if text)
        files = [path for path in (self.root / "output").rglob("*") if path.is_file() and title in path.name]
        english = [path for path in files if "Slides" in path.parts]
        return {
            "notebook": [path for path in english if "Notebooks" in path.parts and "Completed" in path.parts][:1],
            "code": [path for path in english if path.suffix == ".py" and "Completed" in path.parts][:1],
            "html": [
                path
                for path in english
                if "Html" in path.parts and not {"Code-Along"} & set(path.parts)
            ],
        }

    def until(self, files, text, saved, results, name):
        for path in files:
            while text not in path.read_text():
                if time.monotonic() - saved > LIMIT:
                    sys.exit(f"{name}: {text} did not come to {path}")
                time.sleep(0.001)
        results.setdefault(name, []).append(time.monotonic() - saved)

    def until_served(self, path, text, saved, results, name):
        if not self.preview:
            return
        target, *rest = path.relative_to(self.root / "output").parts
        url = self.preview + "out/" + urllib.request.quote("/".join([target, *rest]))
        while text not in urllib.request.urlopen(url).read().decode():
            if time.monotonic() - saved > LIMIT:
                sys.exit(f"{name}: {text} is not at {url}")
        results.setdefault(name, []).append(time.monotonic() - saved)


def rss(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) / 1000


def digest(path):
    try:
        return hashlib.blake2b(path.read_bytes()).digest()
    except OSError:
        return None


def percentile(times, percent):
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)] * 1000


if __name__ == "__main__":
    main()
