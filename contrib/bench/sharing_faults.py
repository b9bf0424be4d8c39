#!/usr/bin/env python3
"""Measures how much time a faulty shared cache adds to a build, on a generated course.

    sharing_faults.py CLM --topics 4 --work DIR

Builds the course without a cache, then with servers that are broken in one way each. Prints a table in Markdown: the
seconds more than without a cache. Needs the renderers.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from pathlib import Path
from typing import BinaryIO

from sharing import Machine, begin

NOT_FOUND = b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n"
CREATED = b"HTTP/1.1 201 X\r\ncontent-length: 0\r\n\r\n"
FAULTS = {
    "refused": "nobody listens",
    "hangs": "takes connections and never answers",
    "slow GET": "answers every GET after 0.5 s",
    "slow PUT": "answers every PUT after 1 s",
    "drips": "sends 5 bytes a second",
    "truncates": "closes the connection in the middle",
    "garbage": "sends other bytes than were asked for",
    "401": "refuses access",
    "429": "has too many requests",
    "500": "has an internal error",
    "507": "is full",
}


class Server(threading.Thread):
    """A server with a fault."""

    def __init__(self, fault: str):
        super().__init__(daemon=True)
        self.fault = fault
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.socket.getsockname()[1]
        if fault == "refused":
            self.socket.close()
        else:
            self.start()

    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.socket.close()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as requests:
            try:
                while (method := read(requests)) and self.answer(connection, method):
                    pass
            except OSError:
                pass

    def answer(self, connection: socket.socket, method: bytes) -> bool:
        """Answers one request; returns whether the connection stays open."""
        is_put = method == b"PUT"
        match self.fault:
            case "hangs":
                time.sleep(60)
                return False
            case "slow GET" if not is_put:
                time.sleep(0.5)
            case "slow PUT" if is_put:
                time.sleep(1)
            case "drips" if not is_put:
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
                for _ in range(1000):
                    connection.sendall(b"x")
                    time.sleep(0.2)
                return True
            case "truncates" if not is_put:
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nhello")
                return False
            case "garbage" if not is_put:
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
                return True
            case "401" | "429" | "500" | "507":
                connection.sendall(NOT_FOUND.replace(b"404", self.fault.encode()))
                return True
        connection.sendall(CREATED if is_put else NOT_FOUND)
        return True


def read(requests: BinaryIO) -> bytes:
    """Reads a request and returns its method; nothing at the end."""
    method = requests.readline().partition(b" ")[0]
    length = 0
    while (line := requests.readline()).strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    requests.read(length)
    return method


def main() -> None:
    options = begin(__doc__, topics=4)
    work: Path = options.work

    def build(remote: str) -> float:
        place = work / "machine"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(work / "source", place)
        return Machine(options.clm, place, bare=False, remote=remote).build()[0]

    without = min(build("") for _ in range(options.rounds))
    print(f"| {options.topics} topics, {without:.2f} s without a cache | seconds more |\n|---|---:|")
    for fault, what in FAULTS.items():
        times = []
        for _ in range(options.rounds):
            server = Server(fault)
            times.append(build(server.url()))
            server.stop()
        print(f"| {fault}: the server {what} | {min(times) - without:+.2f} |".replace("the server nobody", "nobody"), flush=True)


if __name__ == "__main__":
    main()
