"""Imports what decks import, if a kernel that imports it itself would be no different afterwards.

A module may change nothing but what the kernels inherit: modules, and filters of warnings. What it asks for while it is
imported gets the answer that it would get in a kernel, as far as that is known here. Anything else is a reason to leave the
import to the kernels.
"""

import builtins
import gc
import importlib.util
import os
import random
import resource
import signal
import socket
import sys
import sysconfig
import threading
import time
import types
import warnings

# Modules that do something when they are imported.
NEVER = {"antigravity", "idlelib", "this", "tkinter", "turtle", "turtledemo"}
STREAMS = (sys.stdin, sys.stdout, sys.stderr)
# Functions with a standard stream as a default argument: in a kernel, it is the kernel's.
default_streams = []
# What the kernel says about plots before the first cell, and matplotlib reads when it is imported.
BACKEND = ("MPLBACKEND", "module://matplotlib_inline.backend_inline")


class Rejected(Exception):
    """An import that kernels have to do themselves."""


def preload(units, control):
    """Imports units: `a.b`, or `a.b:c` for a name of a module. Ends the process when one has to be left to the kernels.

    Returns the milliseconds that each took, and the filters of warnings that came with them.
    """
    costs = {}
    before = list(warnings.filters)
    for unit in units:
        control.send(importing=unit)
        began = time.monotonic()
        try:
            with KernelsView() as view:
                import_unit(unit, view)
        except BaseException as error:
            name = "" if isinstance(error, Rejected) else f"{type(error).__name__}: "
            control.send(rejected={"unit": unit, "reason": f"{name}{error}"[:500]})
            os._exit(0)
        costs[unit] = round((time.monotonic() - began) * 1000)
    return costs, warnings.filters[: len(warnings.filters) - len(before)]


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
        # Code of cells, for what looks who imports it.
        cell = {"__name__": "__main__", "name": name, "members": [member] if member else []}
        exec("__import__(name, globals(), None, members, 0)", cell)
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
