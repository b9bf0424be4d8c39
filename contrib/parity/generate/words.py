"""Words, titles and prose of generated courses."""

from __future__ import annotations

from random import Random

WORDS = "alpha beta gamma delta Werte Größe méthode Übung data model Straße point".split()
TITLES = ["C# basics", "Was ist das?", "One: a/b [start]", "x < y & z", "50% more", "A {b} c", "Ends.", "...", "Tab|bar", "Größe", "$5^2", "Why!", "a; b", "# hash", "it's", "back`tick", "eq=al*", "a € b", "a\\\\b"]
PROSE = [
    ["Some *emphasis*, **strong** and `code`."],
    ["- one", "- two", "    - nested", "- three"],
    ["1. first", "2. second", "", "   continued"],
    ["| a | b |", "|---|---|", "| 1 | 2 |"],
    ["$$", "x^2 + y_1", "$$", "and inline $a < b$"],
    ["> a quotation", "> of two lines"],
    ["<div class=\"own\">", "  inner", "</div>"],
    ["A line", "another with trailing blanks  ", "and a third"],
    ["[link](http://example.org/a_b_c) and https://example.org"],
    ["äöü ß € … “quoted”"],
    ["---", "", "### Smaller"],
    ["    indented code"],
    ["<!-- a comment -->", "after it"],
    ["* [ ] task", "* [x] done"],
    ["a\\_b \\* c"],
]


def word(random: Random) -> str:
    return random.choice(WORDS)


def heading(random: Random) -> str:
    return f"{word(random)} {word(random)}"


def title(random: Random) -> str:
    """A title of a deck; some need sanitising."""
    if random.random() < 0.35:
        return f"{random.choice(TITLES)} {random.randint(0, 99)}"
    return f"{word(random).title()} {word(random)} {random.randint(0, 99)}"


def prose(random: Random, language: str) -> list[str]:
    """Lines of Markdown."""
    if random.random() < 0.12:
        return ["```" + language, "a = 1", "", "```"]
    if random.random() < 0.04:
        sign = "#" if language == "python" else "//"
        return ["```", f"{sign} %% no cell", "```"]
    return list(random.choice(PROSE))
