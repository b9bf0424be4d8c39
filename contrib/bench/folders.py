#!/usr/bin/env python3
"""Measures a folder of notebooks and diagrams: `clm build` beside the commands that people use for such folders.

    folders.py FOLDER --clm CLM --python PYTHON [--edit FILE] [--rounds N] [--out JSON]

The folder is copied for each contender. PYTHON is an environment with nbconvert, jupytext and jupyter-cache; the cells of
all contenders run in it. Contenders:

- clm         `clm build`
- nbconvert   a loop: jupytext to `.ipynb` where it is a text, then `jupyter nbconvert --execute --allow-errors --to html`
- cache       jupyter-cache: jupytext, `jcache notebook add`, `jcache project execute`, `jcache notebook merge`, nbconvert
- diagrams    a loop: `java -jar plantuml.jar -tsvg`, and a renderer of draw.io that is started for each file

Scenarios: cold (nothing is there), noop (nothing changed), edit (one code cell changed; contender diagrams: a diagram).
A loop knows nothing of what changed: its no-op is what a pipeline without a cache pays. Notebooks that fail count as
built for the loop of nbconvert (`--allow-errors`); jupyter-cache stops at the first error, as clm does, and keeps nothing of such a notebook.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TEXTS = {".md", ".py"}
PLANTUML = {".puml", ".pu", ".plantuml"}


def notebooks(folder: Path, listed: list[str]) -> list[Path]:
    """The notebooks of a copy, by the names that `clm build --json` gave."""
    return [folder / name for name in listed if Path(name).suffix in TEXTS | {".ipynb"}]


def diagrams(folder: Path, listed: list[str]) -> list[Path]:
    return [folder / name for name in listed if Path(name).suffix in PLANTUML | {".drawio"}]


def edit(file: Path, number: int) -> bool:
    """Changes a code cell of a notebook, or a diagram, so that its content differs each time. Returns whether it could."""
    text = file.read_text()
    if file.suffix == ".md":
        text = re.sub(r"(\{code-cell\}[^\n]*\n(?:(?:---\n.*?\n---\n)|(?::[^\n]*\n))*)", rf"\g<1>measured = {number}\n", text, count=1, flags=re.S)
    elif file.suffix == ".py":
        text = re.sub(r"(?m)^(# %%(?! *\[)[^\n]*\n)", rf"\g<1>measured = {number}\n", text, count=1)
    elif file.suffix == ".ipynb":
        document = json.loads(text)
        for cell in [cell for cell in document["cells"] if cell["cell_type"] == "code"][:1]:
            cell["source"] = f"measured = {number}\n" + "".join(cell["source"])
        text = json.dumps(document)
    elif file.suffix in PLANTUML:
        text = re.sub(r"(@startuml[^\n]*\n)", rf"\g<1>' {number}\ntitle measured {number}\n", text, count=1)
    else:
        text = re.sub(r'value="', f'value="{number} ', text, count=1)
    changed = text != file.read_text()
    file.write_text(text)
    return changed


class Loop:
    """What all contenders share: a copy of the folder, commands, and the places of tools."""

    def __init__(self, options: argparse.Namespace, name: str) -> None:
        self.options, self.place = options, options.work / name
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(options.folder, self.place / "src")
        self.folder = self.place / "src"
        self.failed = 0

    def call(self, *command: str | Path, cwd: Path | None = None) -> int:
        result = subprocess.run(
            [str(part) for part in command], cwd=cwd or self.folder, input=b"y\n",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.options.environment,
        )
        self.said = result.stdout.decode(errors="replace")
        self.failed += result.returncode != 0
        return result.returncode

    def python(self, *arguments: str | Path, cwd: Path | None = None) -> int:
        return self.call(self.options.python, "-m", *arguments, cwd=cwd)

    def clear(self) -> None:
        shutil.rmtree(self.place / "out", ignore_errors=True)


class Clm(Loop):
    def build(self) -> None:
        self.call(self.options.clm, "build", self.folder, "-o", self.place / "out")

    def clear(self) -> None:
        super().clear()
        shutil.rmtree(self.folder / ".clm", ignore_errors=True)


class Nbconvert(Loop):
    def ipynb(self, file: Path) -> Path:
        """Returns the notebook that nbconvert takes: the file itself, or what jupytext makes of it beside it."""
        if file.suffix == ".ipynb":
            return file
        made = file.with_name(file.stem + ".made.ipynb")
        reader = ["--from", "py:percent"] if file.suffix == ".py" else []
        self.python("jupytext", *reader, "--set-kernel", "python3", "--to", "ipynb", "--output", made, file)
        return made

    def build(self) -> None:
        for file in notebooks(self.folder, self.options.listed):
            made = self.ipynb(file)
            out = self.place / "out" / made.relative_to(self.folder).parent
            self.python("nbconvert", "--execute", "--allow-errors", "--to", "html", "--output-dir", out, made)


class Cache(Nbconvert):
    def build(self) -> None:
        made = [self.ipynb(file) for file in notebooks(self.folder, self.options.listed)]
        store = self.place / "cache"
        jcache = self.options.python.parent / "jcache"
        self.call(jcache, "notebook", "-p", store, "add", *made)
        self.call(jcache, "project", "-p", store, "execute", "--timeout", "-1")
        for number, file in enumerate(made, 1):
            into = self.place / "merged" / file.relative_to(self.folder)
            into.parent.mkdir(parents=True, exist_ok=True)
            into.unlink(missing_ok=True)
            self.call(jcache, "notebook", "-p", store, "merge", file, into)
            out = self.place / "out" / file.relative_to(self.folder).parent
            self.python("nbconvert", "--to", "html", "--output-dir", out, into if into.exists() else file)

    def clear(self) -> None:
        super().clear()
        shutil.rmtree(self.place / "cache", ignore_errors=True)


class Diagrams(Loop):
    def build(self) -> None:
        jar = next(self.options.tools.glob("plantuml-*/plantuml.jar"))
        dot = next(self.options.tools.glob("graphviz-*/**/dot"), None)
        for file in diagrams(self.folder, self.options.listed):
            out = self.place / "out" / file.relative_to(self.folder).parent
            out.mkdir(parents=True, exist_ok=True)
            if file.suffix in PLANTUML:
                self.call("java", "-jar", jar, *(["-graphvizdot", dot] if dot else []), "-tsvg", "-o", out, file)
            else:
                self.call(sys.executable, HERE / "limit" / "drawio.py", "--tools", self.options.tools, "--out", out, file)


def listed(options: argparse.Namespace) -> list[str]:
    """The sources that clm finds, as paths relative to the folder: all contenders make these."""
    found = []
    for path in sorted(options.folder.rglob("*")):
        name = path.relative_to(options.folder).as_posix()
        if any(part.startswith((".", "_")) for part in name.split("/")) or not path.is_file():
            continue
        text = path.suffix in TEXTS and path.read_text(errors="replace")
        if path.suffix in PLANTUML | {".drawio", ".ipynb"}:
            found.append(name)
        elif path.suffix == ".md" and ("{code-cell}" in text or "```python" in text):
            found.append(name)
        elif path.suffix == ".py" and re.search(r"(?m)^# ?%%", text):
            found.append(name)
    # Of a notebook and a text of the same name, the text is the source.
    texts = {str(Path(name).with_suffix("")) for name in found if Path(name).suffix in TEXTS}
    return [name for name in found if Path(name).suffix != ".ipynb" or str(Path(name).with_suffix("")) not in texts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clm", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--python", type=lambda text: Path(text).absolute(), required=True)
    parser.add_argument("--tools", type=Path, default=Path.home() / ".local/share/clm/tools")
    parser.add_argument("--work", type=lambda text: Path(text).absolute(), required=True)
    parser.add_argument("--edit", help="the source that is edited; the default is the first notebook or diagram")
    parser.add_argument("--contenders", default="clm,nbconvert,cache,diagrams")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.listed = listed(options)
    options.environment = {
        **os.environ,
        "PATH": f"{options.python.parent}:{os.environ['PATH']}",
        "CLM_NOTEBOOK_KERNEL_PYTHON": str(options.python),
    }
    texts, pictures = notebooks(Path(), options.listed), diagrams(Path(), options.listed)
    print(f"{options.folder.name}: {len(texts)} notebooks, {len(pictures)} diagrams")
    kinds = {"clm": (Clm, options.listed), "nbconvert": (Nbconvert, texts), "cache": (Cache, texts), "diagrams": (Diagrams, pictures)}
    contenders = [(name, kinds[name][0](options, name), kinds[name][1]) for name in options.contenders.split(",") if kinds[name][1]]
    results: dict[str, dict] = {}
    for number in range(options.rounds):
        for scenario in ("cold", "noop", "edit"):
            for name, contender, sources in contenders:
                if scenario == "cold":
                    contender.clear()
                elif scenario == "edit":
                    chosen = [name for name in map(str, sources) if name == options.edit] or map(str, sources)
                    if not any(edit(contender.folder / name, number + 1) for name in chosen):
                        sys.exit("no source can be edited")
                contender.failed = 0
                started = time.perf_counter()
                contender.build()
                taken = time.perf_counter() - started
                results.setdefault(name, {}).setdefault(scenario, []).append(taken)
                made = sum(1 for path in (contender.place / "out").rglob("*") if path.suffix in {".html", ".svg", ".png"})
                print(f"{name:10} {scenario:5} {taken:9.2f} s  {made} files, {contender.failed} commands failed", flush=True)
                if contender.failed and name == "clm":
                    print("\n".join("    " + line for line in contender.said.splitlines()[-3:]))
    medians = {name: {scenario: round(statistics.median(times), 3) for scenario, times in of.items()} for name, of in results.items()}
    print(json.dumps(medians))
    if options.out:
        options.out.write_text(json.dumps({"folder": options.folder.name, "sources": len(options.listed), "seconds": medians}, indent=1) + "\n")


if __name__ == "__main__":
    main()
