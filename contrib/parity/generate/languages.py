"""Code in the five programming languages of the format, for cells of generated decks."""

from __future__ import annotations

from random import Random

EXTENSIONS = {"python": "py", "cpp": "cpp", "csharp": "cs", "java": "java", "typescript": "ts"}

PYTHON = [
    "x{n} = {n}\nprint(x{n} + 1)",
    "1 + {n}",
    "def double_{n}(value):\n    return 2 * value\n\n\nprint(double_{n}(21))",
    "class Point{n}:\n    def __init__(self, x):\n        self.x = x\n\n    def __repr__(self):\n        return f'Point({{self.x}})'",
    "import math\n\nmath.sqrt({n})",
    "text_{n} = '''\n# %% not a cell\n{{nothing}}\n'''.replace('{{', '').strip()\ntext_{n}",
    "for i in range(3):\n    print(i)\n\n\n# a comment at the end",
    "# only a comment {n}",
    "\"a string with ä, ö and € {n}\"",
    "[n * n for n in range({n})]",
    "@staticmethod\ndef decorated_{n}():\n    pass",
    "async def wait_{n}():\n    return {n}",
    "values_{n} = {{\n    'a': 1,\n\n    'b': 2,\n}}\nvalues_{n}",
    "print('first')\n\n\nprint('second')",
    "if {n} > 2:\n    print('large')\nelse:\n    print('small')",
    "x = 1; y = 2\n(x,\n y)",
    "lambda: {n}",
    "print(\"a\\tb\\\\ %d\" % {n})",
    "assert {n} == {n}, \"never # %% here\"",
]
PYTHON_UNEXECUTED = [
    "%matplotlib inline\nx = {n}",
    "# %matplotlib inline",
    "!ls -l",
    "# !pip install something",
    "%%time\nsum(range({n}))",
    "# %%time\n# sum(range({n}))",
    "ls",
    "cd = {n}",
    "# cat file{n}.txt",
    "?print",
    "x = !echo {n}",
    "# %load_ext autoreload\n# %autoreload 2",
    "import os  # %magic",
    "print(\n    'open bracket',\n    # %comment\n)",
    "# ls = {n}",
    "%timeit x = {n}",
]
OTHERS = {
    "cpp": [
        "#include <iostream>",
        "#include <vector>\n#include <string>",
        "int x{n} = {n};",
        "std::cout << {n} << std::endl;",
        "int add{n}(int a, int b) {{\n    return a + b;\n}}",
        "struct Point{n} {{\n    int x;\n    int y;\n}};",
        "// only a comment {n}",
        "for (int i = 0; i < {n}; ++i) {{\n    std::cout << i << '\\n';\n}}",
        "x{n}",
    ],
    "csharp": [
        "int x{n} = {n};\nConsole.WriteLine(x{n});",
        "class Point{n} {{\n    public int X {{ get; set; }}\n}}",
        "// only a comment {n}",
        "var text{n} = \"ä // %% no cell\";",
        "#r \"nuget: Something, 1.0\"",
    ],
    "java": [
        "int x{n} = {n};\nSystem.out.println(x{n});",
        "class Point{n} {{\n    int x;\n}}",
        "// only a comment {n}",
        "String text{n} = \"ä // %% no cell\";",
        "%maven a:b:1",
    ],
    "typescript": [
        "const x{n}: number = {n};\nconsole.log(x{n});",
        "interface Point{n} {{\n    x: number;\n}}",
        "// only a comment {n}",
        "let text{n} = 'ä // %% no cell';",
        "function double{n}(a: number): number {{\n    return 2 * a;\n}}",
    ],
}


def comment(language: str) -> str:
    """What begins a comment."""
    return "#" if language == "python" else "//"


def code(random: Random, language: str, is_executed: bool) -> str:
    """The text of a code cell; executed ones neither depend on another cell nor fail."""
    if language == "python":
        choices = PYTHON if is_executed or random.random() < 0.7 else PYTHON_UNEXECUTED
    else:
        choices = OTHERS[language]
    return random.choice(choices).format(n=random.randint(1, 9))
