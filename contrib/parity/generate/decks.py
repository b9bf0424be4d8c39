"""Decks in the percent format, with every tag, header and marker form."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from generate.languages import code, comment
from generate.words import heading, prose, title

CODE_TAGS = ["keep", "start", "alt", "completed", "del", "notes", "voiceover", "private", "slide", "subslide", "answer"]
TEXT_TAGS = ["notes", "voiceover", "answer", "alt", "completed", "del", "private", "slide", "subslide", "start", "nodataurl"]


@dataclass
class DeckPlan:
    """What a deck may use."""

    language: str
    is_executed: bool
    # Whether one of two halves: "de", "en", or "" for both languages.
    half: str = ""
    images: list[str] = field(default_factory=list)
    snippets: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    has_companion: bool = False
    # CLM spoils all `<img src="img/...">` of a topic with diagrams in a course with SVG pictures.
    shows_tags: bool = True


def deck(random: Random, plan: DeckPlan) -> str:
    """The text of a deck."""
    sign = comment(plan.language)
    parts = [_beginning(random, plan, sign), _header(random, plan, sign)]
    open_workshop = False
    for number in range(random.randint(3, 8)):
        if random.random() < 0.12:
            parts.append(_workshop(random, plan, sign, number, open_workshop))
            open_workshop = not open_workshop
        else:
            parts.append(_cell(random, plan, sign, number))
        parts.append("\n" * random.choice([1, 1, 1, 1, 2, 2, 3, 4, 0]))
    text = "".join(parts)
    ending = random.random()
    if ending < 0.1:
        text = text.rstrip("\n")
    elif ending < 0.8:
        text = text.rstrip("\n") + "\n"
    return text.replace("\n", "\r\n") if random.random() < 0.03 else text


def _beginning(random: Random, plan: DeckPlan, sign: str) -> str:
    chance = random.random()
    if plan.language == "python":
        if chance < 0.05:
            return "#!/usr/bin/env python3\n"
        if chance < 0.1:
            return "# -*- coding: utf-8 -*-\n"
        if chance < 0.13:
            return "#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\n"
        if chance < 0.17:
            return "# ---\n# jupyter:\n#   jupytext:\n#     text_representation:\n#       extension: .py\n# ---\n\n"
    if chance < 0.22:
        return "\n"
    if chance < 0.27:
        return f"{sign} a comment before everything\n\n"
    return ""


def _header(random: Random, plan: DeckPlan, sign: str) -> str:
    if random.random() < 0.12:
        return ""
    quote = random.choice(["\"", "\"", "\"", "'"])
    space = random.choice([" ", " ", " ", ""])

    def quoted(text: str) -> str:
        return quote + text.replace(quote, "") + quote

    name = {"de": "header_de", "en": "header_en"}.get(plan.half, "header")
    arguments = quoted(title(random))
    if name == "header":
        arguments += random.choice([", ", ", ", ","]) + quoted(title(random))
    elif random.random() < 0.2:
        name, arguments = "header", arguments + ", " + quoted(title(random))
    load = f"{sign} j2 from 'macros.j2' import {name}\n"
    if random.random() < 0.1:
        load = f'{sign} {{% from "macros.j2" import {name} %}}\n'
    call = f"{sign} {{{{{space}{name}({arguments}){space}}}}}\n"
    return load + call + "\n" * random.choice([1, 1, 1, 1, 0, 2])


def _workshop(random: Random, plan: DeckPlan, sign: str, number: int, is_open: bool) -> str:
    if is_open and random.random() < 0.6:
        kind = random.choice([" [markdown]", ""])
        return f'{sign} %%{kind} tags=["end-workshop"]\n' + (f"{sign} End\n" if kind else "")
    if random.random() < 0.5:
        options = 'tags=["workshop"]'
    else:
        options = f'tags=["{random.choice(["slide", "subslide"])}"] slide_id="workshop-{number}"'
    language = _language(random, plan)
    if plan.is_executed:
        # CLM's pages know no workshop that a cell of the other language opens; its notebooks do.
        language = ""
    return f"{sign} %% [markdown]{language} {options}\n{sign} ## Workshop {number}\n"


def _language(random: Random, plan: DeckPlan) -> str:
    if plan.half:
        return f' lang="{plan.half}"' if random.random() < 0.5 else ""
    return random.choice(["", "", "", ' lang="de"', ' lang="en"', ' lang="fr"' if random.random() < 0.1 else ""])


def _cell(random: Random, plan: DeckPlan, sign: str, number: int) -> str:
    chance = random.random()
    if chance < 0.48:
        return _code_cell(random, plan, sign, number)
    if chance < 0.94:
        return _text_cell(random, plan, sign, number)
    return f"{sign} %% [raw]{_language(random, plan)}{_tags(random, TEXT_TAGS)}\n{sign} raw {number}\n{sign}\n{sign} <b>text</b>\n"


def _tags(random: Random, choices: list[str], share: float = 0.55) -> str:
    if random.random() > share:
        return ""
    tags = random.sample(choices, random.choice([1, 1, 1, 2]))
    # Which of two slide types wins is decided by a set's order in CLM.
    types = [tag for tag in tags if tag in ("slide", "subslide", "notes", "voiceover")]
    tags = [tag for tag in tags if tag not in types[1:]]
    if random.random() < 0.1:
        tags.append(random.choice(["_own", "extra", "allow-untranslated"]))
    if random.random() < 0.1:
        return " tags=[" + ", ".join(f"'{tag}'" for tag in tags) + "]"
    return " tags=[" + ", ".join(f'"{tag}"' for tag in tags) + "]"


def _marker(random: Random, sign: str, kind: str, options: str) -> str:
    marker = random.choice([f"{sign} %%"] * 12 + [f"{sign}%%", f"{sign} %%%"])
    if random.random() < 0.08:
        marker += random.choice([" A title", " Some: title-text", " Titel mit ä"])
    if random.random() < 0.06:
        options += random.choice([' name="value"', " number=1", " flag=true", " list=[1, 2]", ' slide_type="x"', " free", ' section_name="x"'])
    return marker + kind + options + "\n"


def _code_cell(random: Random, plan: DeckPlan, sign: str, number: int) -> str:
    options = _language(random, plan) + _tags(random, CODE_TAGS)
    if random.random() < 0.1:
        options += f' slide_id="code-{number}"'
    if random.random() < 0.03:
        options = random.choice([" tags=[keep]", ' {"tags": ["keep"], "lang": "en"}', " lang=en"])
    body = _jinja_code(random, plan, sign) if random.random() < 0.14 else code(random, plan.language, plan.is_executed)
    if random.random() < 0.04:
        return _marker(random, sign, "", options)
    blank = random.choice(["", "", "", "", "\n"])
    return _marker(random, sign, "", options) + blank + body + "\n"


def _jinja_code(random: Random, plan: DeckPlan, sign: str) -> str:
    value = {"python": 'value = "{}"', "cpp": 'auto value = "{}";'}.get(plan.language, 'var value = "{}";')
    text = value.format
    choices = [
        f"{{% raw %}}{text('{{ kept }}')}{{% endraw %}}",
        text("{{ lang }}"),
        text("{{ author }} {{ organization }}"),
        f"{{% if is_notebook %}}{text('notebook')}{{% elif is_html %}}{text('page')}{{% else %}}{text('script')}{{% endif %}}",
        f"{sign} j2 if lang == 'de'\n{text('deutsch')}\n{sign} j2 else\n{text('english')}\n{sign} j2 endif",
        f"{sign} j2 for i in range(2)\n{text('{{ i }}')}\n{sign} j2 endfor",
        f"{{# a comment of the template #}}{text('after')}",
        f"{{% set count = 3 %}}{text('{{ count * 2 }}')}",
        text("{{ 'a,b' | upper }} {{ [1, 2] | join('-') }}"),
    ]
    choices += [f"{{% include '{name}' %}}" for name in plan.snippets]
    return random.choice(choices)


def _text_cell(random: Random, plan: DeckPlan, sign: str, number: int) -> str:
    options = _language(random, plan) + _tags(random, TEXT_TAGS)
    if random.random() < 0.2 or plan.has_companion:
        options += f' slide_id="s{number}"'
    lines = _text(random, plan, number)
    kind = random.choice([" [markdown]"] * 9 + [" [md]"])
    marker = _marker(random, sign, kind, options)
    if plan.language == "python" and random.random() < 0.08:
        quotes = random.choice(['"""', '"""', "'''"])
        return marker + quotes + "\n" + "\n".join(lines) + "\n" + quotes + "\n"
    form = random.random()
    written = [f"{sign} {line}".rstrip() if line else sign for line in lines]
    if form < 0.1:
        written = [f"{sign}{line}" for line in lines]
    elif form < 0.15:
        written.insert(random.randint(0, len(written)), "a line without a comment sign")
    elif form < 0.25:
        written = [line if line != sign else "" for line in written]
    elif form < 0.35:
        written.insert(0, sign)
    return marker + "\n".join(written) + "\n"


def _text(random: Random, plan: DeckPlan, number: int) -> list[str]:
    lines = [f"## {heading(random)} {number}", "", *prose(random, plan.language)]
    if plan.images and random.random() < 0.5:
        image = random.choice(plan.images)
        form = random.choice(['<img src="{}">', '<img src="{}" alt="x" width="50%"/>', "![alt]({})"])
        lines += ["", (form if plan.shows_tags else "![alt]({})").format(image)]
    if plan.links and random.random() < 0.5:
        lines.append(f"See [the other]({random.choice(plan.links)}) and [this](https://example.org).")
    if random.random() < 0.05:
        lines += ["", "{{ lang }} {% if is_html %}page{% endif %}"]
    return lines
