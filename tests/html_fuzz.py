"""Compares pages put together from cells with nbconvert's own, for random cells full of broken HTML.

Arguments: the directory of html_fragments.py, the first seed, how many. Prints what differs; the exit status is 1 then.
"""

import logging
import random
import re
import sys
import warnings

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])

from html_fragments import Fragments
from nbconvert import HTMLExporter
from nbformat import v4

TEXTS = [
    "word", "a & b", "&amp;", "&nbsp", "1 < 2 > 0", "`x<y`", "$a<b$", "$$\nx\n$$", "\t", "  ", "\u00a0", "ü\u2028",
    "# Title", "- one\n- two\n\n  more", "1. a\n   - b", "| a | b |\n|---|---|\n| 1 | 2 |", "> quote", "```python\nx\n```",
    "![no alt](img/a.png)", "![](a.png)", "[link](http://x)", "[^1]\n\n[^1]: note", "<http://x>", "\\\\", "***",
]
TAGS = [
    "<div>", "</div>", "<div class='b a'>", "<p>", "</p>", "<b>", "</b>", "<br>", "</br>", "<br/>", "<img src=a>",
    "<img src='a' alt=''>", "<input disabled>", "<table><tr><td>1", "</table>", "<ul><li>a<li>b</ul>", "<pre> a\n\n b</pre>",
    "<textarea> a\n\n</textarea>", "<script>", "</script>", "<script>if (a < b) {}</script>", "<style>a > b {}</style>",
    "<!-- open", "-->", "<!-- <b> -->", "<!DOCTYPE x>", "<?php x ?>", "<![CDATA[ x ]]>", "<svg><path d='M0'/></svg>",
    "</main>", "</body>", "</html>", "<body>", "<html lang=x>", "<x-own a>", "</x-own>", "<x-clm-cell>", "</x-clm-end>",
    "<p", "<div class=\"", "\"", "'", "<", "</", "<iframe src=a></iframe>", "<details><summary>s</summary>\n\nt\n\n</details>",
    "<div class='jp-Notebook'><div class='jp-OutputArea-output'></div></div>", "<title>t</title>", "<noscript>",
]
MIMES = ["text/plain", "text/html", "text/markdown", "text/latex", "image/svg+xml", "image/png", "application/json"]
SOURCES = ["", "x = 1", "%%html\n<b>", "%%bash\nls <a", "'''open", "if a < b:\n    print('ü')", "%time x", "\n\n"]


def text(rng, longest=4):
    pieces = [rng.choice(rng.choice([TEXTS, TAGS])) for _ in range(rng.randint(0, longest))]
    return rng.choice(["", " ", "\n", "\n\n"]).join(pieces)


def output(rng):
    kind = rng.choice(["stream", "error", "display_data", "execute_result"])
    if kind == "stream":
        return v4.new_output(kind, name=rng.choice(["stdout", "stderr"]), text=text(rng) + "\x1b[31mred\x1b[0m")
    if kind == "error":
        return v4.new_output(kind, ename="E", evalue="v", traceback=[text(rng), "\x1b[1mbold"])
    data = {mime: text(rng) or "x" for mime in rng.sample(MIMES, rng.randint(1, 2))}
    return v4.new_output(kind, data=data)


def cell(rng):
    kind = rng.choice(["markdown", "markdown", "code", "code", "raw"])
    if kind == "markdown":
        made = v4.new_markdown_cell(text(rng))
    elif kind == "raw":
        made = v4.new_raw_cell(text(rng))
        made.metadata["raw_mimetype"] = rng.choice(["text/html", "text/plain", ""])
    else:
        outputs = [output(rng) for _ in range(rng.randint(0, 3))]
        made = v4.new_code_cell(rng.choice(SOURCES), outputs=outputs, execution_count=rng.choice([None, 3]))
    if rng.random() < 0.3:
        made.metadata["tags"] = [rng.choice(["slide", "notes"])]
    return made


def without_random_identifiers(html):
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", html)


def main():
    first, count = int(sys.argv[2]), int(sys.argv[3])
    fragments = Fragments("classic")
    plain = HTMLExporter(template_name="classic")
    put_together = different = 0
    remembered = []
    for seed in range(first, first + count):
        rng = random.Random(seed)
        cells = [cell(rng) for _ in range(rng.randint(0, 4))]
        for number, made in enumerate(cells):
            made.id = f"{seed}-{number}"
        # Cells of earlier pages come from the memo.
        cells += rng.sample(remembered, min(len(remembered), rng.randint(0, 3)))
        rng.shuffle(cells)
        language = {"name": "python", "pygments_lexer": rng.choice(["ipython3", "c++"])}
        notebook = v4.new_notebook(cells=cells, metadata={"language_info": language})
        seen = fragments.page(notebook)
        if seen is None:
            continue
        put_together += 1
        remembered = [old for old in remembered if old not in cells][-20:] + cells
        expected = plain.from_notebook_node(notebook)[0]
        if without_random_identifiers(seen) != without_random_identifiers(expected):
            different += 1
            print(f"seed {seed} differs: {[made.source for made in cells]}")
    print(f"{put_together} of {count} pages were put together, {different} differ")
    # Without any such page nothing would have been tested.
    sys.exit(1 if different or put_together * 10 < count else 0)


main()
