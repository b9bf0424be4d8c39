"""Random valid courses. Course N of a seed is always the same; a batch of courses shares one specification, whose
settings come from the batch, so that one build makes all of them."""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from random import Random

from generate.courses import body
from generate.settings import settings


def batches(options: Namespace, work: Path) -> Iterator:
    """Writes one batch after the other below `work`."""
    from corpora import Course

    source = work / "generated-source"
    for index, first in enumerate(range(options.seed, options.seed + options.count, options.batch)):
        numbers = range(first, min(first + options.batch, options.seed + options.count))
        shutil.rmtree(source, ignore_errors=True)
        has_pages = options.html_every > 0 and index % options.html_every == options.html_every - 1
        arguments = write(source, numbers, has_pages)
        name = f"generated-{numbers[0]}-{numbers[-1]}"
        yield Course(name, source, "course-specs/course.xml", count=len(numbers), arguments=arguments)


def write(root: Path, numbers: range, has_pages: bool) -> tuple[str, ...]:
    """Writes the courses with these numbers as one; gives the arguments that a build of it needs."""
    batch = settings(Random(f"settings {numbers[0]} {has_pages}"), has_pages)
    sections, groups = [], []
    for number in numbers:
        own_sections, own_groups = body(Random(f"course {number} {has_pages}"), root, number, batch)
        sections += own_sections
        groups += own_groups
    elements = batch.elements + ["<sections>\n" + "\n".join(sections) + "\n</sections>"]
    if groups:
        elements.append("<dir-groups>\n" + "\n".join(groups) + "\n</dir-groups>")
    text = '<?xml version="1.0" encoding="UTF-8"?>\n<course>\n' + "\n".join(elements) + "\n</course>\n"
    file = root / "course-specs" / "course.xml"
    file.parent.mkdir(parents=True)
    file.write_text(text, "utf-8")
    return batch.arguments
