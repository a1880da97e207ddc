"""Who has an address that we can't have: the process and its command, as far as the kernel tells us (Linux)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["occupant"]

# The state of a listening socket in /proc/net/tcp, and the most of a command that is shown.
_LISTENS = "0A"
_SHOWN = 60

PROC = Path("/proc")


def occupant(port: int | None = None, path: str | None = None) -> str:
    """`process 4711 (python -m http.server)` for what listens at a port or at the path of a unix socket; or nothing."""
    inodes = set(_listening(port) if path is None else _unix(path))
    if not inodes:
        return ""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for pid in sorted(int(name) for name in os.listdir(PROC) if name.isdigit()):
        if wanted & set(_files(pid)):
            command = _command(pid)
            return f"process {pid} ({command})" if command else f"process {pid}"
    return ""


def _listening(port: int | None) -> Iterator[str]:
    for name in ("tcp", "tcp6"):
        for fields in _lines(PROC / "net" / name):
            if len(fields) > 9 and fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _unix(path: str) -> Iterator[str]:
    for fields in _lines(PROC / "net" / "unix"):
        # Flags 10000: it listens (__SO_ACCEPTCON).
        if len(fields) > 7 and fields[3] == "00010000" and os.path.abspath(fields[7]) == os.path.abspath(path):
            yield fields[6]


def _lines(file: Path) -> list[list[str]]:
    try:
        return [line.split() for line in file.read_text("utf-8", "replace").splitlines()[1:]]
    except OSError:
        return []


def _files(pid: int) -> Iterator[str]:
    folder = PROC / str(pid) / "fd"
    try:
        names = os.listdir(folder)
    except OSError:
        # It has ended, or is somebody else's.
        return
    for name in names:
        try:
            yield os.readlink(folder / name)
        except OSError:
            continue


def _command(pid: int) -> str:
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    text = " ".join(word.decode("utf-8", "replace") for word in words if word)
    text = "".join(each if each.isprintable() else "?" for each in text)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
