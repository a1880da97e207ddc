"""Memory that the processes of one master share, and that the same user, and root, can find from outside.

memfd_create (Linux)    it has no name; /proc/PID/fd of any of its processes leads to it, for whom the kernel lets look
elsewhere               a file in a folder of the user's own, which the process that has made it removes at its end

Either way it is gone with the last of its processes, and no program that they start inherits it.
"""

from __future__ import annotations

import atexit
import contextlib
import mmap
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from uvicorn_worker.core.kernel import is_alive

__all__ = ["find_shared", "make_shared", "open_shared"]

_PROC = Path("/proc")


def make_shared(name: str, size: int) -> mmap.mmap:
    """Zeroed memory under `name`; where it can't have one, it is seen by this process and its children alone."""
    try:
        descriptor = os.memfd_create(name, os.MFD_CLOEXEC) if hasattr(os, "memfd_create") else _make_file(name)
        os.ftruncate(descriptor, size)
        # The map keeps a duplicate of the descriptor, which is what others find.
        memory = _map(descriptor, size)
        os.close(descriptor)
    except (AttributeError, OSError):
        # Also on Windows, whose files belong to no numbers.
        return mmap.mmap(-1, size)
    return memory


def _map(descriptor: int, size: int, **options: int) -> mmap.mmap:
    """The map, which no program that is started inherits."""
    memory = mmap.mmap(descriptor, size, **options)
    if sys.implementation.name == "pypy":
        _keep_from_programs(descriptor)
    return memory


def _keep_from_programs(descriptor: int) -> None:
    """PyPy's duplicate would be inherited by programs that are started."""
    info = os.fstat(descriptor)
    for name in os.listdir("/proc/self/fd") if _PROC.is_dir() else ():
        # That of the listing itself is closed by now.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(int(name)), info):
                os.set_inheritable(int(name), False)


def open_shared(path: Path, size: int) -> mmap.mmap | None:
    """What `find_shared` has found, to be read; None where it is of another size, or gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _map(descriptor, size, access=mmap.ACCESS_READ) if os.fstat(descriptor).st_size == size else None
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)


def find_shared(name: str, pid: int | None = None) -> Iterator[Path]:
    """Where processes (or that of `pid`) have memory under `name`, as far as this user may see it; once each."""
    if hasattr(os, "memfd_create") and _PROC.is_dir():
        yield from _find_descriptors(name, pid)
        return
    folder = _folder()
    for path in sorted(folder.glob(f"{name}.*")) if _is_own(folder) else ():
        owner = int(path.suffix[1:])
        if not is_alive(owner):
            # It was killed.
            path.unlink(missing_ok=True)
        elif pid in (None, owner):
            yield path


# Linux -----------------------------------------------------------------------------------------------------------


def _find_descriptors(name: str, pid: int | None) -> Iterator[Path]:
    seen: set[int] = set()
    pids = sorted(int(each) for each in os.listdir(_PROC) if each.isdigit()) if pid is None else [pid]
    for number in pids:
        folder = _PROC / str(number) / "fd"
        with contextlib.suppress(OSError):
            for entry in os.listdir(folder):
                path = folder / entry
                with contextlib.suppress(OSError):
                    if os.readlink(path).startswith(f"/memfd:{name} ") and (inode := path.stat().st_ino) not in seen:
                        seen.add(inode)
                        yield path


# Elsewhere -------------------------------------------------------------------------------------------------------


def _folder() -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"uvicorn-worker-{os.getuid()}"


def _is_own(folder: Path) -> bool:
    """Whether it is a folder of this user's, which nobody else may write to or look into."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _make_file(name: str) -> int:
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_own(folder):
        raise PermissionError(f"{folder} is not this user's alone")
    owner = os.getpid()
    path = folder / f"{name}.{owner}"
    # Of a process that had this number before, and was killed.
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def remove() -> None:
        # Not in a process that was forked from this one.
        if os.getpid() == owner:
            path.unlink(missing_ok=True)

    atexit.register(remove)
    return descriptor
