"""What holds for a whole course: everything in its specification besides sections and dir-groups."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from xml.sax.saxutils import escape

KINDS = ["code-along", "completed", "trainer", "recording", "partial", "speaker"]


@dataclass
class Settings:
    """The settings of a batch of courses."""

    language: str
    has_pages: bool
    formats: set[str]
    elements: list[str]
    arguments: tuple[str, ...]
    shares_images: bool
    is_svg: bool


def settings(random: Random, has_pages: bool) -> Settings:
    """Draws settings. With `has_pages` decks are Python and are executed."""
    language = "python"
    if not has_pages and random.random() < 0.35:
        language = random.choice(["cpp", "csharp", "java", "typescript"])
    targets, formats = _targets(random, has_pages)
    shares_images = random.random() < 0.1
    is_svg = random.random() < 0.25
    elements = [_multilang(random, "name", ["Kurs {x}", "C# {y} [z] a|b*", "Ein Kurs: Teil 1", "Course"])]
    elements.append(f"<prog-lang>{language}</prog-lang>")
    slug = random.random()
    if slug < 0.5:
        elements.append("<project-slug>my-course</project-slug>")
    elif slug < 0.65:
        elements.append("<github><project-slug>from-github</project-slug></github>")
    if random.random() < 0.6:
        elements.append(random.choice(["<author>A. Author</author>", "<author>Jörg &amp; Ann</author>", "<author/>"]))
    organization = random.random()
    if organization < 0.2:
        elements.append("<organization/>")
    elif organization < 0.6:
        elements.append(_multilang(random, "organization", ["Schule & Co", "Academy", "Institut für x"]))
    if random.random() < 0.2:
        elements.append(_multilang(random, "description", ["About"]))
        elements.append(_multilang(random, "certificate", ["<b>Paper</b>"]))
    image_options = "<format>svg</format>" if is_svg else random.choice(["", "<format>png</format>"])
    if random.random() < 0.2 and not shares_images:
        image_options += f"<inline>{random.choice(['true', 'false', 'True'])}</inline>"
    if image_options:
        elements.append(f"<image-options>{image_options}</image-options>")
    elements += targets
    random.shuffle(elements)
    arguments = ("--image-mode", "shared") if shares_images else ()
    return Settings(language, has_pages, formats, elements, arguments, shares_images, is_svg)


def _multilang(random: Random, tag: str, texts: list[str]) -> str:
    first, second = escape(random.choice(texts)), escape(random.choice(texts))
    form = random.random()
    if form < 0.3:
        return f"<{tag}>{first}</{tag}>"
    if form < 0.4:
        only = random.choice(["de", "en"])
        return f"<{tag}><{only}>{first}</{only}></{tag}>"
    return f"<{tag}><de>{first}</de><en>{second}</en></{tag}>"


def _targets(random: Random, has_pages: bool) -> tuple[list[str], set[str]]:
    """Output targets, and all formats in them."""
    allowed = ["notebook", "code"] + (["html"] if has_pages else [])
    if random.random() < 0.3:
        return [], {"html", "notebook", "code"}
    used: set[str] = set()
    targets = []
    for number in range(random.choice([1, 1, 2, 3])):
        formats = random.sample(allowed, random.randint(1, len(allowed)))
        if has_pages and number == 0 and "html" not in formats:
            formats.append("html")
        used.update(formats)
        parts = [f"<path>output/{random.choice(['t', 'deep/dir'])}{number}</path>"]
        if random.random() < 0.8:
            kinds = random.sample(KINDS, random.randint(1, 4))
            if "speaker" in kinds and "recording" in kinds:
                kinds.remove("speaker")
            parts.append("<kinds>" + "".join(f"<kind>{kind}</kind>" for kind in kinds) + "</kinds>")
        parts.append("<formats>" + "".join(f"<format>{it}</format>" for it in formats) + "</formats>")
        if random.random() < 0.4:
            languages = random.choice([["de"], ["en"], ["de", "en"]])
            parts.append("<languages>" + "".join(f"<language>{it}</language>" for it in languages) + "</languages>")
        targets.append(f'<output-target name="target{number}">' + "".join(parts) + "</output-target>")
    return ["<output-targets>" + "".join(targets) + "</output-targets>"], used
