"""Topics of generated courses: decks, diagrams, images, data, and what must be ignored."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from random import Random

from generate.decks import DeckPlan, deck
from generate.markdown import markdown_deck
from generate.languages import EXTENSIONS, comment
from generate.pictures import drawing, plantuml, png
from generate.settings import Settings
from generate.words import word

IGNORED = ["__pycache__/m.pyc", ".ipynb_checkpoints/a.ipynb", "build/a.txt", "obj/x.o", "own.egg-info/PKG", ".idea/w.xml", "img-large/a.png", "notes.bkp", "weights.keras", "blob.bin", ".clm/state.json", "old.bak/a.txt", "target/a.txt", "localdata/d.csv"]
DATA = ["data/{t}.csv", "data/{t} with blanks.txt", "{t}_module.{e}", "a/b/{t}.txt", "{t}.psd", "Größe_{t}.txt", ".hidden_{t}", "_private/{t}.txt", "{t}.webp", "img/{t}.txt", "imgdata/{t}.png", "empty_{t}.txt", "README_{t}.md", "{t}.ipynb", "data/{t}.de.csv", "{t}.en.txt", "img/{t}.mp4", "img-generated/{t}.webm", "img/{t}.de.mp3", "data/{t}.wav", "img-generated/{t}.txt"]


@dataclass
class Topic:
    """A written topic: its id and the stems of its decks."""

    id: str
    stems: list[str]
    module: str
    # CLM puts what a topic includes below the name of its file, where no deck finds it.
    is_file: bool = False
    # Links to a half, or to a topic of halves, lead nowhere in CLM's other language.
    has_halves: bool = False


class TopicWriter:
    """Writes the topics of one course."""

    def __init__(self, random: Random, root: Path, settings: Settings, token: str, earlier: list[Topic]):
        self.random, self.root, self.settings, self.token = random, root, settings, token
        self.topics = earlier

    def write(self, path: str, content: str | bytes) -> None:
        """Writes a file below the course root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def topic(self, module: str, number: int, id: str, language: str, is_executed: bool) -> Topic:
        """Writes a topic in a directory or as a single file."""
        random = self.random
        place = f"slides/{module}/topic_{100 + 10 * number}_{id}"
        plan = DeckPlan(language, is_executed, links=self._links())
        if random.random() < 0.15:
            return self._file_topic(module, place, id, plan)
        extension = EXTENSIONS[language]
        if random.random() < 0.3:
            plan.snippets.append(self._snippet(place, language))
        if random.random() < 0.45:
            plan.images += self._images(place, plan)
        stems = []
        for index in range(random.choice([1, 1, 1, 2])):
            stem = f"{random.choice(['slides', 'slides', 'slides', 'topic', 'project'])}_{word(random)}{index}"
            stems += self._decks(place, stem, extension, plan)
        if random.random() < 0.1:
            stem = f"slides_{random.choice(['a', 'z'])}_nested"
            self._decks(f"{place}/{random.choice(['more', 'extra/deep'])}", stem, extension, plan, may_split=False)
            stems.append(stem)
        self._files(place, extension)
        topic = Topic(id, stems, module, has_halves=any(stem.endswith((".de", ".en")) for stem in stems))
        self.topics.append(topic)
        return topic

    def _links(self) -> list[str]:
        links = ["clm:not_there"] if self.random.random() < 0.15 else []
        for topic in [it for it in self.topics[-3:] if not it.has_halves]:
            links.append(f"clm:{topic.id}")
            if topic.stems:
                links.append(f"clm:{topic.id}/{self.random.choice(topic.stems)}{self.random.choice(['', '#part'])}")
        return links if self.random.random() < 0.4 else []

    def _file_topic(self, module: str, place: str, id: str, plan: DeckPlan) -> Topic:
        image = f"img/{self.token}_{id}.png"
        self.write(f"slides/{module}/{image}", png(self.random))
        text = deck(self.random, plan)
        if self.random.random() < 0.5:
            sign = comment(plan.language)
            text = text.rstrip("\n") + f'\n\n{sign} %% [markdown]\n{sign} <img src="{image}" alt="x">\n'
        # A file topic is searched for imports, and CLM stops when it does not find what they name.
        text = re.sub(r"^import (\w+).*$", r"\1 = __import__('\1')", text, flags=re.MULTILINE)
        self.write(f"{place}.{EXTENSIONS[plan.language]}", text)
        topic = Topic(id, [Path(place).name], module, is_file=True)
        self.topics.append(topic)
        return topic

    def _decks(self, place: str, stem: str, extension: str, plan: DeckPlan, may_split: bool = True) -> list[str]:
        """Writes a deck, as a whole or in two halves, and perhaps its narration; gives the stems."""
        random = self.random
        if may_split and random.random() < 0.06 and plan.language == self.settings.language:
            self.write(f"{place}/{stem}.md", markdown_deck(random, plan))
            return [stem]
        if may_split and random.random() < 0.15:
            for half in ("de", "en"):
                text = deck(random, DeckPlan(**{**vars(plan), "half": half}))
                self.write(f"{place}/{stem}.{half}.{extension}", text)
                self._narration(place, f"{stem}.{half}", extension, text, half)
            return [f"{stem}.de", f"{stem}.en"]
        has_companion = may_split and random.random() < 0.15
        text = deck(random, DeckPlan(**{**vars(plan), "has_companion": has_companion}))
        self.write(f"{place}/{stem}.{extension}", text)
        if has_companion:
            self._narration(place, stem, extension, text, "")
        return [stem]

    def _narration(self, place: str, stem: str, extension: str, text: str, half: str) -> None:
        random = self.random
        sign = "#" if extension == "py" else "//"
        slides = re.findall(r"^(?:#|//) %% \[(?:markdown|md)\]((?: lang=\"..\")?(?: tags=\[[^\]]*\])?) slide_id=\"(s\d+)\"$", text, re.MULTILINE)
        if random.random() < 0.3:
            return
        # Narration belongs to what is shown, not to other narration.
        slides = [it for it in slides if "notes" not in it[0] and "voiceover" not in it[0]]
        cells = []
        for options, slide in random.sample(slides, random.randint(min(1, len(slides)), len(slides))):
            language = re.search(r' lang="(de|en)"', options)
            if "{" in options or " lang=" in options and not language:
                continue
            kind = random.choice(["voiceover", "voiceover", "notes"])
            lang = language.group(0) if language else f' lang="{half}"' if half else ""
            cells.append(f'{sign} %% [markdown]{lang} tags=["{kind}"] for_slide="{slide}"\n{sign} Spoken for {slide}\n')
        if cells:
            name = "voiceover_" + stem.split("_", 1)[1]
            directory = random.choice(["voiceover/", "voiceover/", ""])
            self.write(f"{place}/{directory}{name}.{extension}", "\n".join(cells))

    def _snippet(self, place: str, language: str) -> str:
        token = f"{self.token}_{place.rsplit('_', 1)[1]}"
        name = self.random.choice(["{}.txt", "parts/{}.txt", "{}.j2"]).format(f"snippet_{token}")
        sign = comment(language)
        self.write(f"{place}/{name}", self.random.choice([f"{sign} from a snippet\n", "included = 1;", f"{sign} {{{{ lang }}}}\n"]))
        return name

    def _images(self, place: str, plan: DeckPlan) -> list[str]:
        random = self.random
        images = []
        for directory, share in (("img", 0.8), ("img-generated", 0.2)):
            if random.random() < share:
                name = f"{self.token}_{word(random)}{random.randint(0, 9)}{random.choice(['', '', '', '.de', '.en', '.fr'])}.{random.choice(['png', 'png', 'jpg', 'gif', 'svg'])}"
                content = b"<svg xmlns='http://www.w3.org/2000/svg'/>" if name.endswith("svg") else png(random)
                self.write(f"{place}/{directory}/{name}", content)
                images.append(f"img/{name}")
        if random.random() < 0.3:
            plan.shows_tags = not self.settings.is_svg
            images.append(self._diagram(place, "pu", random.choice(["pu", "pu", "puml", "plantuml"]), plantuml(random)))
        if random.random() < 0.25:
            plan.shows_tags = not self.settings.is_svg
            images.append(self._diagram(place, "drawio", "drawio", drawing(random)))
        return images

    def _diagram(self, place: str, directory: str, extension: str, text: str) -> str:
        random = self.random
        stem = f"{self.token}_{directory}{random.randint(0, 99)}"
        for suffix in random.choice([[""], [""], [""], [".de", ".en"]]):
            self.write(f"{place}/{directory}/{stem}{suffix}.{extension}", text)
        if random.random() < 0.2:
            self.write(f"{place}/{directory}/about.txt", "stays here")
        return f"img/{stem}{suffix}.png"

    def _files(self, place: str, extension: str) -> None:
        random = self.random
        for name in random.sample(DATA, random.choice([0, 0, 1, 1, 2, 3])):
            # Topics of a section share a directory: names differ, so that no two sources want one place.
            path = name.format(t=f"{self.token}_{place.rsplit('_', 1)[1]}", e=extension)
            content = "" if path.startswith("empty") else f"{path} {random.randint(0, 999)}\n"
            self.write(f"{place}/{path}", png(random) if path.endswith("png") else content)
        for name in random.sample(IGNORED, random.choice([0, 0, 1, 2])):
            self.write(f"{place}/{name}", "ignored\n")
