"""The file-like objects in a WSGI environ."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable

import pytest

from uvicorn_worker.interfaces.streams import BodyReader, ErrorLog, FileWrapper


def reader(*chunks: bytes, size: int = 8) -> io.BufferedReader:
    left = list(chunks)
    return io.BufferedReader(BodyReader(lambda: left.pop(0) if left else b""), size)


class TestBodyReader:
    def test_all_of_it(self) -> None:
        assert reader(b"one", b"two", b"three").read() == b"onetwothree"
        assert reader().read() == b""

    def test_in_pieces(self) -> None:
        body = reader(b"hello wor", b"ld", b"x" * 100)
        assert body.read(5) == b"hello"
        assert body.read(6) == b" world"
        assert body.read(0) == b""
        assert body.read(1000) == b"x" * 100
        assert body.read(1) == body.read() == b""

    def test_the_rest_after_a_piece(self) -> None:
        body = reader(b"a" * 20, b"b")
        assert body.read(3) + body.read() == b"a" * 20 + b"b"

    def test_lines(self) -> None:
        body = reader(b"one\ntw", b"o\n", b"\n", b"last")
        assert body.readline() == b"one\n"
        assert body.readline(1) == b"t"
        assert body.readlines() == [b"wo\n", b"\n", b"last"]
        assert list(reader(b"a\nb", b"\n")) == [b"a\n", b"b\n"]
        assert reader(b"a\nb\nc\n").readlines(3) == [b"a\n", b"b\n"]

    def test_what_is_raised_on_the_way(self) -> None:
        def lost() -> bytes:
            raise ConnectionError("gone")

        with pytest.raises(ConnectionError, match="gone"):
            io.BufferedReader(BodyReader(lost)).read()


class TestErrorLog:
    def test_a_line_is_one_of_the_log(self, log: Callable[..., list[str]]) -> None:
        errors = ErrorLog()
        assert errors.write("one\n") == 4
        print("two", 2, file=errors)  # write() is all that print() needs
        assert log(logging.ERROR) == ["one", "two 2"]

    def test_what_is_written_at_once_stays_together(self, log: Callable[..., list[str]]) -> None:
        ErrorLog().write("Traceback:\n  line\n100 %s\n")
        assert log() == ["Traceback:\n  line\n100 %s"]

    def test_a_line_without_an_end(self, log: Callable[..., list[str]]) -> None:
        errors = ErrorLog()
        errors.writelines(["begun", " and"])
        assert (log(), errors.text) == ([], "begun and")
        errors.flush()
        errors.flush()
        errors.write("\n")
        assert (log(), errors.text) == (["begun and"], "")

    def test_each_thread_has_its_own(self, log: Callable[..., list[str]]) -> None:
        errors = ErrorLog()
        errors.write("mine ")
        thread = threading.Thread(target=errors.write, args=("theirs\n",))
        thread.start()
        thread.join()
        errors.write("only\n")
        assert log() == ["theirs", "mine only"]


class TestFileWrapper:
    def test_blocks(self) -> None:
        file = io.BytesIO(b"x" * 100_000)
        wrapper = FileWrapper(file, 8192)
        assert [len(block) for block in wrapper] == [65536, 34464]
        wrapper.close()
        assert file.closed

    def test_large_blocks_are_the_applications_wish(self) -> None:
        assert len(next(FileWrapper(io.BytesIO(b"x" * 300_000), 200_000))) == 200_000

    def test_a_file_that_can_not_be_closed(self) -> None:
        class Endless:
            def read(self, size: int) -> bytes:
                return b""

        assert not hasattr(FileWrapper(Endless()), "close")
