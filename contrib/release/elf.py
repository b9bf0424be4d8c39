"""What a Linux binary needs, read from its tables: no `objdump` knows the binaries of all machines."""

import platform
import struct
from dataclasses import dataclass
from pathlib import Path

MACHINES = {62: "x86_64", 183: "aarch64"}
DYNAMIC, NEEDS = 6, 0x6FFFFFFE


@dataclass
class Binary:
    """The machine, the shared libraries, and the newest glibc whose symbols are used; `None` without glibc."""

    machine: str
    needed: list
    glibc: tuple | None

    def triple(self):
        return f"{self.machine}-unknown-linux-{'gnu' if self.glibc else 'musl'}"

    def __str__(self):
        if not self.needed:
            return "static, needs no shared library"
        return f"glibc {'.'.join(map(str, self.glibc or ()))}, needs {', '.join(self.needed)}"


def read(path):
    """Reads the tables of a 64-bit little-endian file, and ends the program for anything else."""
    data = Path(path).read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise SystemExit(f"`{path}` is no binary of 64-bit Linux")
    machine = MACHINES.get(struct.unpack_from("<H", data, 18)[0])
    if machine is None:
        raise SystemExit(f"`{path}` is for a machine that clm is not packed for")
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + index * size) for index in range(count)]
    needed, versions = [], []
    for _, kind, _, _, offset, length, link, entries, _, _ in sections:
        if kind not in (DYNAMIC, NEEDS):
            continue
        strings = sections[link][4]

        def text(at, strings=strings):
            return data[strings + at : data.index(b"\0", strings + at)].decode()

        if kind == DYNAMIC:
            for at in range(offset, offset + length, 16):
                tag, value = struct.unpack_from("<QQ", data, at)
                if tag == 0:
                    break
                if tag == 1:
                    needed.append(text(value))
            continue
        at = offset
        for _ in range(entries):
            _, parts, _, first, following = struct.unpack_from("<HHIII", data, at)
            part = at + first
            for _ in range(parts):
                _, _, _, name, step = struct.unpack_from("<IHHII", data, part)
                if text(name).startswith("GLIBC_2"):
                    versions.append(tuple(int(number) for number in text(name)[6:].split(".")))
                part += step
            at += following
    newest = max(versions, default=None)
    return Binary(machine, sorted(needed), newest[:2] if newest else None)


def runs_here(found):
    """Whether this machine can run the binary, as far as its tables say."""
    if found.machine != platform.machine():
        return False
    name, version = platform.libc_ver()
    if not found.glibc:
        return True
    return name == "glibc" and tuple(int(part) for part in version.split(".")[:2]) >= found.glibc
