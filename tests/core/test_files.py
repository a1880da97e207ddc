"""Parts of files: what can be sent, from where to where, and what is read of it."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from uvicorn_worker.core import files
from uvicorn_worker.core.errors import ApplicationError
from uvicorn_worker.core.files import PIECE_SIZE, FilePart, file_of, opened_path, read_piece

TEXT = b"0123456789"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    return path


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def zerocopysend(file: Any, **given: Any) -> FilePart:
    return file_of({"type": "http.response.zerocopysend", "file": file, **given})


class TestPath:
    def test_all_of_it(self, path: Path) -> None:
        with opened_path({"type": "http.response.pathsend", "path": str(path)}) as part:
            assert (part.offset, part.size) == (0, 10)
            assert os.read(part.fd, 20) == TEXT
        assert not is_open(part.fd)

    @pytest.mark.parametrize("name", ["/no-such", "a\0b", None, ""])
    def test_what_can_not_be_opened(self, name: str | None) -> None:
        with pytest.raises(ApplicationError, match=r"of http\.response\.pathsend can't be opened"):
            opened_path({"type": "http.response.pathsend", "path": name})

    def test_what_is_no_regular_file_is_closed_again(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        before = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else []
        for name in ("fifo", "."):
            with pytest.raises(ApplicationError, match="is not a regular file"):
                opened_path({"type": "http.response.pathsend", "path": str(tmp_path / name)})
        assert not before or len(os.listdir("/proc/self/fd")) == len(before)

    def test_one_that_has_become_shorter(self, path: Path) -> None:
        with opened_path({"type": "http.response.pathsend", "path": str(path)}) as part:
            assert str(part.shrunk()) == f"the file {str(path)!r} has become shorter than it was while it was sent"


class TestFile:
    def test_from_where_it_stands_and_it_stands_behind_it_afterwards(self, path: Path) -> None:
        with path.open("rb") as file:
            file.seek(4)
            with zerocopysend(file, count=3) as part:
                assert (part.fd, part.offset, part.size) == (file.fileno(), 4, 3)
            assert file.read() == TEXT[7:]

    def test_so_does_a_descriptor(self, path: Path) -> None:
        with path.open("rb") as file:
            fd = file.fileno()
            os.lseek(fd, 4, os.SEEK_SET)
            with zerocopysend(fd) as part:
                assert (part.offset, part.size) == (4, 6)
            assert os.lseek(fd, 0, os.SEEK_CUR) == 10

    def test_it_stays_where_an_offset_is_given_or_sending_has_failed(self, path: Path) -> None:
        with path.open("rb") as file:
            file.seek(4)
            with zerocopysend(file, offset=1, count=2) as part:
                assert (part.offset, part.size) == (1, 2)
            with pytest.raises(LookupError), zerocopysend(file):
                raise LookupError
            assert file.tell() == 4

    def test_behind_its_end_there_is_nothing(self, path: Path) -> None:
        with path.open("rb") as file:
            assert zerocopysend(file, offset=20).size == 0

    @pytest.mark.parametrize("given", [{"offset": -1}, {"count": -1}, {"offset": "1"}, {"count": 1.5}])
    def test_what_is_no_number(self, path: Path, given: dict[str, Any]) -> None:
        with path.open("rb") as file, pytest.raises(ApplicationError, match="must be numbers"):
            zerocopysend(file, **given)

    def test_more_than_there_is(self, path: Path) -> None:
        with path.open("rb") as file, pytest.raises(ApplicationError, match="the file has 2 bytes from 8 on, not 3"):
            zerocopysend(file, offset=8, count=3)

    def test_what_is_no_file(self, path: Path) -> None:
        with path.open("rb") as file:
            pass
        for each in (file, object()):
            with pytest.raises(ApplicationError, match="has no open descriptor"):
                zerocopysend(each)
        reading, writing = os.pipe()
        try:
            with pytest.raises(ApplicationError, match="is not a regular file"):
                zerocopysend(reading)
        finally:
            os.close(reading)
            os.close(writing)


class TestPieces:
    def read(self, path: Path, size: int, offset: int = 0) -> bytes | memoryview:
        async def main(fd: int) -> bytes | memoryview:
            return await read_piece(asyncio.get_running_loop(), fd, size, offset)

        with path.open("rb") as file:
            return asyncio.run(main(file.fileno()))

    def test_what_there_is(self, path: Path) -> None:
        assert self.read(path, 4, 2) == TEXT[2:6]
        assert self.read(path, 40, 8) == TEXT[8:]
        assert self.read(path, 4, 10) == b""

    def test_no_more_than_a_piece(self, path: Path) -> None:
        path.write_bytes(bytes(PIECE_SIZE + 1))
        assert len(self.read(path, PIECE_SIZE + 1)) == PIECE_SIZE

    def test_each_has_a_buffer_of_its_own(self, path: Path) -> None:
        """What was read is still on its way when the next piece is read."""
        first, second = self.read(path, 4, 0), self.read(path, 4, 4)
        assert (first, second) == (TEXT[:4], TEXT[4:8])

    def test_what_has_to_be_fetched(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def not_in_memory(*args: object) -> int:
            raise OSError(errno.EAGAIN, "not now")

        monkeypatch.setattr(files, "_NOWAIT", 8)
        monkeypatch.setattr(os, "preadv", not_in_memory, raising=False)
        assert self.read(path, 4, 2) == TEXT[2:6]

    def test_where_the_system_can_not_tell_what_is_in_memory(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files, "_NOWAIT", None)
        assert self.read(path, 4, 2) == TEXT[2:6]
        monkeypatch.delattr(os, "pread")
        assert self.read(path, 4, 2) == TEXT[2:6]
