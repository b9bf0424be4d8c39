"""Forks kernels from a process that has ipykernel imported: the quickest way to a kernel that nobody used before.

Reads paths of connection files, one a line. Each gets a kernel; when its sockets are bound, PATH.pid has its number.
Ends with its standard input, and its kernels with it.
"""

import gc
import os
import signal
import sys

import IPython.core.completer
import IPython.core.interactiveshell
import IPython.core.magics
import ipykernel.heartbeat
import ipykernel.iostream
import ipykernel.ipkernel
import ipykernel.kernelapp
import ipykernel.zmqshell


def kernel(connection_file: str) -> None:
    """Becomes a kernel."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.chdir(os.path.dirname(connection_file))
    app = ipykernel.kernelapp.IPKernelApp.instance()
    app.initialize(["-f", connection_file])
    with open(connection_file + ".part", "w") as file:
        file.write(str(os.getpid()))
    os.rename(connection_file + ".part", connection_file + ".pid")
    app.start()


def main() -> None:
    """Serves until nobody asks any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    kernels = []
    # Not by lines of a buffered reader: a child would have what its parent has read ahead.
    rest = b""
    while chunk := os.read(0, 65536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                try:
                    kernel(line.decode())
                finally:
                    os._exit(1)
            kernels.append(pid)
    for pid in kernels:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


if __name__ == "__main__":
    sys.exit(main())
