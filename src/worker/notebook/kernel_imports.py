"""Runs in every Python kernel before the first cell: reports what the execution imports, reads and lists.

Appends JSON lines to a file as it happens, so that nothing is lost when the kernel ends in the middle of a cell. clm decides
which of it is an input of the deck; what cannot be one (the standard library, files in the working directory) is left out here.
Processes that a cell forks report to the same file.
"""

import json
import os
import sys
import threading
from importlib.machinery import PathFinder
from types import ModuleType

# Out of the way: descriptors of cells get the numbers that they have without us.
DESCRIPTOR = 199
# More facts are not reported: a deck that opens files without end must not fill the memory.
MOST = 50_000
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What an audit hook hears when a process starts another one.
STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"}


# Code that lists all of `sys.path` to find installed packages.
SEARCHES = tuple(
    os.path.join(*path.split("/"))
    for path in ("importlib/metadata/__init__.py", "importlib_metadata/__init__.py", "pkg_resources/__init__.py", "pkgutil.py")
)


class Report:
    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            opened, self._file = self._file, os.dup2(self._file, DESCRIPTOR, inheritable=False)
            os.close(opened)
        except OSError:
            pass  # fewer descriptors are allowed
        self._work = os.getcwd() + os.sep
        self._library = os.path.dirname(os.__file__) + os.sep
        self._known = set()
        self._paths = {}
        self._finding = threading.local()

    def begin(self):
        """Reports what was loaded before, and where modules are looked for."""
        self._say(["start", self._library, self._work])
        path = self._path_number(sys.path)
        for name, module in list(sys.modules.items()):
            # Not with `getattr`: some modules load others when they are asked for anything.
            if not isinstance(module, ModuleType):
                continue
            values = ModuleType.__getattribute__(module, "__dict__")
            origin = getattr(values.get("__spec__"), "origin", None) or values.get("__file__")
            if not isinstance(origin, str) or not origin.startswith(os.sep) or self._is_library(origin):
                continue
            self._say(["loaded", name, path, origin])

    def observe(self):
        find = PathFinder.find_spec

        def find_spec(cls, fullname, path=None, target=None):
            self._finding.now = True
            try:
                spec = find(fullname, path, target)
            finally:
                self._finding.now = False
            self._found(fullname, sys.path if path is None else path, spec)
            return spec

        PathFinder.find_spec = classmethod(find_spec)
        sys.addaudithook(self._hear)

    def _found(self, fullname, path, spec):
        try:
            origin = spec and spec.origin
            if origin and self._is_library(origin):
                return
            is_namespace = spec is not None and origin is None
            self._note(["find", fullname, self._path_number(path), origin, is_namespace])
        except Exception:
            pass

    def _hear(self, event, args):
        try:
            if event == "open":
                path, mode, flags = args
                self._file_used("write" if flags & WRITES else "read", path)
            elif event == "import":
                if args[1]:
                    self._file_used("read", args[1])
            elif event == "ctypes.dlopen":
                if args[0]:
                    self._file_used("read", args[0])
            elif event in STARTS:
                self._note(["process"])
                if any("python" in str(word) for word in flat(args[:2])):
                    self._note(["python"])
            elif event == "os.listdir" or event == "os.scandir":
                searches = sys._getframe(1).f_code.co_filename.endswith(SEARCHES) and is_here(args[0])
                if not searches and not getattr(self._finding, "now", False):
                    self._file_used("list", args[0])
        except Exception:
            pass

    def _file_used(self, how, path):
        if isinstance(path, int) or path is None:
            return
        path = os.fsdecode(path)
        if not path.startswith(os.sep):
            path = os.path.join(os.getcwd(), path)
        if path.startswith(self._work) and "/../" not in path or self._is_library(path):
            return
        if path.startswith(("/proc/", "/sys/", "/dev/")):
            return
        self._note([how, path])

    def _is_library(self, path):
        return path.startswith(self._library) and "-packages" + os.sep not in path[len(self._library) :]

    def _path_number(self, path):
        entries = tuple(entry for entry in path if isinstance(entry, str))
        key = (os.getpid(), entries)
        number = self._paths.get(key)
        if number is None:
            # Forked processes go on counting from the same number.
            number = self._paths[key] = f"{os.getpid()}:{len(self._paths)}"
            self._say(["path", number, entries])
        return number

    def _note(self, fact):
        key = tuple(fact)
        if key not in self._known and len(self._known) < MOST:
            self._known.add(key)
            self._say(fact)

    def _say(self, fact):
        os.write(self._file, json.dumps(fact).encode() + b"\n")


def is_here(directory):
    return directory in (None, "", ".") or directory == os.getcwd()


def flat(arguments):
    for argument in arguments:
        yield from argument if isinstance(argument, (list, tuple)) else [argument]


def install():
    reporter = Report(report)
    reporter.begin()
    reporter.observe()


install()
