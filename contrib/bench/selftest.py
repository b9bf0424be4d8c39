#!/usr/bin/env python3
"""Proves that a report tells the same figures everywhere, replaces nothing but them, and is written whole or not at all.

Works on a small measurement that this test makes up, and on a project of two documents in a temporary directory.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import publish
import report
import results
from results import Problem

HERE = Path(__file__).resolve().parent
MACHINE = {"cores": 2, "processor": "P", "memory_gb": 8.0, "system": "S", "file_system": "F", "load_at_start": 0.1}


def runs(*walls: float, quiet: bool = True) -> list[dict]:
    return [{"wall": wall, "cpu": 2 * wall, "rss": 10.0, "rss_tree": 20.0, "foreign": 0.0, "quiet": quiet} for wall in walls]


def contender(*walls: float, failures: int = 0, quiet: bool = True) -> dict:
    command = "/somewhere/bin/prog build"
    return {"command": command, "runs": runs(*walls, quiet=quiet), "failures": [{"problem": "p"}] * failures}


def build(topics: int, scenario: str, contenders: dict) -> dict:
    shape = {"topics": topics, "kinds": ["completed"], "formats": ["html"], "languages": ["de", "en"]}
    versions = {name: f"{name} 1" for name in contenders}
    head = {"topics": topics, "scenario": scenario, "shape": shape, "outputs": 1234, "versions": versions}
    return {**head, "contenders": contenders}


def watch() -> dict:
    edits = {"outputs": 3, "first": [0.010, 0.020, 0.030], "last": [0.040, 0.050, 0.090], "served": [0.060] * 3}
    idle = {"cpu_percent": 0.0, "rss": 22.0, "rss_tree": 300.0, "processes": 7}
    clm = {"command": "clm watch", "idle": idle, "edits": {"prose": edits, "code": {"problem": "missed"}}}
    return {"topics": 10, "contenders": {"clm": clm, "CLM": {"problem": "no watchdog"}}}


def contest(queue: str, rate: float) -> dict:
    claim = {"p50": 0.02, "p99": 0.1, "max": 5.0}
    counts = {"least": 5, "most": 9, "twice": 0, "errors": 0}
    return {"queue": queue, "processes": 2, "threads": 1, "waiting": 200, "jobs_per_s": rate, "claim_ms": claim, **counts}


def measurement() -> dict[str, dict]:
    """All JSON files of a measurement."""
    start = {"run_started": 0.01, "first_job_started": 0.02, "output": 0.03, "run_finished": 0.04}
    asked = {"command": "clm build", "runs": [{**run, "daemon_cpu": 0.05} for run in runs(0.0086)]}
    memory = {"clm": 22.04, "rest": 21.238, "tree": 299.0}
    grouped = {**contest("store", 6000.0), "processes": 1, "threads": 8}
    cold = {"clm": contender(17.44, 17.4, 18.3), "limit": contender(14.9, quiet=False), "CLM": contender(failures=1)}
    data = {
        "build-10-cold": build(10, "cold", {"clm": contender(6.9), "limit": contender(5.6)}),
        "build-50-cold": build(50, "cold", cold),
        "build-50-noop": build(50, "noop", {"clm": contender(0.0134), "CLM": contender(10.8), "stat": contender(0.0226)}),
        "starting": {"topics": 10, "version": {"clm": {"runs": runs(0.0017)}}, "first_job": [start]},
        "daemon": {"topics": 10, "memory": memory, "contenders": {"daemon": asked}},
        "watch": watch(),
        "racy": {"ninja": {"tries": 100, "missed": 0, "missed_for_good": 0}},
        "queue": {"contests": [contest("bare", 1000.0), contest("store", 700.0), grouped]},
        "micro": {"medians": {"key, 8": "2.3 µs"}},
    }
    dates = dict(zip(sorted(data), (f"2026-01-02 03:{minute:02}" for minute in range(60))))
    return {name: {"part": name, "date": dates[name], "machine": MACHINE, "data": one} for name, one in data.items()}


class ReportTest(unittest.TestCase):
    def setUp(self):
        self.found = results.condense(measurement())

    def test_results_are_read_as_they_were_written(self):
        text = results.text(self.found)
        self.assertEqual(json.loads(text), self.found)
        self.assertEqual(results.text(json.loads(text)), text)
        self.assertLessEqual(max(map(len, text.splitlines())), results.WIDTH + 60)

    def test_the_document_tells_medians_spread_noise_and_failures(self):
        text = report.document(self.found)
        for line in [
            "- 2026-01-02 03:00 to 2026-01-02 03:08 (UTC)",
            "| cold build | 17.4 | ~14.9 (0.85x) |  | failed |",
            "| nothing to do | 0.013 |  | 0.023 (1.7x) | 10.8 (810x) |",
            "| cold build, clm | 3 | 17.4 (17.4 - 18.3) | 34.88 | 10 | 20 | 0.00 |",
            "| cold build of 10 topics: first output | 30.0 | 1 |",
            "The daemon has 22 MB at its most and 21.2 MB at rest, then with its workers 299 MB.",
            "| one prose edit | clm | 20 | 50 | 90 | 60 | 3 | 3 |",
            "- clm, code: missed.",
            "- CLM: no watchdog.",
            "| store | 2 | 700 | 70 % | 0.02 | 0.1 | 5 | 5 - 9 | 0 | 0 | rate |",
            "Threads of one process, whose writes are committed together: 8: 6000 jobs/s.",
            "| key, 8 | 2.3 µs |",
            "- clm, cold: `prog build`",
        ]:
            self.assertIn(line, text)
        self.assertIn("growth-cold.svg", text)
        self.assertNotIn("growth-noop.svg", text)

    def test_documents_have_the_cells_of_the_report(self):
        tables, brief = report.tables(self.found), report.brief(self.found)
        self.assertIn("| cold build | 17.4 | ~14.9 (0.85x) | failed |", tables)
        self.assertIn("| one prose edit | clm | 20 | 50 | 90 | 60 | 3 | 3 |", tables)
        self.assertIn("one prose edit 50\n", brief)
        self.assertIn("cold build 17.4; nothing to do 0.013", brief)
        self.assertLessEqual(max(map(len, brief.splitlines())), report.LINE)

    def test_results_without_what_documents_show_are_an_error(self):
        for name in ("build-50", "watch"):
            parts = {part: one for part, one in measurement().items() if not part.startswith(name)}
            with self.assertRaisesRegex(Problem, "50 topics" if name == "build-50" else "watch"):
                report.tables(results.condense(parts))


class PublishTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.project = Path(directory.name)
        self.results = self.project / publish.STORED
        self.results.mkdir(parents=True)
        self.found = results.condense(measurement())
        for name in publish.BLOCKS:
            file = self.project / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"before\r\n{publish.BEGIN}\nold\n{publish.END}\nafter", newline="")

    def texts(self, found: dict | None = None) -> dict[Path, str]:
        return publish.files(found or self.found, self.results, self.project)

    def contents(self) -> dict[Path, bytes]:
        return {file: file.read_bytes() for file in self.project.rglob("*") if file.is_file()}

    def test_only_the_block_is_replaced_and_a_second_report_changes_nothing(self):
        publish.write(self.texts())
        for name, figures in publish.BLOCKS.items():
            expected = f"before\r\n{publish.BEGIN}\n{figures(self.found)}\n{publish.END}\nafter"
            self.assertEqual((self.project / name).read_bytes().decode(), expected)
        written = self.contents()
        self.assertEqual(publish.differing(self.texts()), [])
        publish.write(self.texts(results.load(self.results / results.FILE)))
        self.assertEqual(self.contents(), written)

    def test_a_missing_or_doubled_marker_names_the_file_and_nothing_is_written(self):
        begin, end = publish.BEGIN, publish.END
        wrong = [f"{begin}\n", f"{end}\n", "", f"{begin}\n{end}\n{begin}\n{end}\n", f"{begin}\n{begin}\n{end}\n"]
        wrong += [f"{end}\n{begin}\n", f"{begin}\n{end}\n{end}\n", f" {begin}\n{end}\n", f"{begin}\n{end}\ntext {begin}\n"]
        for name in publish.BLOCKS:
            right = (self.project / name).read_bytes()
            for text in wrong:
                (self.project / name).write_text(text)
                before = self.contents()
                with self.subTest(f"{name}: {text!r}"), self.assertRaisesRegex(Problem, f"^{name}: "):
                    publish.write(self.texts())
                self.assertEqual(self.contents(), before)
            (self.project / name).write_bytes(right)

    def test_a_file_that_cannot_be_written_leaves_all_as_they_were(self):
        before = self.contents()
        with self.assertRaises(OSError):
            publish.write({**self.texts(), self.project / "no such directory" / "file": ""})
        self.assertEqual(self.contents(), before)

    def test_every_difference_is_found(self):
        publish.write(self.texts())
        for file in self.texts():
            right = file.read_bytes()
            file.write_bytes(right.replace(b"17.4", b"17.3") if b"17.4" in right else right + b" ")
            self.assertIn(file, publish.differing(self.texts()))
            file.unlink()
            self.assertEqual(publish.differing({file: right.decode()}), [file])
            file.write_bytes(right)
        other = copy.deepcopy(self.found)
        other["builds"][1]["scenarios"]["cold"]["clm"]["wall"] = 16.0
        names = {file.name for file in publish.differing(self.texts(other))}
        self.assertEqual(names, {"results.json", "RESULTS.md", "growth-cold.svg", "README.md", "performance.md"})

    def test_a_report_elsewhere_has_no_part_in_the_documents(self):
        elsewhere = self.project / "elsewhere"
        names = {file.parent for file in publish.files(self.found, elsewhere, self.project)}
        self.assertEqual(names, {elsewhere})


class CommandTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.out = Path(directory.name, "out")
        self.out.mkdir()

    def report(self, *arguments: object) -> tuple[int, str]:
        command = [sys.executable, str(HERE / "run.py"), "report", *map(str, arguments)]
        said = subprocess.run(command, capture_output=True, text=True)
        return said.returncode, said.stdout + said.stderr

    def test_the_report_of_a_measurement_is_checked(self):
        code, said = self.report("--out", self.out)
        self.assertEqual((code, said), (1, f"no report: {self.out}: there is no result of any part\n"))
        for name, part in measurement().items():
            (self.out / f"{name}.json").write_text(json.dumps(part))
        self.assertEqual(self.report("--out", self.out, "--check")[0], 1)
        self.assertFalse((self.out / "RESULTS.md").exists())
        # The second time results.json is there, and is no part.
        for _ in range(2):
            self.assertEqual(self.report("--out", self.out), (0, ""))
        self.assertEqual(self.report("--results", self.out, "--check"), (0, ""))
        document = self.out / "RESULTS.md"
        document.write_text(document.read_text().replace("17.4", "16.4"))
        code, said = self.report("--out", self.out, "--check")
        self.assertEqual((code, said), (1, f"{document} is not what `contrib/bench/run.py report` writes\n"))


if __name__ == "__main__":
    sys.exit(unittest.main())
