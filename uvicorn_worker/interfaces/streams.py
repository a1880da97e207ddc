"""The file-like objects that a WSGI application gets: request body, error log, wrapper of files."""

from __future__ import annotations

import io
import os
import stat
import threading
from collections.abc import Callable, Iterable
from typing import Any

from uvicorn_worker.core.log import OwnLog

__all__ = ["BodyReader", "ErrorLog", "FileWrapper"]

# The least that is read from a file at once: each block is handed to the event loop and waited for.
_FILE_BLOCK = 65536


class BodyReader(io.RawIOBase):
    """The request body as it arrives: `next_chunk` blocks until there is more, and gives b"" at its end.

    An `io.BufferedReader` around it is what the application reads from.
    """

    def __init__(self, next_chunk: Callable[[], bytes]) -> None:
        super().__init__()
        self._next_chunk = next_chunk
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """True: it is read from."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with what there is; waits only when there is nothing."""
        chunk = self._rest or memoryview(self._next_chunk())
        size = min(len(chunk), len(buffer))
        buffer[:size] = chunk[:size]
        self._rest = chunk[size:]
        return size

    def readall(self) -> bytes:
        """All that is left; `io.RawIOBase` would copy it in small pieces."""
        chunks: list[bytes | memoryview] = [self._rest]
        self._rest = memoryview(b"")
        while chunk := self._next_chunk():
            chunks.append(chunk)
        return b"".join(chunks)


class ErrorLog(threading.local):
    """`wsgi.errors`: each line that is written becomes one of the error log.

    What one call writes stays together, as a traceback does. Each thread has an unfinished line of its own.
    """

    _log = OwnLog()

    text = ""
    """The line that this thread has begun; `flush()` ends it."""

    def write(self, text: str) -> int:
        """Log `text` when it ends with a newline; else keep it until then."""
        self.text += text
        if text.endswith("\n"):
            self.flush()
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write all of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Log what was written and not logged yet."""
        text, self.text = self.text.rstrip("\n"), ""
        if text:
            self._log.error("%s", text)


class FileWrapper:
    """`wsgi.file_wrapper`: the blocks of a file as a response; `blksize` is a hint (PEP 3333)."""

    close: Callable[[], object]

    def __init__(self, filelike: Any, blksize: int = 8192) -> None:
        self.filelike = filelike
        self.blksize = max(blksize, _FILE_BLOCK)
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def part(self) -> tuple[int, int, int] | None:
        """Descriptor, position, and how many bytes are there from it on; None where the file can't be sent by these.

        That can a regular file whose bytes are what `read()` gives: others that have a descriptor too (of a
        compressed file, for instance) read something else than what is in it.
        """
        file = self.filelike
        try:
            raw = file.raw if type(file) is io.BufferedReader else file
            if type(raw) is not io.FileIO or not raw.readable():
                return None
            fd = raw.fileno()
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return None
            at = file.tell()
        except (OSError, ValueError):
            # Closed already, say: to read it tells what is wrong.
            return None
        return fd, at, max(0, status.st_size - at)

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        block: bytes = self.filelike.read(self.blksize)
        if block:
            return block
        raise StopIteration
