"""Decks in Markdown."""

from __future__ import annotations

from random import Random

from generate.languages import code
from generate.words import heading, prose


def markdown_deck(random: Random, plan) -> str:
    """A deck whose code cells are fenced blocks in the deck's language."""
    parts = []
    for number in range(random.randint(3, 7)):
        form = random.random()
        if form < 0.4:
            options = random.choice(["", "", ' tags=["keep"]', ' lang="de"', ' tags=["alt"] lang="en"', ' tags=["start"]'])
            parts.append(f"```{plan.language}{options}\n{code(random, plan.language, True)}\n```\n")
        elif form < 0.55:
            options = random.choice(['tags=["notes"]', 'lang="de"', 'lang="en" tags=["slide"]', 'tags=["voiceover"]'])
            parts.append(f"<!-- #region {options} -->\nRegion {number}\n\nand more\n<!-- #endregion -->\n")
        else:
            parts.append(f"## {heading(random)} {number}\n\n" + "\n".join(prose(random, "bash")) + "\n")
    return random.choice(["\n", "\n", "\n\n"]).join(parts)
