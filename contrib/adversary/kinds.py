"""The kinds of attack. Each does something to a world, and gives what it did, what was wrong (or nothing), and details."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

from changes import mutate
from world import DECK, PATIENCE, reference, tree

# The warning about an output that was changed and whose source is gone.
SPARED = re.compile(r"^output/(.+): warning: the source of this output is gone, but it was changed", re.MULTILINE)


def stale(world):
    """Any change: the outputs are those of a clean build, and "up to date" is true."""
    story, spared = [], set()
    world.run("build", "--no-daemon")
    if world.rng.random() < 0.5:
        world.start_watch()
        story.append("watch")
    for _ in range(world.rng.randrange(3, 7)):
        for _ in range(world.rng.choice([1, 1, 2, 3])):
            story.append(mutate(world))
        check = world.rng.random() < 0.3
        if check:
            checked, _ = world.run("build", "--check", "--no-daemon")
        code, out = world.run("build")
        expected, clean, clean_out = reference(world)
        if code is None:
            return story, "hang", out
        ours = tree(world.root / "output")
        # What the author changed in the outputs is not removed with its source, and clm says so.
        spared.update(SPARED.findall(out))
        differs = sorted(k for k in clean.keys() | ours.keys() - spared if clean.get(k) != ours.get(k))
        if expected == 0 and (code != 0 or differs):
            return story, "stale", f"exit {code}, differs: {differs[:6]}\n{out[-1500:]}"
        if expected != 0 and code == 0:
            return story, "stale", f"exit 0, but a clean build: {expected}\n{clean_out[-1500:]}"
        if check and checked == 0 and "Built 0, written 0, restored 0" not in out:
            return story, "stale", f"--check said 0, but the build: {out[-800:]}"
        if expected == 0:
            code, out = world.run("build", "--no-daemon")
            if code != 0 or "Built 0, written 0, restored 0" not in out:
                return story, "not settled", f"a second build: exit {code}\n{out[-1200:]}"
    return story, None, None


def lost(world):
    """Files of the author where outputs belong or once were: their bytes exist afterwards, somewhere."""
    rng, story, own = world.rng, [], {}
    expected = sorted(reference(world)[1])

    def drop(place):
        place = pathlib.Path(place)
        if any(p.is_file() or p.is_symlink() for p in place.parents):
            return
        data = f"bytes of the author {rng.random()}".encode()
        if place.is_dir() and not place.is_symlink():
            place = place / "own.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.write_bytes(data)
        own[data] = str(place.relative_to(world.root))
        story.append(f"own {own[data]}")

    if rng.random() < 0.5:
        world.run("build", "--no-daemon")
        story.append("built")
    if rng.random() < 0.4:
        world.start_watch()
        story.append("watch")
    for _ in range(rng.randrange(2, 6)):
        outputs = [world.root / "output" / p for p in expected]
        choice = rng.randrange(7)
        if choice <= 2:
            drop(rng.choice(outputs))
        elif choice == 3:
            drop(rng.choice(outputs).parent / f"own-{rng.randrange(99)}.txt")
        elif choice == 4:
            drop(world.root / world.topic[rng.choice(list(world.topic))] / "img-generated" / f"{rng.choice(list(world.topic))}.png")
        elif choice == 5:
            place = rng.choice(outputs)
            if place.is_file() and place.stat().st_size:
                place.unlink()
            drop(place / "inside.txt")
        else:
            story.append(mutate(world))
        if rng.random() < 0.3:
            process = world.start("build")
            time.sleep(rng.random() * 3)
            process.kill()
            process.communicate()
            story.append("killed")
        code, out = world.run("build", *(["--no-replace"] if rng.random() < 0.2 else []))
        if code is None:
            return story, "hang", out
        there = {f.read_bytes() for f in world.root.rglob("*") if f.is_file() and not f.is_symlink() and f.stat().st_size < 100}
        old = world.base / "old.clm"
        if old.exists():
            there |= {f.read_bytes() for f in old.rglob("*") if f.is_file() and f.stat().st_size < 100}
        gone = [path for data, path in own.items() if data not in there]
        if gone:
            return story, "lost", f"{gone}\n{out[-1200:]}"
    return story, None, None


def hang(world):
    """Pipes, sockets and devices anywhere: every command ends, and SIGTERM ends a watch."""
    rng, story = world.rng, []
    if rng.random() < 0.5:
        world.run("build", "--no-daemon")
    places = [f for f in world.root.rglob("*") if f.is_file() and "clm.lock" not in f.name]
    places += [world.root / "clm.toml", world.root / ".gitignore", world.root / ".clmignore", world.root / "output"]
    for _ in range(rng.randrange(1, 4)):
        place = rng.choice(places)
        try:
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
            what = rng.choice(["fifo", "socket", "zero", "link-to-fifo", "loop", "directory"])
            if what == "fifo":
                os.mkfifo(place)
            elif what == "socket":
                here = os.getcwd()
                os.chdir(place.parent)
                try:
                    socket.socket(socket.AF_UNIX).bind(place.name)
                finally:
                    os.chdir(here)
            elif what == "zero":
                place.symlink_to("/dev/zero")
            elif what == "loop":
                place.symlink_to(place.name)
            elif what == "directory":
                place.mkdir()
            else:
                fifo = world.base / f"fifo-{rng.randrange(10**9)}"
                os.mkfifo(fifo)
                place.symlink_to(fifo)
            story.append(f"{what} {place.relative_to(world.root)}")
        except OSError as error:
            story.append(f"not possible: {error}")
    for command in (["build", "--no-daemon"], ["build", "--check", "--no-daemon"], ["status"], ["check-spec"]):
        code, out = world.run(*command, patience=90)
        if code is None:
            return story, "hang", " ".join(command)
        if "panicked" in out or code < 0 or code == 101:
            return story, "crash", f"{command} exit {code}: {out[-1500:]}"
    if rng.random() < 0.4:
        world.start_watch()
        time.sleep(1)
        if not world.stop():
            return story, "hang", "watch did not end on SIGTERM"
    return story, None, None


HELPERS = ("java", "chromium", "python", "deno")


def blame(world):
    """A helper process that is killed costs a retry; a guilty deck or diagram is the only one with an error."""
    rng, story = world.rng, []
    guilty = None
    if rng.random() < 0.6:
        name = rng.choice(list(world.topic))
        kind = rng.choice(["exit", "syntax", "memory", "signal", "jvm", "diagram"])
        if kind in ("jvm", "diagram"):
            guilty = f"{world.topic[name]}/pu/{name}.pu"
            text = "@startuml\nfoo bar baz !!\n@enduml\n" if kind == "diagram" else "@startuml\n!$x = \"aaaaaaaaaa\"\n!while 1==1\n!$x = $x + $x\n!endwhile\nA -> B: $x\n@enduml\n"
        else:
            guilty = f"{world.topic[name]}/slides_{name}.py"
            code = {"exit": "import os; os._exit(3)", "syntax": "print((", "memory": "raise MemoryError", "signal": "import os, signal; os.kill(os.getpid(), 11)"}[kind]
            text = DECK % (name, name, name, name, name, name, code)
        world.write(guilty, text)
        story.append(f"{kind} in {guilty}")
    process = world.start("build", "--no-daemon", "--message-format", "json")
    kills = 0 if guilty else rng.randrange(1, 3)
    for _ in range(kills):
        time.sleep(0.3 + rng.random() * 4)
        victims = [(pid, line) for pid, line in world.survivors() if pid != process.pid and any(h in line for h in HELPERS)]
        if victims and process.poll() is None:
            pid, line = rng.choice(victims)
            story.append(f"killed {line}")
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
            time.sleep(2)
    try:
        out, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return story, "hang", "build"
    errors = []
    for line in out.splitlines():
        if line.startswith("{"):
            event = json.loads(line)
            text = json.dumps(event)
            if '"severity": "error"' in text or '"severity":"error"' in text:
                errors.append(event)
    named = [e for e in errors if guilty and guilty in json.dumps(e)]
    if len(named) != len(errors):
        return story, "blamed", "\n".join(json.dumps(e)[:600] for e in errors if e not in named)
    if guilty and (process.returncode != 1 or not errors):
        return story, "silent", f"exit {process.returncode}\n{out[-1500:]}"
    if not guilty and process.returncode != 0:
        return story, "blamed", f"exit {process.returncode}\n{out[-1500:]}"
    if not guilty and tree(world.root / "output") != reference(world)[1]:
        return story, "stale", "outputs after a helper was killed"
    return story, None, None


def orphan(world):
    """clm ends in any way, with cells that detach processes: nothing survives."""
    rng, story = world.rng, []
    for name in world.topic:
        code = rng.choice([
            "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)",
            "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.execvp('sleep', ['sleep', '600'])\n    os._exit(0)",
            "import subprocess, time; subprocess.Popen('sleep 600 & sleep 600 &', shell=True); time.sleep(1)",
            "import time; time.sleep(2)",
        ])
        world.write(f"{world.topic[name]}/slides_{name}.py", DECK % (name, name, name, name, name, name, code))
    how = rng.choice(["end", "kill", "term", "int", "watch-kill", "watch-term"])
    story.append(how)
    if how.startswith("watch"):
        world.watch = subprocess.Popen([world.clm, "watch"], cwd=world.root, env=world.env(), stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        process = world.watch
    else:
        process = world.start("build", "--no-daemon")
    if how != "end":
        time.sleep(rng.random() * 8)
        process.send_signal({"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}[how.split("-")[-1]])
    try:
        if process.stdout:
            process.communicate(timeout=PATIENCE)
        else:
            process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return story, "hang", "did not end"
    left = []
    for _ in range(100):
        left = world.survivors()
        if not left:
            return story, None, None
        time.sleep(0.1)
    for pid, _ in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    return story, "orphan", "\n".join(f"{pid} {line}" for pid, line in left)


KINDS = {"stale": stale, "lost": lost, "hang": hang, "blame": blame, "orphan": orphan}
