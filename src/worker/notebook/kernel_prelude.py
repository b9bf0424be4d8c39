"""Runs in every Python kernel before the first cell: what child processes print belongs to the cell that ran them.

ipykernel reads the file descriptors 1 and 2 in threads of their own. On a busy machine they read what a child process
printed only after the cell has ended: it then appears in the next cell, or nowhere. Here the same is done by threads
that can be waited for: at the end of each cell a mark is written to the pipes, and the cell ends when it has arrived.
"""

import codecs
import os
import sys
import threading
import types
import uuid

PATIENCE = 2.0
CHUNK = 1 << 16


class DescriptorReader:
    """Passes on to a stream of the kernel what anybody writes to a file descriptor."""

    def __init__(self, stream, descriptor):
        # The thread of ipykernel ends; ours takes its place and name, so that cells see no difference.
        stream._should_watch = False
        os.write(descriptor, b"wake up")
        stream.watch_fd_thread.join()
        self._stream = stream
        self._log = stream._original_stdstream_copy
        self._mark = f"<{uuid.uuid4()}>".encode()
        self._arrived = threading.Event()
        self._source, self._pipe = os.pipe()
        os.dup2(self._pipe, descriptor)
        name = stream.watch_fd_thread.name
        stream.watch_fd_thread = threading.Thread(target=self._read, name=name, daemon=True)
        stream.watch_fd_thread.start()

    def wait(self):
        """Returns when all that was written before has reached the stream."""
        self._arrived.clear()
        os.write(self._pipe, self._mark)
        self._arrived.wait(PATIENCE)

    def _read(self):
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        held = b""
        while chunk := os.read(self._source, CHUNK):
            *before, rest = (held + chunk).split(self._mark)
            held = beginning_of(self._mark, rest)
            data = b"".join(before) + rest[: len(rest) - len(held)]
            if text := decode(data):
                self._stream.write(text)
                os.write(self._log, data)
            if before:
                self._arrived.set()


def beginning_of(mark, data):
    """The longest end of the data with which the mark may begin: it can arrive in two pieces."""
    for length in range(min(len(mark) - 1, len(data)), 0, -1):
        if mark.startswith(data[-length:]):
            return data[-length:]
    return b""


def hold_back(stream):
    """Has texts published when they are flushed, by the cell or at its end, or when there are many. Not by the clock: the
    order of both streams would differ from run to run."""

    def schedule_flush():
        with stream._buffer_lock:
            waiting = sum(buffer.tell() for buffer in stream._buffers.values())
        if waiting > CHUNK:
            stream.flush()

    if hasattr(stream, "_schedule_flush") and hasattr(stream, "_buffer_lock"):
        stream._schedule_flush = schedule_flush


def install():
    # Versions of ipykernel that do not read descriptors are left alone.
    readers = [
        DescriptorReader(stream, descriptor)
        for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2))
        if getattr(stream, "_should_watch", False) and hasattr(stream, "_original_stdstream_copy")
    ]

    def end_of_cell():
        for reader in readers:
            reader.wait()

    for stream in (sys.stdout, sys.stderr):
        hold_back(stream)
    get_ipython().events.register("post_execute", end_of_cell)


def leave_the_end_to_clm():
    """Keeps the thread of ipykernel that looks whether clm is gone from ending this process.

    On Linux the kernel is killed then in any case: by clm's guardian, which must find it alive, since what cells
    detached is known only by it, or by the system. The thread stays, as cells can see it.
    """
    poller = sys.modules.get("ipykernel.parentpoller")
    if poller is not None and sys.platform == "linux":
        parent = os.getppid()
        poller.os = types.SimpleNamespace(getppid=lambda: parent, _exit=os._exit)


install()
leave_the_end_to_clm()
