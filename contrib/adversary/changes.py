"""What an author, or a program that an author uses, does to sources, outputs and records."""

import os
import shutil
import time

from world import DECK

def changed(text, rng):
    """The same text with one digit or word changed, and the same length."""
    spots = [i for i, c in enumerate(text) if c.isdigit()]
    if spots:
        at = rng.choice(spots)
        return text[:at] + str((int(text[at]) + 1 + rng.randrange(8)) % 10) + text[at + 1:]
    return None


def put(file, new, how, world):
    """Gives a file new content in one of the ways in which programs do that."""
    old = file.stat()
    if how == "plain":
        file.write_bytes(new)
    elif how == "same-stamp":
        file.write_bytes(new)
        os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
    elif how == "rename-same-stamp":
        beside = file.with_name(file.name + ".new~")
        beside.write_bytes(new)
        os.utime(beside, ns=(old.st_atime_ns, old.st_mtime_ns))
        os.replace(beside, file)
    elif how == "old-time":
        file.write_bytes(new)
        os.utime(file, ns=(-5_000_000_000, -5_000_000_000))
    elif how == "hard-link":
        other = world.base / f"other-{world.rng.randrange(10**9)}"
        os.link(file, other)
        other.write_bytes(new)
    elif how == "truncate-write":
        with open(file, "r+b") as f:
            f.truncate(0)
            f.flush()
            time.sleep(0.02)
            f.write(new)
    elif how == "mmap":
        import mmap
        if not new or len(new) != old.st_size:
            return put(file, new, "plain", world)
        with open(file, "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
            m[:] = new
            m.flush()
            os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
    elif how == "to-link":
        other = world.root / f"elsewhere-{world.rng.randrange(10**9)}.bin"
        other.write_bytes(new)
        file.unlink()
        file.symlink_to(os.path.relpath(other, file.parent))


HOWS = ["plain", "same-stamp", "rename-same-stamp", "old-time", "hard-link", "truncate-write", "mmap", "to-link"]


def mutate(world):
    """Changes something; returns what was done."""
    rng = world.rng
    root, topic = world.root, {k: world.root / v for k, v in world.topic.items()}
    package = world.packages / "outside_package"
    how = rng.choice(HOWS)

    def edit(file):
        if not file.exists():
            return f"nothing at {file.name}"
        text = file.read_text(errors="surrogateescape")
        new = changed(text, rng) if file.suffix != ".xml" else None
        if new is None or rng.random() < 0.3:
            new = text + ("" if text.endswith("\n") else "\n") + {".py": "# more\n", ".pu": "", ".iuml": "' more\n", ".csv": "3,4\n"}.get(file.suffix, "more\n")
            if file.suffix == ".pu":
                new = text.replace("hello", "hello again", 1)
            if file.suffix == ".xml":
                new = text.replace("<en>One", "<en>One and more", 1)
                if how == "to-link":
                    # A link to another specification is another course.
                    return "nothing"
            if file.name == ".env":
                new = text.replace("first", "second", 1)
        put(file, new.encode(errors="surrogateescape"), how, world)
        return f"{how} {file.relative_to(world.base)}"

    def lookup():
        file = topic[rng.choice(list(topic))] / "pu" / "maybe.iuml"
        if file.exists():
            file.unlink()
            return "removed maybe.iuml"
        file.write_text(f"Bob -> Carol: number {rng.randrange(10)}\n")
        return "made maybe.iuml"

    def shadow():
        file = topic["beta"] / "outside_package.py"
        if file.exists():
            file.unlink()
            return "module of the topic removed"
        file.write_text("def value():\n    return 'shadow'\n")
        return "module of the topic shadows the package"

    def swap_links():
        a, b = topic["alpha"] / "one.txt", topic["alpha"] / "two.txt"
        a.write_text("one 1\n"), b.write_text("two 2\n")
        link = topic["alpha"] / "rows" / "linked.txt"
        target = "../one.txt" if not link.is_symlink() or os.readlink(link).endswith("two.txt") else "../two.txt"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        return "link retargeted"

    def add_deck():
        file = topic[rng.choice(list(topic))] / f"slides_new{rng.randrange(3)}.py"
        if file.exists():
            file.unlink()
            return "deck removed"
        n = rng.randrange(100)
        file.write_text(DECK % (n, n, "x", "photo-alpha", "x", "photo-alpha", f"print({n})"))
        return "deck added"

    def move_topic():
        place = topic[rng.choice(list(topic))]
        away = world.base / "away"
        if away.exists():
            return "moved back: " + str(shutil.move(away, world.moved))
        world.moved = place
        shutil.move(place, away)
        time.sleep(0.1)
        if rng.random() < 0.7:
            shutil.move(away, place)
            return "topic moved away and back"
        return "topic moved away"

    def touch_output():
        outputs = [f for f in (root / "output").rglob("*") if f.is_file() and f.name != ".clm-manifest.json"]
        if not outputs:
            return "no outputs"
        file = rng.choice(outputs)
        act = rng.choice(["remove", "edit", "same-stamp", "directory", "tree"])
        if act == "remove":
            file.unlink()
        elif act == "directory":
            file.unlink()
            file.mkdir()
        elif act == "tree":
            shutil.rmtree(file.parent)
        else:
            data = file.read_bytes()
            put(file, data[:-1] + bytes([data[-1] ^ 1]) if data else b"x", "plain" if act == "edit" else act, world)
        return f"output {act}: {file.name}"

    def records():
        state = root / ".clm"
        act = rng.choice(["moved", "database", "blobs", "flip", "wal"])
        if act == "moved":
            shutil.rmtree(world.base / "old.clm", ignore_errors=True)
            if state.exists():
                os.rename(state, world.base / "old.clm")
        elif act == "database":
            (state / "clm.db").unlink(missing_ok=True)
        elif act == "blobs":
            shutil.rmtree(state / "blobs", ignore_errors=True)
        elif act == "flip":
            blobs = [f for f in (state / "blobs").rglob("*") if f.is_file()] if (state / "blobs").exists() else []
            for blob in rng.sample(blobs, min(3, len(blobs))):
                data = bytearray(blob.read_bytes())
                if data:
                    data[rng.randrange(len(data))] ^= 4
                    os.chmod(blob, 0o600)
                    blob.write_bytes(data)
        else:
            for wal in state.glob("clm.db-*"):
                wal.unlink()
        return f"records: {act}"

    def settings():
        file = root / "clm.toml"
        if file.exists():
            file.unlink()
            return "clm.toml removed"
        file.write_text("[output]\nimage_format = \"svg\"\n" if rng.random() < 0.5 else "[notebook]\ntimeout = 77\n")
        return "clm.toml made"

    acts = [(10, lambda: edit(rng.choice([f for f in root.rglob("*") if f.is_file() and not f.is_symlink()
                                          and not {".clm", "output", "img-generated"} & set(f.relative_to(root).parts)
                                          and f.suffix in (".py", ".pu", ".iuml", ".csv", ".txt", ".png")]))),
            (4, lambda: edit(rng.choice(sorted(package.iterdir())))), (2, lambda: edit(root / "course.xml")),
            (2, lambda: edit(root / ".env")), (3, lookup), (2, shadow), (2, swap_links), (2, add_deck), (2, move_topic),
            (4, touch_output), (3, records), (1, settings)]
    weights, choices = zip(*acts)
    return rng.choices(choices, weights)[0]()
