"""Courses: sections with topics, dir-groups and includes."""

from __future__ import annotations

from pathlib import Path
from random import Random
from xml.sax.saxutils import escape, quoteattr

from generate.settings import Settings
from generate.topics import Topic, TopicWriter
from generate.words import TITLES, word


def body(random: Random, root: Path, number: int, settings: Settings) -> tuple[list[str], list[str]]:
    """Writes the files of one course; gives its sections and its dir-groups as XML."""
    token = f"k{number:04d}"
    writer = TopicWriter(random, root, settings, token, [])
    maker = _CourseMaker(random, writer, settings, token)
    sections = [maker.section(index) for index in range(random.choice([1, 1, 2]))]
    groups = [maker.dir_group() for _ in range(random.choice([0, 0, 1, 2]))]
    return sections, groups


class _CourseMaker:
    def __init__(self, random: Random, writer: TopicWriter, settings: Settings, token: str):
        self.random, self.writer, self.settings, self.token = random, writer, settings, token
        self.count = 0

    def section(self, index: int) -> str:
        random = self.random
        module = f"{random.choice(['module_100', 'module_200', 'part'])}_{self.token}_{index}"
        topics = [self._topic(module) for _ in range(random.choice([1, 1, 2, 3]))]
        attributes = ""
        if random.random() < 0.4:
            attributes += f' id="{self.token}-{index}"'
        if random.random() < 0.15:
            attributes += f' module="{module}"'
        if random.random() < 0.15:
            attributes += random.choice([' enabled="true"', ' enabled="True"', ' optional="true"'])
        has_files = any(topic.is_file for topic in self.writer.topics if topic.module == module)
        xml = self._include() if random.random() < 0.12 and not has_files else ""
        if random.random() < 0.2:
            at = random.randint(0, len(topics))
            inner = "".join(topics[at:])
            extra = "<subsection enabled='false'><name>Off</name><topic>nowhere</topic></subsection>"
            activity = "<activity><de>Pause</de><en>Break</en></activity>" if random.random() < 0.3 else ""
            subsection = f'<subsection weekday="mon,tue"><name><de>Tag</de><en>Day</en></name>{inner}{activity}</subsection>'
            topics = topics[:at] + [subsection] + ([extra] if random.random() < 0.3 else [])
        text = f"<section{attributes}>{self._name(f'{self.token} {index}')}{xml}<topics>{''.join(topics)}</topics></section>"
        if random.random() < 0.12:
            text += f'\n<section enabled="false"><name>Off {self.token}</name><topics><topic>nowhere</topic></topics></section>'
        return text

    def _name(self, text: str) -> str:
        random = self.random

        def decorated() -> str:
            return escape(f"{text} {random.choice(TITLES)}" if random.random() < 0.3 else f"{text} {word(random)}")

        if random.random() < 0.3:
            return f"<name>{decorated()}</name>"
        return f"<name><de>{decorated()}</de><en>{decorated()}</en></name>"

    def _topic(self, module: str) -> str:
        random, settings = self.random, self.settings
        self.count += 1
        id = f"{self.token}_{word(random)}{self.count}".lower()
        language = settings.language
        attributes = ""
        needs_kernel = settings.has_pages and language == "python"
        if not settings.has_pages and random.random() < 0.06 and "code" not in settings.formats:
            language = random.choice(["cpp", "java", "python"])
        elif random.random() < 0.05 and not settings.has_pages:
            language = random.choice(["java", "typescript", "csharp"])
        topic = self.writer.topic(module, self.count, id, language, needs_kernel)
        if "html" in settings.formats and not needs_kernel:
            attributes += ' html="no"' if random.random() < 0.8 else ' html="yes"'
        elif random.random() < 0.1:
            attributes += ' html="no"'
        if random.random() < 0.15:
            attributes += random.choice([' evaluate="no"', ' evaluate="yes"', ' evaluate="false"'])
        if random.random() < 0.1:
            attributes += random.choice([' skip-errors="yes"', ' skip-errors="false"'])
        if random.random() < 0.12:
            attributes += f" author={quoteattr(random.choice(['Guest <x>', '', 'Zweite Autorin']))}"
        if random.random() < 0.12:
            attributes += self._bound(topic, language)
        if random.random() < 0.1:
            attributes += f' prog-lang="{language}"'
        children = ""
        if random.random() < 0.12 and not topic.is_file:
            children += self._include()
        if random.random() < 0.15:
            children += self.dir_group()
        if random.random() < 0.5:
            return f'<topic id="{topic.id}"{attributes}>{children}</topic>' if children else f'<topic id="{topic.id}"{attributes}/>'
        return f"<topic{attributes}>{random.choice(['', '  '])}{topic.id}{children}</topic>"

    def _bound(self, topic: Topic, language: str) -> str:
        """Binds a topic to its module; sometimes another module has a topic with that id."""
        if self.random.random() < 0.6:
            other = f"module_000_{self.token}_other"
            number = self.count
            links = self.writer.topics
            self.writer.topics = []
            self.writer.topic(other, number, topic.id, language, self.settings.has_pages)
            self.writer.topics = links
        return f' module="{topic.module}"'

    def _include(self) -> str:
        random = self.random
        self.count += 1
        source = f"common/{self.token}_{self.count}"
        self.writer.write(f"{source}/lib_{self.token}{self.count}.txt", f"shared {self.count}\n")
        self.writer.write(f"{source}/deep/more_{self.token}{self.count}.csv", "1,2\n")
        self.writer.write(f"{source}/__pycache__/x.pyc", "ignored")
        if random.random() < 0.4:
            name = f"lib_{self.token}{self.count}.txt"
            renamed = f' as="in/{self.token}_{self.count}.txt"' if random.random() < 0.5 else ""
            return f'<include source="{source}/{name}"{renamed}/>'
        renamed = f' as="included_{self.token}_{self.count}"' if random.random() < 0.5 else ""
        missing = '<include source="common/missing" optional="true"/>' if random.random() < 0.2 else ""
        return f'<include source="{source}"{renamed}/>{missing}'

    def dir_group(self) -> str:
        random = self.random
        self.count += 1
        path = f"code/{self.token}_{self.count}"
        for file in ("root.txt", "a/one.txt", "a/deep/two.py", "b/three.txt", "b/.hidden", "a/__pycache__/x.pyc", "b/build/out.o"):
            self.writer.write(f"{path}/{file}", f"{file} {random.randint(0, 99)}\n")
        if random.random() < 0.2:
            (self.writer.root / path / "b" / "nothing").mkdir()
        names = [f"Code/{self.token}{self.count}", f"{self.token}{self.count}", f"Größe {self.token}: x{self.count}", f"a\\{self.token}{self.count}"]
        first, second = random.choice(names), random.choice(names)
        name = f"<name><de>{first}</de><en>{second}</en></name>" if random.random() < 0.5 else f"<name>{first}</name>"
        subdirs = random.choice(["", "", "<subdirs><subdir>a</subdir></subdirs>", "<subdirs><subdir>a</subdir><subdir>b</subdir></subdirs>"])
        attributes = random.choice(["", "", ' include-root-files="true"', ' recursive="false"', ' recursive="false" include-root-files="true"', ' lang="de"', ' lang="en" include-root-files="true"'])
        return f"<dir-group{attributes}>{name}<path>{path}</path>{subdirs}</dir-group>"
