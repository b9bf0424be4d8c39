"""Executes the cells of a notebook in a kernel from the zygote, with nothing between the two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat.v4
from jupyter_client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

SHOWN = ("stream", "display_data", "execute_result", "error")


class Zygote:
    """The process that kernels are forked from. Made before anything heavy is imported here."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="limit-"))
        self.process = subprocess.Popen([sys.executable, Path(__file__).with_name("zygote.py")], stdin=subprocess.PIPE)
        self.count = 0

    def ask(self) -> Path:
        """Asks for a kernel; gives its connection file."""
        self.count += 1
        place = self.directory / f"{os.getpid()}-{self.count}"
        place.mkdir()
        file = place / "connection.json"
        write_connection_file(str(file), ip=str(place / "socket"), transport="ipc", key=os.urandom(16).hex().encode())
        # Shorter than a pipe's buffer: written in one piece, although several processes ask.
        os.write(self.process.stdin.fileno(), f"{file}\n".encode())
        return file

    def end(self) -> None:
        """Ends it and its kernels."""
        self.process.stdin.close()
        self.process.wait()
        subprocess.run(["rm", "-rf", self.directory], check=True)


def execute(connection_file: Path, sources: list[str]) -> list[list]:
    """The outputs of cells, executed in the kernel with this connection file, which is used up."""
    pid_file = Path(f"{connection_file}.pid")
    while not pid_file.exists():
        time.sleep(0.001)
    client = BlockingKernelClient(connection_file=str(connection_file))
    client.load_connection_file()
    client.start_channels(stdin=False, hb=False)
    # The kernel greets whoever listens: nothing is lost after that.
    while client.get_iopub_msg(timeout=30)["msg_type"] != "iopub_welcome":
        pass
    # All are sent at once, and the kernel goes from one to the next without waiting for us.
    requests = {client.execute(source): number for number, source in enumerate(sources)}
    outputs: list[list] = [[] for _ in sources]
    open_cells = len(sources)
    while open_cells:
        message = client.get_iopub_msg(timeout=60)
        number = requests.get(message["parent_header"].get("msg_id"))
        if number is None:
            continue
        kind = message["msg_type"]
        if kind == "status" and message["content"]["execution_state"] == "idle":
            open_cells -= 1
        elif kind == "stream" and outputs[number] and outputs[number][-1].get("name") == message["content"]["name"]:
            outputs[number][-1]["text"] += message["content"]["text"]
        elif kind in SHOWN:
            outputs[number].append(nbformat.v4.output_from_msg(message))
    client.stop_channels()
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    errors = [output for cell in outputs for output in cell if output["output_type"] == "error"]
    if errors:
        raise RuntimeError(f"a cell failed: {errors[0]['ename']}: {errors[0]['evalue']}")
    return outputs
