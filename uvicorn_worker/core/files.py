"""Parts of files as bodies of responses: http.response.pathsend and http.response.zerocopysend.

A part is opened and measured before anything of the response has left, so that a file that can't be sent is an error
of the application's like any other. It is read in pieces where the kernel does not send it (TLS, HTTP/2): what the
kernel has in memory at once, what it has to fetch by a thread.
"""

from __future__ import annotations

import asyncio
import os
import stat
from types import TracebackType
from typing import Any

from uvicorn_worker.core.asgi import Event
from uvicorn_worker.core.errors import ApplicationError

__all__ = ["PIECE_SIZE", "TURN_SIZE", "FilePart", "file_of", "opened_path", "read_piece"]

# How much is read of a file at once.
PIECE_SIZE = 131072

# How much of a file is sent in one turn of the loop, so that others get theirs: nothing would be waited for where it is
# in memory, and the client takes all.
TURN_SIZE = 1048576

# A FIFO would be waited for until someone writes.
_OPEN_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    _OPEN_FLAGS |= getattr(os, _name, 0)

# RWF_NOWAIT (Linux): give what is in memory, and do not wait for the disk.
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)


class FilePart:
    """`size` bytes of the file behind the descriptor `fd`, from `offset` on; closes what it has opened."""

    __slots__ = ("_file", "_path", "fd", "offset", "size")

    def __init__(self, fd: int, offset: int, size: int, path: Any = None, file: Any = None) -> None:
        self.fd = fd
        self.offset = offset
        self.size = size
        # By which it was opened here, if it was.
        self._path = path
        # The application's file, of which the part began where it stood: it is to stand behind the part then.
        self._file = file

    @property
    def name(self) -> str:
        """For messages of errors."""
        return _name_of(self._path)

    def __enter__(self) -> FilePart:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._path is not None:
            os.close(self.fd)
        elif self._file is not None and kind is None:
            _stand_at(self._file, self.offset + self.size)

    def shrunk(self) -> ApplicationError:
        """What is raised where the file turns out to have become shorter while it was being sent."""
        return ApplicationError(f"{self.name} has become shorter than it was while it was sent")


def opened_path(message: Event) -> FilePart:
    """All of the file that a http.response.pathsend names; raises `ApplicationError` where it can't be sent."""
    path: Any = message.get("path")
    try:
        fd = os.open(path, _OPEN_FLAGS)
    except (OSError, TypeError, ValueError) as exc:
        raise ApplicationError(f"the file {path!r} of http.response.pathsend can't be opened: {exc}") from exc
    try:
        return FilePart(fd, 0, _size_of(fd, path), path)
    except BaseException:
        os.close(fd)
        raise


def file_of(message: Event) -> FilePart:
    """The part that a http.response.zerocopysend means, of a file that stays the application's.

    Without `offset` it begins where the file stands, which stands behind it afterwards, as with os.sendfile(); without
    `count` it is all up to the file's end. Raises `ApplicationError` where it can't be sent.
    """
    file: Any = message.get("file")
    offset, count = message.get("offset"), message.get("count")
    try:
        fd = file if isinstance(file, int) else file.fileno()
        size = _size_of(fd, None)
        start = (os.lseek(fd, 0, os.SEEK_CUR) if isinstance(file, int) else file.tell()) if offset is None else offset
    except (AttributeError, OSError, ValueError) as exc:
        raise ApplicationError(f"the file of http.response.zerocopysend has no open descriptor: {exc}") from exc
    for number in (start, count):
        if number is not None and (not isinstance(number, int) or number < 0):
            raise ApplicationError(f"offset and count of http.response.zerocopysend must be numbers, not {number!r}")
    there = max(0, size - start)
    if count is None:
        count = there
    elif count > there:
        raise ApplicationError(f"http.response.zerocopysend: the file has {there} bytes from {start} on, not {count}")
    return FilePart(fd, start, count, file=file if offset is None else None)


def _name_of(path: Any) -> str:
    """What a file is called in messages: by its path, or by what it came with."""
    return "the file of http.response.zerocopysend" if path is None else f"the file {path!r}"


def _size_of(fd: int, path: Any) -> int:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise ApplicationError(f"{_name_of(path)} is not a regular file")
    return status.st_size


def _stand_at(file: Any, offset: int) -> None:
    """Move to where the next part begins."""
    if isinstance(file, int):
        os.lseek(file, offset, os.SEEK_SET)
    else:
        file.seek(offset)


async def read_piece(loop: asyncio.AbstractEventLoop, fd: int, size: int, offset: int) -> bytes | memoryview:
    """Up to `size` bytes of a file from `offset` on, and at most a piece; none at its end.

    A memoryview is one of a buffer that nobody else has: it may be kept until it was sent.
    """
    size = min(size, PIECE_SIZE)
    if _NOWAIT is not None:
        buffer = bytearray(size)
        try:
            count = os.preadv(fd, [buffer], offset, _NOWAIT)
        except OSError:
            # Not in memory, or a file system that can't tell.
            pass
        else:
            if count:
                return memoryview(buffer)[:count]
    return await loop.run_in_executor(None, _read_at, fd, size, offset)


def _read_at(fd: int, size: int, offset: int) -> bytes:
    """As os.pread(), which Windows does not have."""
    if hasattr(os, "pread"):
        return os.pread(fd, size, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, size)
