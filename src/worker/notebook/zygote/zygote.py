"""Forks Python kernels: a process in which ipykernel, and what decks import, is loaded already.

Speaks JSON lines on the socket with descriptor 3. The first line says what to load, `{"module", "preload"}`; the answer is
`{"ready"}`, or `{"rejected"}` when an import did something that the kernels would not have done in the same way: then this
process is of no use. After that `{"fork"}` makes a kernel, whose end is told by `{"ended"}`. The dead child stays, as a
zombie, until `{"reap"}`: so its number is not given to another process while somebody may still send signals to it.

A kernel must not be able to tell that it was forked. So everything that a fresh process would have of its own is made anew
in the child, and a module is only loaded here when loading it left no trace but modules.
"""

import sys

# The directory of this file is no place that cells import from.
if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]

import builtins
import ctypes
import gc
import importlib.util
import itertools
import json
import os
import random
import resource
import runpy
import select
import signal
import socket
import sysconfig
import threading
import time
import types
import warnings

# Kernels have not loaded these.
del sys.modules["gc"], sys.modules["resource"]
sys.path_importer_cache.pop(__file__, None)

CONTROL = 3
PR_SET_PDEATHSIG = 1
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
# Modules that do something when they are imported.
NEVER = {"antigravity", "idlelib", "this", "tkinter", "turtle", "turtledemo"}
STREAMS = (sys.stdin, sys.stdout, sys.stderr)
# Functions with a standard stream as a default argument: in a kernel, it is the kernel's.
default_streams = []
# What the kernel says about plots before the first cell, and matplotlib reads when it is imported.
BACKEND = ("MPLBACKEND", "module://matplotlib_inline.backend_inline")


class Rejected(Exception):
    """An import that kernels have to do themselves."""


class Control:
    """The lines between clm and this process."""

    def __init__(self):
        self._socket = socket.socket(fileno=CONTROL)
        self._socket.set_inheritable(False)
        self._rest = b""
        self._lines = []

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


# --- What decks import -----------------------------------------------------------------------------------------------


def preload(units, control, costs):
    """Imports what decks import: `a.b`, or `a.b:c` for a name of a module. Tells its cost in milliseconds.

    Returns warning filters that came with it.
    """
    before = list(warnings.filters)
    for unit in units:
        control.send(importing=unit)
        began = time.monotonic()
        try:
            with KernelsView() as view:
                import_unit(unit, view)
        except Rejected as rejected:
            control.send(rejected={"unit": unit, "reason": str(rejected)})
            sys.exit(0)
        except BaseException as error:
            control.send(rejected={"unit": unit, "reason": f"{type(error).__name__}: {error}"[:500]})
            sys.exit(0)
        costs[unit] = round((time.monotonic() - began) * 1000)
    return warnings.filters[: len(warnings.filters) - len(before)]


class KernelsView:
    """Shows to modules what they see in a kernel, for the time of their import."""

    def __enter__(self):
        self._main = sys.modules["__main__"]
        self.main = sys.modules["__main__"] = types.ModuleType("__main__")
        self._has_backend = BACKEND[0] in os.environ
        if not self._has_backend:
            os.environ[BACKEND[0]] = BACKEND[1]
        sys.ps1 = "In : "
        builtins.__IPYTHON__ = True
        self.shell = ZMQInteractiveShell()
        builtins.get_ipython = lambda: self.shell
        shell_class().initialized = classmethod(lambda _: True)
        shell_class().instance = classmethod(lambda _: self.shell)
        return self

    def __exit__(self, *_):
        del shell_class().initialized, shell_class().instance
        del builtins.get_ipython, builtins.__IPYTHON__, sys.ps1
        if not self._has_backend:
            os.environ.pop(BACKEND[0], None)
        sys.modules["__main__"] = self._main


def shell_class():
    from IPython.core.interactiveshell import InteractiveShell

    return InteractiveShell


class ZMQInteractiveShell:
    """Takes the place of the shell: modules may ask whether they are in a kernel, and nothing else."""

    asked = []

    def __getattribute__(self, name):
        if name != "kernel":
            ZMQInteractiveShell.asked.append(name)
            raise AttributeError(name)
        return ZMQInteractiveShell.kernel


class Kernel:
    """Takes the place of the kernel: nothing may be asked of it."""

    def __getattribute__(self, name):
        ZMQInteractiveShell.asked.append(f"kernel.{name}")
        raise AttributeError(name)


ZMQInteractiveShell.kernel = Kernel()


def is_usable(unit):
    """Whether the unit is an installed module, as far as can be told without importing it."""
    name = unit.partition(":")[0].partition(".")[0]
    try:
        found = importlib.util.find_spec(name)
        return name not in NEVER and found is not None and is_installed(found)
    except (ImportError, ValueError):
        return False


def import_unit(unit, view):
    """Imports a module; an error when that would not be the same in a kernel."""
    name, _, member = unit.partition(":")
    things = (view.main, view.shell, ZMQInteractiveShell.kernel, *STREAMS)
    counted = references(things)
    known = set(sys.modules)
    before = surroundings()
    filters = list(warnings.filters)
    # As in a kernel: what is deprecated is told about code of cells.
    warnings.filterwarnings("default", category=DeprecationWarning, module="__main__")
    as_in_kernels = list(warnings.filters)
    with Printed() as printed:
        __import__(name, {"__name__": "__main__"}, None, [member] if member else [], 0)
    added = warnings.filters[: len(warnings.filters) - len(as_in_kernels)]
    if warnings.filters[len(added) :] != as_in_kernels:
        raise Rejected("it changes the filters of warnings")
    warnings.filters[:] = added + filters
    if printed.text:
        raise Rejected(f"it prints: {printed.text[:200]}")
    if ZMQInteractiveShell.asked:
        raise Rejected(f"it asks the shell for `{ZMQInteractiveShell.asked[0]}`")
    # `multiprocessing` knows the main module by another name as well: kernels set it right.
    if sys.modules.get("__mp_main__") is view.main:
        sys.modules["__mp_main__"] = None
    default_streams.extend(defaults := functions_with_streams())
    holders = {id(function.__defaults__): function.__defaults__ for function in defaults}.values()
    for index, count in enumerate(references(things)):
        kept = sum(1 for holder in holders for value in holder if value is things[index])
        if count > counted[index] + kept:
            raise Rejected(f"it keeps `{type(things[index]).__name__}`")
    del holders, defaults
    after = surroundings()
    for what, value in before.items():
        if after[what] != value:
            raise Rejected(f"it changes {what}")
    for module in set(sys.modules) - known:
        spec = getattr(sys.modules[module], "__spec__", None)
        if spec is not None and not is_installed(spec):
            raise Rejected(f"it loads `{module}`, which is no installed module")
    if any(is_generator(thing) for thing in gc.get_objects()):
        raise Rejected("it has a random state of its own")
    if not is_single_threaded():
        raise Rejected("it starts threads")
    gc.freeze()


def references(things):
    return [sys.getrefcount(things[index]) for index in range(len(things))]


def functions_with_streams():
    """Functions that were loaded since the last call of `gc.freeze`, with a standard stream as a default argument."""
    tuples = [holder for stream in STREAMS for holder in gc.get_referrers(stream) if type(holder) is tuple]
    functions = [function for function in gc.get_referrers(*tuples) if type(function) is types.FunctionType]
    known = {id(holder) for holder in tuples}
    return [function for function in functions if id(function.__defaults__) in known]


def str_of(pattern):
    return getattr(pattern, "pattern", pattern)


def surroundings():
    """What an import may not change, by its name."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "the working directory": os.getcwd(),
        "the environment": dict(os.environ),
        "`sys.path`": (sys.path[:], sys.path_hooks[:], sys.argv[:]),
        "the importers": sys.meta_path[:1],
        "signal handlers": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
        "hooks of the interpreter": (
            sys.excepthook, sys.displayhook, sys.unraisablehook, sys.breakpointhook, threading.excepthook,
            sys.gettrace(), sys.getprofile(), warnings.showwarning, warnings.formatwarning,
        ),
        "the standard streams": [id(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "builtins": dict(vars(builtins)),
        "limits": (
            sys.getrecursionlimit(), sys.getswitchinterval(), gc.isenabled(), gc.get_threshold(),
            socket.getdefaulttimeout(), umask(),
            [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")],
        ),
        "the random state": random.getstate(),
        "open files": open_files(),
        "child processes": (children.ru_utime, children.ru_maxrss, children.ru_minflt),
        "Python threads": threading.enumerate(),
    }


def umask():
    mask = os.umask(0o77)
    os.umask(mask)
    return mask


def open_files():
    files = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            files[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            pass  # the directory itself
    return files


def is_installed(spec):
    """Whether a module comes with Python or with an installed distribution: these do not change while courses are edited."""
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or [])
    return all(place in ("built-in", "frozen") or place.startswith(INSTALLED) for place in places)


def installed_directories():
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")}
    found |= {path for path in sys.path if os.path.basename(path) == "lib-dynload"}
    return tuple(os.path.join(path, "") for path in found)


INSTALLED = installed_directories()


def is_generator(thing):
    """Whether it is a source of random numbers whose state all children would share."""
    kind = type(thing)
    if issubclass(kind, random.Random):
        return thing is not random._inst and not issubclass(kind, random.SystemRandom)
    if kind.__module__ in ("numpy.random._generator", "numpy.random.mtrand"):
        return kind.__name__ in ("Generator", "RandomState") and thing is not sys.modules["numpy.random.mtrand"]._rand
    return False


class Printed:
    """What is written to the standard streams, or to their descriptors."""

    text = ""

    def __enter__(self):
        flush()
        self._kept = [os.dup(1), os.dup(2)]
        self._file = os.memfd_create("printed")
        os.dup2(self._file, 1)
        os.dup2(self._file, 2)
        return self

    def __exit__(self, *_):
        flush()
        for number, kept in zip((1, 2), self._kept):
            os.dup2(kept, number)
            os.close(kept)
        os.lseek(self._file, 0, os.SEEK_SET)
        self.text = os.read(self._file, 4096).decode("utf-8", "replace")
        os.close(self._file)


def flush():
    sys.stdout.flush()
    sys.stderr.flush()


def is_single_threaded():
    """Whether this process has one thread, so that it may be forked.

    Libraries for linear algebra start threads when they are loaded, and end them before a fork, in a handler; the child
    starts its own when it needs them. After one fork for practice such threads are gone for good.
    """
    if threads() > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    return threads() == 1


def threads():
    return len(os.listdir("/proc/self/task"))


# --- Kernels ---------------------------------------------------------------------------------------------------------


class Zygote:
    """Forks kernels when it is told to, and tells how they end."""

    def __init__(self, control, loaded, filters):
        self._control = control
        self._loaded = loaded
        self._filters = filters
        self._base_filters = warnings.filters[len(filters) :]
        self._children = {}
        self._stamps = stamps()

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
                    os._exit(0)
                for message in messages:
                    if "reap" in message:
                        os.waitpid(message["reap"], 0)
                    elif self._fork(message["fork"]):
                        return message["fork"]

    def _tell_end(self, pid):
        os.close(self._children.pop(pid))
        end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        was_killed = end.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
        core = 0x80 if end.si_code == os.CLD_DUMPED else 0
        status = end.si_status | core if was_killed else end.si_status << 8
        self._control.send(ended={"pid": pid, "status": status})

    def _fork(self, request):
        """Makes a kernel; true in the child."""
        number = request["id"]
        if self._stamps != stamps():
            self._control.send(refused={"id": number, "reason": "the installed packages changed"})
            return False
        if threading.active_count() != 1 or threads() != 1:
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
                warnings.filterwarnings(action, str_of(message) or "", category, str_of(module) or "", line)
            streams = dict(zip(map(id, STREAMS), (sys.stdin, sys.stdout, sys.stderr)))
            # Threads that modules created, without starting them, had numbers.
            for _ in range(named):
                threading._counter()
            if "__mp_main__" in sys.modules:
                sys.modules["__mp_main__"] = sys.modules["__main__"]
            for function in default_streams:
                function.__defaults__ = tuple(streams.get(id(value), value) for value in function.__defaults__)

        # clm's first code in the kernel takes it from there.
        sys._clm_finish = finish


def stamps():
    """When the places that modules come from changed."""
    places = {path for path in sys.path if path}
    for name in {name.partition(".")[0] for name in sys.modules}:
        places.update(getattr(sys.modules.get(name), "__path__", ()))
    return {place: stamp(place) for place in places}


def stamp(path):
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def fresh_random_states():
    """As a started process has them: from the system. `random` does so by itself after a fork."""
    if "numpy.random.mtrand" in sys.modules:
        sys.modules["numpy.random.mtrand"].seed()


def threads_named():
    """The number that the next thread without a name will get."""
    return int(repr(threading._counter.__self__).strip("count()"))


ZYGOTE = os.getpid()
THREADS_NAMED = threads_named()
control = Control()
(order,) = control.receive()
_, launcher_spec, launcher = runpy._get_module_details(order["module"])
sys.argv[:] = [launcher_spec.origin, "-f", "connection.json"]
load_kernel()
gc.freeze()
if not is_single_threaded():
    control.send(rejected={"unit": None, "reason": "ipykernel starts threads"})
    sys.exit(0)
usable = [unit for unit in order["preload"] if is_usable(unit)]
costs = {}
added_filters = preload(usable, control, costs)
gc.collect()
gc.freeze()
Zygote(control, costs, added_filters).serve()

# From here on this is a kernel, and does what `python -m ipykernel_launcher` does, as deep in the stack.
if not getattr(sys.flags, "safe_path", False):
    sys.path.insert(0, os.getcwd())
sys.modules["__main__"] = types.ModuleType("__main__")
runpy._run_code(launcher, vars(sys.modules["__main__"]), None, "__main__", launcher_spec)
