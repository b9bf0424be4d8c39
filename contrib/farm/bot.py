#!/usr/bin/env python3
"""A worker of BuildGrid: takes actions from its Bots service and has a program run each of them.

    bot.py grpc://host:50051/instance --jobs 2 --property OSFamily=linux -- clm runner --buildbox-run

The program is called as buildbox-worker calls buildbox-run: with the files of the action and of its result, and the address
of the storage. Needs the package BuildGrid (requirements.txt). Connections have no TLS: a worker belongs into the network of
its server. A line is printed for every action that begins and ends. SIGTERM gives back what runs: another worker gets it.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TextIO

import grpc
from buildgrid._protos.build.bazel.remote.execution.v2 import remote_execution_pb2 as reapi
from buildgrid._protos.build.bazel.remote.execution.v2 import remote_execution_pb2_grpc as reapi_grpc
from buildgrid._protos.google.devtools.remoteworkers.v1test2 import bots_pb2 as bots
from buildgrid._protos.google.devtools.remoteworkers.v1test2 import bots_pb2_grpc, worker_pb2
from buildgrid._protos.google.rpc import code_pb2, status_pb2

# How long a request may wait for work. The server answers after 80 % of it at the latest.
POLL_SECONDS = 30
# A request with news, which the server answers at once, if it is well.
REPORT_SECONDS = 15
# The server queues equal actions twice if they arrive within milliseconds. A result as recent as this is that of the other.
RECENT_SECONDS = 60
# A worker that always fails tries again after this long.
LONGEST_REST = 60
STOP = threading.Event()


def say(text: str) -> None:
    """Prints a line with the time, in one write: threads do not mix theirs."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def failure(why: str) -> status_pb2.Status:
    """Returns the status with which the server has another worker try it."""
    return status_pb2.Status(code=code_pb2.UNAVAILABLE, message=why)


class Run:
    """An action that a process of its own runs."""

    def __init__(self, slot: Slot, lease: bots.Lease):
        self.slot, self.id, self.message = slot, lease.id, lease.payload.value
        self.digest = hashlib.sha256(self.message).hexdigest()
        self.directory: tempfile.TemporaryDirectory[str] | None = None
        self.lock: TextIO | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.begun = time.time()

    def prepare(self) -> None:
        """Makes its files."""
        self.directory = tempfile.TemporaryDirectory(prefix="clm-bot-")
        self.place = Path(self.directory.name)
        (self.place / "action").write_bytes(self.message)
        # Workers of this user on this host run an action one after the other; all but the first find its result.
        locks = Path(tempfile.gettempdir()) / f"clm-bot-locks-{os.getuid()}"
        locks.mkdir(mode=0o700, exist_ok=True)
        self.lock = (locks / self.digest[:3]).open("w")

    def wait(self, seconds: float) -> tuple[status_pb2.Status, reapi.ActionResult | None] | None:
        """Goes on for so long; returns the outcome if there is one."""
        until = time.monotonic() + seconds
        if self.lock is None:
            self.prepare()
        while self.process is None:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    return None
                time.sleep(0.02)
                continue
            if (known := self.known()) is not None:
                say(f"{self.slot.name} known {self.digest}")
                return status_pb2.Status(), known
            self.start()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return self.outcome()

    def known(self) -> reapi.ActionResult | None:
        """Returns the result of another worker, if it was made a moment ago."""
        if reapi.Action.FromString(self.message).do_not_cache:
            return None
        request = reapi.GetActionResultRequest(instance_name=self.slot.instance)
        request.action_digest.hash, request.action_digest.size_bytes = self.digest, len(self.message)
        try:
            result = self.slot.cache.GetActionResult(request, timeout=REPORT_SECONDS)
        except grpc.RpcError:
            return None
        age = time.time() - result.execution_metadata.worker_completed_timestamp.seconds
        return result if age < RECENT_SECONDS else None

    def start(self) -> None:
        """Starts the program, in a session of its own: what it starts is killed with it."""
        self.begun = time.time()
        files = {"action": "action", "action-result": "result", "stdout-file": "stdout", "stderr-file": "stderr"}
        arguments = [f"--remote={self.slot.storage}", f"--instance={self.slot.instance}", "--digest-function=SHA256"]
        arguments += [f"--{option}={self.place / name}" for option, name in files.items()]
        log = (self.place / "log").open("wb")
        command = [*self.slot.runner, *arguments]
        self.process = subprocess.Popen(
            command, cwd=self.place, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        say(f"{self.slot.name} begin {self.digest}")

    def outcome(self) -> tuple[status_pb2.Status, reapi.ActionResult | None]:
        """Reads what the program left. Without a result, the server has another worker try it."""
        result = reapi.ActionResult()
        try:
            if self.process.returncode != 0:
                raise ValueError(f"the exit code is {self.process.returncode}")
            result.ParseFromString((self.place / "result").read_bytes())
        except Exception as error:  # a file that is absent or torn
            text = (self.place / "log").read_bytes()[-2000:].decode(errors="replace").strip()
            return failure(f"{self.slot.name}: {error}: {text}"), None
        facts = result.execution_metadata
        facts.worker = facts.worker or self.slot.name
        facts.worker_start_timestamp.seconds = facts.worker_start_timestamp.seconds or int(self.begun)
        facts.worker_completed_timestamp.GetCurrentTime()
        return status_pb2.Status(), result

    def close(self, how: str) -> None:
        """Kills what still runs, and removes the files."""
        if self.process is not None:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            say(f"{self.slot.name} {how} {self.digest} {time.time() - self.begun:.3f} s")
        if self.lock is not None:
            self.lock.close()
        if self.directory is not None:
            self.directory.cleanup()


class Slot:
    """A session with the server, which has one action at a time."""

    def __init__(self, given: argparse.Namespace, channel: grpc.Channel, name: str):
        self.name, self.instance, self.storage, self.runner = name, given.instance, given.storage, given.runner
        self.properties, self.heartbeat, self.alive = given.properties, given.heartbeat, given.alive
        self.stub = bots_pb2_grpc.BotsStub(channel)
        self.cache = reapi_grpc.ActionCacheStub(channel)
        self.run: Run | None = None
        self.failures, self.rests_until = 0, 0.0
        self.fresh()

    def fresh(self) -> None:
        """Begins a new session, without what the last one had to do."""
        self.close("lost")
        device = worker_pb2.Device(handle=self.name)
        device.properties.extend(worker_pb2.Device.Property(key=key, value=value) for key, value in self.properties)
        self.session = bots.BotSession(bot_id=self.name, status=bots.OK, worker=worker_pb2.Worker(devices=[device]))

    def close(self, how: str) -> None:
        """Ends the action of this session, if there is one."""
        if self.run is not None:
            self.run.close(how)
            self.run = None

    def ask(self) -> None:
        """Tells the server the state of the session, and gets the state that it should have."""
        seconds = REPORT_SECONDS if self.session.leases or STOP.is_set() else POLL_SECONDS
        if self.session.name:
            request = bots.UpdateBotSessionRequest(name=self.session.name, bot_session=self.session)
            call = self.stub.UpdateBotSession.future(request, timeout=seconds)
        else:
            request = bots.CreateBotSessionRequest(parent=self.instance, bot_session=self.session)
            call = self.stub.CreateBotSession.future(request, timeout=seconds)
        polls = seconds == POLL_SECONDS
        answered = threading.Event()
        call.add_done_callback(lambda _: answered.set())
        while not answered.wait(0.5):
            if polls and STOP.is_set():
                call.cancel()
        self.session = call.result()
        if self.alive is not None:
            self.alive.touch()

    def loop(self) -> None:
        """Works until the program should end; then says so, since the server would wait for a worker that is gone."""
        while not STOP.is_set():
            try:
                self.turn()
            except grpc.FutureCancelledError:
                break
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                    continue
                say(f"{self.name} the server: {error.code().name}: {error.details()}")
                time.sleep(1)
                if error.code() != grpc.StatusCode.UNAVAILABLE:  # it knows nothing of this session
                    self.fresh()
        self.close("gave back")
        self.session.status = bots.BOT_TERMINATING
        try:
            while self.session.name:
                self.finish(failure("the worker ends"), None)
                self.ask()
                if not self.session.leases:
                    break
        except grpc.RpcError as error:
            say(f"{self.name} could not say that it ends: {error.code().name}")

    def turn(self) -> None:
        """Asks once; begins, goes on with, or ends what the answer says."""
        if self.run is not None:
            try:
                outcome = self.run.wait(self.heartbeat)
            except OSError as error:  # the disk is full, the program is gone
                outcome = failure(f"{self.name}: {error}"), None
            if outcome is not None:
                self.rate(outcome[0])
                self.finish(*outcome)
        elif self.session.status == bots.UNHEALTHY:
            time.sleep(self.heartbeat)
            if time.monotonic() > self.rests_until:
                self.session.status = bots.OK
        self.ask()
        wanted = [lease for lease in self.session.leases if lease.state != bots.COMPLETED]
        if self.run is not None and self.run.id not in {lease.id for lease in wanted}:
            process = self.run.process
            self.close("cancelled" if process is not None and process.poll() is None else "end")
        if self.run is None and wanted:
            wanted[0].state = bots.ACTIVE
            self.run = Run(self, wanted[0])

    def rate(self, status: status_pb2.Status) -> None:
        """Takes no work for a time that doubles, if this worker fails: it would be the first to be free for all of it."""
        if status.code == code_pb2.OK:
            self.failures = 0
            return
        say(f"{self.name} failed {status.message}")
        self.failures += 1
        self.session.status = bots.UNHEALTHY
        self.rests_until = time.monotonic() + min(2**self.failures, LONGEST_REST)

    def finish(self, status: status_pb2.Status, result: reapi.ActionResult | None) -> None:
        """Writes an outcome into the session, for the next request."""
        for lease in self.session.leases:
            lease.state = bots.COMPLETED
            lease.status.CopyFrom(status)
            if result is not None:
                lease.result.Pack(result)


def pair(text: str) -> tuple[str, str]:
    """Reads NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError("NAME=VALUE is expected")
    return name, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("endpoint", help="grpc://host:port or grpc://host:port/instance")
    parser.add_argument("--storage", help="where the program finds the storage, http://host:port; by default the endpoint")
    parser.add_argument("--name", default=socket.gethostname(), help="unique in the farm; by default the host name")
    parser.add_argument("--jobs", type=int, default=1, help="actions at once (1)")
    parser.add_argument("--property", type=pair, action="append", default=[], metavar="NAME=VALUE", dest="properties")
    parser.add_argument("--heartbeat", type=float, default=0.5, help="seconds until a cancelled action is noticed (0.5)")
    parser.add_argument("--alive", type=Path, metavar="FILE", help="touched at every answer of the server, for probes")
    parser.add_argument("runner", nargs="+", help="the program that runs an action, with its first arguments")
    given = parser.parse_args()
    if not given.endpoint.startswith("grpc://"):
        parser.error("the endpoint begins with grpc://")
    address, _, given.instance = given.endpoint.removeprefix("grpc://").partition("/")
    given.storage = given.storage or f"http://{address}"
    # A fault of this program ends it, rather than one thread of it: whatever started it starts it again.
    threading.excepthook = lambda fault: (sys.excepthook(*fault[:3]), os._exit(1))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: STOP.set())
    channel = grpc.insecure_channel(address)
    slots = [Slot(given, channel, f"{given.name}-{number + 1}") for number in range(given.jobs)]
    threads = [threading.Thread(target=slot.loop) for slot in slots]
    for thread in threads:
        thread.start()
    say(f"{given.name} takes {given.jobs} action(s) at once from {address}")
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
