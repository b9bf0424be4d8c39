"""Forks Python kernels: a process in which ipykernel, and what decks import, is loaded already.

Speaks JSON lines on the socket with descriptor 3. The first line says what to load and when it was started,
`{"module", "preload", "began_ns"}`; the answer is `{"ready"}`, or `{"rejected"}` when an import did something that the
kernels would not have done in the same way: then this process is of no use. After that `{"fork"}` makes a kernel, whose end is told by `{"ended"}`. The dead child stays, as a
zombie, until `{"reap"}`: so its number is not given to another process while somebody may still send signals to it.

A kernel must not be able to tell that it was forked. So everything that a fresh process would have of its own is made anew
in the child, and a module is only loaded here when loading it left no trace but modules.
"""

import os
import sys

# The directory of this file is no place that cells import from.
if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]
own_directory = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, own_directory)

import ctypes
import gc
import itertools
import json
import runpy
import select
import signal
import socket
import threading
import time
import types
import warnings

import preload

# Kernels know nothing of all this.
del sys.path[0], sys.modules["gc"], sys.modules["preload"], sys.modules["resource"]
for path in (__file__, own_directory):
    sys.path_importer_cache.pop(path, None)

CONTROL = 3
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
# How long processes that are killed may take to be gone, in seconds.
PATIENCE = 2.0
# The resolution of the times of files, with room to spare: a file may seem to be older than it is by this much.
TICK_NS = 20_000_000
LIBC = ctypes.CDLL(None)
# What a kernel has loaded before its first cell, besides what `ipykernel.kernelapp` loads by itself.
LOADED_BY_KERNELS = (
    "ipykernel.kernelapp",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.logger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "faulthandler",
    "ipykernel.debugger",
    "sqlite3",
    "tornado.platform.asyncio",
    "tornado.queues",
)


class Control:
    """The lines between clm and this process."""

    def __init__(self):
        self._socket = socket.socket(fileno=CONTROL)
        self._socket.set_inheritable(False)
        self._rest = b""

    def fileno(self):
        return self._socket.fileno()

    def send(self, **message):
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self):
        """The messages that have arrived, at least one; none at the end."""
        while b"\n" not in self._rest:
            data = self._socket.recv(1 << 16)
            if not data:
                return []
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self):
        self._socket.close()


def load_kernel():
    """Loads what every kernel has loaded."""
    for name in LOADED_BY_KERNELS:
        try:
            __import__(name)
        except ImportError:
            # Not part of this version: the kernel does without, or loads it itself.
            if name == "ipykernel.kernelapp":
                raise


class Zygote:
    """Forks kernels when it is told to, and tells how they end."""

    def __init__(self, control, loaded, filters):
        self._control = control
        self._loaded = loaded
        self._filters = filters
        self._base_filters = warnings.filters[len(filters) :]
        self._children = {}
        # Kernels that are dead, but not reaped.
        self._ended = set()
        self._stamps = stamps()
        # What was written while it was loaded may have been loaded before: no later stamp tells.
        self._is_torn = any(changed_since(place, order["began_ns"] - TICK_NS) for place in self._stamps)

    def serve(self):
        """Returns in a child only: with its request."""
        names = sorted({name.partition(".")[0] for name in sys.modules})
        self._control.send(ready={"names": names, "loaded": self._loaded})
        while True:
            ready, _, _ = select.select([self._control, *self._children.values()], [], [])
            for pid, handle in list(self._children.items()):
                if handle in ready:
                    self._tell_end(pid)
            if self._control in ready:
                messages = self._control.receive()
                if not messages:
                    # clm is gone, or wants no more kernels. What modules have planned for the end is for kernels.
                    for handle in self._children.values():
                        os.close(handle)
                    self._children.clear()
                    self._end_orphans()
                    os._exit(0)
                for message in messages:
                    if "reap" in message:
                        os.waitpid(message["reap"], 0)
                        self._ended.discard(message["reap"])
                    elif self._fork(message["fork"]):
                        return message["fork"]

    def _tell_end(self, pid):
        os.close(self._children.pop(pid))
        self._ended.add(pid)
        end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        was_killed = end.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
        core = 0x80 if end.si_code == os.CLD_DUMPED else 0
        status = end.si_status | core if was_killed else end.si_status << 8
        self._control.send(ended={"pid": pid, "status": status})
        # What the kernel had started, or adopted, is a child of this process now.
        self._end_orphans()

    def _end_orphans(self):
        """Kills and reaps all children that are no kernels: what is left of those that ended."""
        kernels = self._children.keys() | self._ended
        deadline = time.monotonic() + PATIENCE
        while orphans := children_of(os.getpid()) - kernels:
            if time.monotonic() > deadline:
                return
            for pid in orphans:
                try:
                    os.kill(pid, signal.SIGKILL)
                    # Its own children are orphans then.
                    os.waitpid(pid, os.WNOHANG)
                except OSError:
                    pass
            time.sleep(0.001)

    def _fork(self, request):
        """Makes a kernel; true in the child."""
        number = request["id"]
        if self._is_torn or self._stamps != stamps():
            self._control.send(refused={"id": number, "reason": "installed modules changed", "outdated": True})
            return False
        if threading.active_count() != 1 or preload.threads() != 1:
            self._control.send(refused={"id": number, "reason": "there is more than one thread"})
            return False
        try:
            outputs = [os.open(request[name], os.O_WRONLY) for name in ("stdout", "stderr")]
            pid = os.fork()
        except OSError as error:
            self._control.send(refused={"id": number, "reason": str(error)})
            return False
        if pid == 0:
            self._become_kernel(request, outputs)
            return True
        for output in outputs:
            os.close(output)
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass  # the child was faster
        self._children[pid] = os.pidfd_open(pid)
        self._control.send(forked={"id": number, "pid": pid})
        return False

    def _become_kernel(self, request, outputs):
        """Gives to a child what a started process has of its own."""
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # What cells detach stays below the kernel, and falls to the zygote when it ends.
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        if os.getppid() != ZYGOTE:
            os._exit(1)  # our parent ended before we asked for the signal
        os.setpgid(0, 0)
        for number, output in zip((1, 2), outputs):
            os.dup2(output, number)
            os.close(output)
        for handle in self._children.values():
            os.close(handle)
        self._control.close()
        os.chdir(request["directory"])
        os.environ.update(request["environment"])
        sys.orig_argv[:] = request["command"]
        sys.argv[:] = [sys.argv[0], *request["arguments"]]
        fresh_random_states()
        processes = sys.modules.get("multiprocessing.process")
        if processes is not None:
            processes.ORIGINAL_DIR = os.getcwd()
            processes.current_process().authkey = os.urandom(32)
        self._prepare_modules()

    def _prepare_modules(self):
        """Has done, when the kernel has started, what modules that are imported then do."""
        added, base = self._filters, self._base_filters
        # Filters that came with modules stand before those that the kernel sets when it starts.
        warnings.resetwarnings()
        warnings.filters[:] = base

        named = threads_named() - THREADS_NAMED
        threading._counter = itertools.count(THREADS_NAMED).__next__

        def finish():
            for action, message, category, module, line in reversed(added):
                warnings.filterwarnings(action, preload.str_of(message) or "", category, preload.str_of(module) or "", line)
            streams = dict(zip(map(id, preload.STREAMS), (sys.stdin, sys.stdout, sys.stderr)))
            # Threads that modules created, without starting them, had numbers.
            for _ in range(named):
                threading._counter()
            if "__mp_main__" in sys.modules:
                sys.modules["__mp_main__"] = sys.modules["__main__"]
            for function in preload.default_streams:
                function.__defaults__ = tuple(streams.get(id(value), value) for value in function.__defaults__)

        # clm's first code in the kernel takes it from there.
        sys._clm_finish = finish


def stamps():
    """What the places that modules come from, and the files of the loaded ones, look like."""
    places = {path for path in sys.path if path}
    places |= {path for place in places for path in search_path_files(place)}
    for name, module in list(sys.modules.items()):
        if not isinstance(module, types.ModuleType):
            continue
        values = types.ModuleType.__getattribute__(module, "__dict__")
        if "." not in name:
            places.update(values.get("__path__", ()))
        file = values.get("__file__")
        is_own = name == "__main__"
        if file and not is_own and not (file.startswith(LIBRARY) and "-packages" + os.sep not in file):
            places.add(file)
    return {place: stamp(place) for place in places}


def changed_since(place, since_ns):
    """Whether a file was written, or an entry came to a directory or left it, after a time in nanoseconds since 1970."""
    try:
        if os.stat(place).st_ctime_ns < since_ns:
            return False
        if not os.path.isdir(place):
            return True
        with os.scandir(place) as entries:
            changed = {entry.name: entry.stat(follow_symlinks=False).st_ctime_ns >= since_ns for entry in entries}
    except OSError:
        return os.path.lexists(place)
    # Importing makes the directory of compiled modules itself. If that is not new, something was removed.
    made_by_import = changed.pop("__pycache__", False)
    return any(changed.values()) or not made_by_import


def children_of(parent):
    try:
        with open(f"/proc/{parent}/task/{parent}/children") as file:
            return {int(pid) for pid in file.read().split()}
    except OSError:
        pass  # not every system has it
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found.add(int(name))
    return found


def search_path_files(place):
    """The files that extend the search path when Python starts."""
    if not place.endswith("-packages"):
        return []
    try:
        return [os.path.join(place, name) for name in os.listdir(place) if name.endswith((".pth", ".egg-link"))]
    except OSError:
        return []


def stamp(path):
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def fresh_random_states():
    """As a started process has them: from the system. `random` does so by itself after a fork."""
    if "numpy.random.mtrand" in sys.modules:
        sys.modules["numpy.random.mtrand"].seed()


def threads_named():
    """The number that the next thread without a name will get."""
    return int(repr(threading._counter.__self__).strip("count()"))


LIBRARY = os.path.dirname(os.__file__) + os.sep
ZYGOTE = os.getpid()
THREADS_NAMED = threads_named()
control = Control()
(order,) = control.receive()
_, launcher_spec, launcher = runpy._get_module_details(order["module"])
sys.argv[:] = [launcher_spec.origin, "-f", "connection.json"]
load_kernel()
gc.freeze()
if not preload.is_single_threaded():
    control.send(rejected={"unit": None, "reason": "ipykernel starts threads"})
    os._exit(0)
usable = [unit for unit in order["preload"] if preload.is_usable(unit)]
costs, added_filters = preload.preload(usable, control)
gc.collect()
gc.freeze()
Zygote(control, costs, added_filters).serve()

# From here on this is a kernel, and does what `python -m ipykernel_launcher` does, as deep in the stack.
if not getattr(sys.flags, "safe_path", False):
    sys.path.insert(0, os.getcwd())
sys.modules["__main__"] = types.ModuleType("__main__")
runpy._run_code(launcher, vars(sys.modules["__main__"]), None, "__main__", launcher_spec)
