"""Renders notebooks to HTML with nbconvert: one process, one exporter, many pages.

Speaks clm's worker protocol: JSON lines on standard input and output. Whatever nbconvert or its libraries print
goes to standard error, which clm records.
"""

import gc
import itertools
import json
import os
import queue
import sys
import threading
import traceback
import uuid

PROTOCOL = 1
TEMPLATE = "classic"


def private_stdout():
    """The real standard output, for the protocol alone: file descriptor 1 becomes standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.set_inheritable(channel.fileno(), False)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return channel


class Renderer:
    """Notebook text in, HTML text out, as ``HTMLExporter(template_name="classic")`` makes it.

    The bytes are the same but for one thing: identifiers that nbconvert makes up at random (for JavaScript outputs)
    are counted here, so that the same notebook always gives the same page.
    """

    def __init__(self):
        import nbformat
        from html_fragments import Fragments
        from nbconvert import HTMLExporter

        self._read = nbformat.reads
        self._exporter = HTMLExporter(template_name=TEMPLATE)
        self._exporter.environment.globals["uuid4"] = self._identifier
        self._identifiers = itertools.count(1)
        # Only whoever doubts that both ways give the same page switches it off.
        self._fragments = None if os.environ.get("CLM_HTML_MEMO") == "0" else Fragments(TEMPLATE)

    def render(self, notebook):
        node = self._read(notebook, as_version=4)
        if self._fragments is None:
            return self._render_whole(node)
        try:
            body = self._fragments.page(node)
        except Exception:
            # nbconvert itself tells what is wrong with the notebook, or makes it in its own way.
            body = None
        return self._render_whole(node) if body is None else body

    def _render_whole(self, node):
        self._identifiers = itertools.count(1)
        body, _resources = self._exporter.from_notebook_node(node)
        return body

    def _identifier(self):
        return uuid.UUID(int=next(self._identifiers))


# Has a cell, so that all templates are loaded.
WARM_UP = """{"cells": [{"cell_type": "code", "execution_count": 1, "id": "a", "metadata": {}, "outputs": [], "source": "1"}],
 "metadata": {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}, "nbformat": 4, "nbformat_minor": 5}"""


class Worker:
    def __init__(self, channel):
        self._channel = channel
        self._renderer = Renderer()
        self._requests = queue.Queue()
        self._cancelled = set()

    def serve(self):
        self._send({"hello": hello()})
        threading.Thread(target=self._listen, daemon=True).start()
        # Templates are loaded at the first rendering: better now than when somebody waits.
        self._renderer.render(WARM_UP)
        # All of that stays: later collections need not look at it.
        gc.freeze()
        gc.enable()
        while True:
            request = self._requests.get()
            result = self._answer(request["id"], request["work"])
            self._send({"id": request["id"], "result": result})

    def _listen(self):
        """Reads requests while the main thread works, so that it hears of cancelled ones."""
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if message.get("cancel"):
                self._cancelled.add(message["id"])
            else:
                self._requests.put(message)
        # clm is gone or wants us to end: nothing that is still being rendered is needed.
        os._exit(0)

    def _answer(self, number, work):
        pages = work["params"]["pages"]
        outputs = []
        for done, page in enumerate(pages):
            if number in self._cancelled:
                self._cancelled.discard(number)
                return {"status": "cancelled"}
            progress = {"done": done, "total": len(pages), "cell": page["name"]}
            self._send({"id": number, "progress": progress})
            name = page["name"] + ".html"
            try:
                body = self._renderer.render(page["notebook"])
            except Exception as error:
                return failure(work["source"], page["name"], error)
            with open(os.path.join(work["out"], name), "wb") as file:
                file.write(body.encode("utf-8", "replace"))
            outputs.append({"name": name})
        return {"status": "ok", "outputs": outputs}

    def _send(self, message):
        self._channel.write(json.dumps(message) + "\n")
        self._channel.flush()


def hello():
    """Names the versions of everything that shapes the HTML."""
    from importlib.metadata import PackageNotFoundError, version

    def versions():
        for name in ("nbconvert", "nbformat", "jinja2", "mistune", "pygments", "beautifulsoup4", "bleach"):
            try:
                yield f"{name} {version(name)}"
            except PackageNotFoundError:
                yield f"{name} none"

    found = list(versions())
    return {
        "protocol": PROTOCOL,
        "kind": "html",
        "tool": found[0],
        "fingerprint": ", ".join(found),
        "capacity": 1,
    }


def failure(source, page, error):
    first = (str(error).strip().splitlines() or [""])[0]
    diagnostic = {
        "severity": "error",
        "file": source,
        "message": f"nbconvert cannot render the page `{page}`: {type(error).__name__}: {first}",
        "detail": "".join(traceback.format_exception(error)),
    }
    return {"status": "failed", "diagnostics": [diagnostic]}


if __name__ == "__main__":
    # Of what is imported and loaded nothing becomes garbage, but looking for it takes a fifth of the start.
    gc.disable()
    Worker(private_stdout()).serve()
