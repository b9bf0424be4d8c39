#!/usr/bin/env python3
"""Renders draw.io documents to PNG in a headless browser, two windows at a time: the bare loop, with clm's page.

    drawio.py --tools DIR --out DIR FILE..

Speaks the DevTools protocol over a pipe (descriptors 3 and 4 of the browser). The viewer is what `clm setup` installed,
the page around it is clm's own (`src/worker/drawio`): it is what calls the viewer, and is needed by anybody.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import fcntl
import json
import os
import sys
import tempfile
import time
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "src" / "worker" / "drawio"
ORIGIN = "http://drawio.invalid/"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".xml": "text/xml"}
SCALE, BORDER = 3, 20
FLAGS = """--headless --no-sandbox --remote-debugging-pipe --disable-gpu --no-first-run --disable-extensions --disable-sync
    --disable-background-networking --disable-component-update --hide-scrollbars --mute-audio
    --force-color-profile=srgb --lang=en-US""".split()


class Browser:
    """A browser and the line to it."""

    def __init__(self, tools: Path):
        self.app = next(tools.glob("drawio-*"))
        self.program = next(tools.glob("chromium-*")) / "chromium"
        self.answers: dict[int, asyncio.Future] = {}
        self.loaded: dict[str, asyncio.Event] = {}
        self.number = 0

    async def start(self, profile: str) -> None:
        """Starts it; its profile is a new directory."""
        # Out of the way of 3 and 4, onto which the child's ends are put.
        there, self.commands = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in os.pipe())
        answers, here = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in os.pipe())

        def connect() -> None:
            os.dup2(there, 3)
            os.dup2(here, 4)

        environment = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", "LD_LIBRARY_PATH": str(self.program.parent / "lib")}
        if not any(Path("/usr/share/fonts").glob("*")):
            fonts = self.program.parent / "fonts"
            config = Path(profile, "fonts.conf")
            config.write_text(f"<fontconfig><dir>{fonts}</dir><cachedir>{profile}/cache</cachedir></fontconfig>")
            environment["FONTCONFIG_FILE"] = str(config)
        self.process = await asyncio.create_subprocess_exec(
            self.program,
            *FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
            env=environment,
            preexec_fn=connect,
            close_fds=False,
            stderr=asyncio.subprocess.DEVNULL,
        )
        os.close(there)
        os.close(here)
        reader = asyncio.StreamReader(limit=1 << 30)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(answers, "rb"))
        self.listening = asyncio.create_task(self.listen(reader))

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Takes answers and events."""
        while True:
            message = json.loads((await reader.readuntil(b"\0"))[:-1])
            if "id" in message:
                self.answers.pop(message["id"]).set_result(message)
            elif message["method"] == "Fetch.requestPaused":
                self.give(message["sessionId"], message["params"])
            elif message["method"] == "Page.loadEventFired":
                self.loaded[message["sessionId"]].set()

    def post(self, session: str | None, method: str, parameters: dict) -> int:
        """Sends a command."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        data = json.dumps({**message, "sessionId": session} if session else message).encode() + b"\0"
        self.answers[self.number] = asyncio.get_running_loop().create_future()
        while data:
            data = data[os.write(self.commands, data) :]
        return self.number

    async def call(self, session: str | None, method: str, **parameters) -> dict:
        """Sends a command and waits for its result."""
        message = await self.answers[self.post(session, method, parameters)]
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

    def give(self, session: str, paused: dict) -> None:
        """Gives the page a file of the viewer."""
        url, request = paused["request"]["url"], paused["requestId"]
        name = url.removeprefix(ORIGIN).split("?")[0]
        if url.startswith(("data:", "blob:")):
            self.post(session, "Fetch.continueRequest", {"requestId": request})
            return
        own = PAGE / name
        file = own if own.is_file() and "/" not in name else self.app / name
        if not url.startswith(ORIGIN) or not file.is_file():
            self.post(session, "Fetch.failRequest", {"requestId": request, "errorReason": "BlockedByClient"})
            return
        kind = TYPES.get(file.suffix, "application/octet-stream")
        answer = {"requestId": request, "responseCode": 200, "responseHeaders": [{"name": "Content-Type", "value": kind}]}
        self.post(session, "Fetch.fulfillRequest", {**answer, "body": base64.b64encode(file.read_bytes()).decode()})

    async def window(self) -> str:
        """Opens a window with the viewer in it; gives its session."""
        target = await self.call(None, "Target.createTarget", url="about:blank", newWindow=True, width=800, height=600)
        attached = await self.call(None, "Target.attachToTarget", targetId=target["targetId"], flatten=True)
        session = attached["sessionId"]
        self.loaded[session] = asyncio.Event()
        await self.call(session, "Page.enable")
        await self.call(session, "Emulation.setFocusEmulationEnabled", enabled=True)
        await self.call(session, "Fetch.enable", patterns=[{"urlPattern": "*"}])
        await self.call(session, "Page.navigate", url=f"{ORIGIN}page.html")
        await self.loaded[session].wait()
        return session

    async def render(self, session: str, text: str) -> bytes:
        """The picture of a document."""
        order = json.dumps({"xml": text, "format": "png", "scale": SCALE, "border": BORDER, "seed": "s"})
        evaluate = {"expression": f"clmRender({order})", "awaitPromise": True, "returnByValue": True}
        made = (await self.call(session, "Runtime.evaluate", **evaluate))["result"]["value"]
        if not made["ok"]:
            raise RuntimeError(f"draw.io: {made['error']}")
        size = {"width": made["width"], "height": made["height"]}
        await self.call(session, "Emulation.setDeviceMetricsOverride", deviceScaleFactor=1, mobile=False, **size)
        clip = {"x": 0, "y": 0, "scale": 1, **size}
        shot = await self.call(session, "Page.captureScreenshot", format="png", clip=clip)
        return base64.b64decode(shot["data"])

    async def end(self) -> None:
        """Kills it: there is nothing in it worth saving."""
        self.listening.cancel()
        self.process.kill()
        await self.process.wait()


async def render_all(tools: Path, out: Path, files: list[Path], windows: int) -> list[float]:
    """Renders files into a directory; gives the seconds that each took."""
    out.mkdir(parents=True, exist_ok=True)
    times: list[float] = []
    waiting = list(reversed(files))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(tools)
        await browser.start(profile)

        async def work() -> None:
            session = await browser.window()
            while waiting:
                file = waiting.pop()
                started = time.perf_counter()
                (out / f"{file.stem}.png").write_bytes(await browser.render(session, file.read_text("utf-8")))
                times.append(time.perf_counter() - started)

        await asyncio.gather(*(work() for _ in range(min(windows, len(files)))))
        await browser.end()
    return times


def main() -> None:
    """Renders what the command line names."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tools", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--windows", type=int, default=2)
    options.add_argument("--times", action="store_true", help="print the seconds of each as JSON")
    options.add_argument("files", type=Path, nargs="+")
    arguments = options.parse_args()
    times = asyncio.run(render_all(arguments.tools, arguments.out, arguments.files, arguments.windows))
    if arguments.times:
        json.dump(times, sys.stdout)


if __name__ == "__main__":
    main()
