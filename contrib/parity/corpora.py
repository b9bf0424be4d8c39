"""The corpora: where courses come from."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import compare
from builders import Builders, Run
from outcome import Outcome, different

SHARED_SPECS = [f"course-specs/test-spec-{number}.xml" for number in range(1, 6)]

# CLM takes a module that a file topic imports for a file beside the topic, and stops when there is none.
EDITS = {
    "demo": [
        (
            "slides/module_010_seeing_data/topic_030_spread.py",
            "from statistics import mean, median",
            'mean, median = (getattr(__import__("statistics"), name) for name in ("mean", "median"))',
        )
    ]
}


@dataclass
class Course:
    """A course on disk, possibly a batch of several."""

    name: str
    root: Path
    spec: str
    count: int = 1
    # Topics fail on purpose: only what both made is compared.
    is_broken: bool = False
    arguments: tuple[str, ...] = ()


@dataclass
class Corpus:
    """Some courses."""

    name: str
    options: Namespace
    project: Path

    def courses(self, work: Path) -> Iterator[Course]:
        """The courses, one after the other; generated ones are written just before they are needed."""
        options = self.options
        if self.name == "given":
            spec = Path(options.course).resolve()
            root = spec.parent if (spec.parent / "slides").is_dir() else spec.parent.parent
            yield Course("given", root, spec.relative_to(root).as_posix())
        elif self.name == "shared":
            for data in sorted(options.shared.glob("*/course-specs")):
                for spec in SHARED_SPECS:
                    if (data.parent / spec).exists():
                        yield Course(Path(spec).stem, data.parent, spec)
        elif self.name == "generated":
            from generate import batches

            yield from batches(options, work)
        else:
            root = self.project / "fixtures" / self.name
            yield Course(self.name, root, "course.xml", is_broken=self.name == "broken")


def chosen(options: Namespace, project: Path) -> list[Corpus]:
    """The corpora that were asked for."""
    names = ["given"] if options.course else options.corpus.split(",")
    return [Corpus(name, options, project) for name in names]


def compared(course: Course, builders: Builders) -> tuple[list[Outcome], tuple[Run, Run]]:
    """Builds a course with both and compares all outputs of all targets."""
    theirs, ours, their_run, our_run = builders.compared(
        course.root, course.spec, course.name, EDITS.get(course.name, ()), course.arguments
    )
    sides = builders.sides(theirs, ours)
    outcomes = []
    if not course.is_broken:
        for name, run in (("CLM", their_run), ("clm", our_run)):
            if not run.succeeded:
                outcomes.append(different("(build)", f"{name} failed with {run.code}:\n{run.said[-6000:]}"))
    for root in sorted(_output_roots(theirs) | _output_roots(ours)):
        for outcome in compare.trees(theirs / root, ours / root, sides, course.is_broken):
            outcome.path = f"{root}/{outcome.path}"
            outcomes.append(outcome)
    if not outcomes:
        outcomes.append(different("(build)", "nothing was built"))
    return outcomes, (their_run, our_run)


def _output_roots(root: Path) -> set[str]:
    """What a build made at the course root."""
    return {path.name for path in root.iterdir() if path.is_dir() and path.name.startswith("output")}
