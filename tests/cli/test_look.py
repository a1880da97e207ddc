"""`uvicorn-worker status`, `top` and `dump`, on boards of this process; tests/e2e/test_board.py has real servers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.boards import add_worker
from uvicorn_worker.board import reading
from uvicorn_worker.board.board import Board
from uvicorn_worker.board.reading import read_board
from uvicorn_worker.cli import look as module
from uvicorn_worker.cli.look import NotFound, find_board, look
from uvicorn_worker.cli.wording import as_text, seconds
from uvicorn_worker.core.figures import words_of


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    board = Board()
    board.wanted = 2
    monkeypatch.setattr(module, "find_boards", lambda pid=None: [board] if pid in (None, os.getpid()) else [])
    return board


class TestStatus:
    def test_a_line_for_each_worker(self, board: Board, capsys: pytest.CaptureFixture[str]) -> None:
        slot = add_worker(
            board, http11_2xx=5, rss=30 << 20, requests=1, oldest_since=time.monotonic_ns(), refused_flood=2
        )
        slot.oldest = "GET /slow"
        assert look("status", []) == 0
        out = capsys.readouterr().out
        assert f"master {os.getpid()}" in out
        assert "ready, 1 of 2 workers serving; 5 requests served" in out
        [line] = [line for line in out.splitlines() if line.startswith(str(os.getpid()))]
        assert "serving" in line
        assert "30M" in line
        assert "GET /slow" in line
        assert "refused flood 2" in out

    def test_nobody_ready_is_told_by_the_code(self, board: Board, capsys: pytest.CaptureFixture[str]) -> None:
        board.keep_end([99, 1, 13, 9, time.time_ns(), 5 * 10**9, 7, 0, 2, 0, 10**9], "GET /last")
        assert look("status", []) == 1
        out = capsys.readouterr().out
        assert "NOT READY" in out
        assert "99: killed by signal SIGKILL" in out
        assert "2 requests in flight, the longest GET /last for 1.0s" in out

    def test_json(self, board: Board, capsys: pytest.CaptureFixture[str]) -> None:
        add_worker(board, http2_5xx=3)
        assert look("status", ["--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["totals"]["http2_5xx"] == found["served"] == 3
        assert found["workers"][0]["state"] == "serving"

    def test_a_stalled_one_is_told_with_what_it_has(self, board: Board) -> None:
        slot = add_worker(board)
        slot.beat = 1
        slot._words[slot._at + 3] = 1  # since when it serves
        assert "(still for" in as_text(read_board(board))
        slot.say_in_flight(1, time.monotonic_ns(), "GET /x")
        assert "GET /x 0" in as_text(read_board(board))

    def test_paths_that_are_counted_apart(self, board: Board, capsys: pytest.CaptureFixture[str]) -> None:
        rows = add_worker(board).paths
        rows.begin(["/healthz", "/up"])
        rows.write([[0, 1, 0, 0, 2, 3, *[0] * 17], [0] * 23])
        assert look("status", []) == 0
        out = capsys.readouterr().out
        assert "Paths:\n  /healthz  3 served, 2 of 5xx, p50 0.2ms, p99 0.5ms\n  /up       0 served, 0 of 5xx" in out

    def test_a_master_that_is_gone(
        self, board: Board, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        add_worker(board)
        monkeypatch.setattr(reading, "is_alive", lambda pid: False)
        assert look("status", []) == 0
        assert f"master {os.getpid()} IS GONE, up" in capsys.readouterr().out


class TestFinding:
    def test_by_pid_and_pidfile(self, board: Board, tmp_path: Path) -> None:
        assert find_board(str(os.getpid())) is board
        (tmp_path / "pid").write_text(f"{os.getpid()}\n")
        assert find_board(str(tmp_path / "pid")) is board

    @pytest.mark.parametrize("name", ["1", "no/such/file"])
    def test_nothing_there(self, board: Board, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert look("status", [name]) == 1
        assert name in capsys.readouterr().err

    def test_none_and_several(self, monkeypatch: pytest.MonkeyPatch, board: Board) -> None:
        monkeypatch.setattr(module, "find_boards", list)
        with pytest.raises(NotFound, match="no server"):
            find_board(None)
        monkeypatch.setattr(module, "find_boards", lambda: [board, board])
        with pytest.raises(NotFound, match="there are 2 servers"):
            find_board(None)


class TestDump:
    def test_each_worker_is_asked(
        self, board: Board, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked: list[tuple[int, int]] = []
        add_worker(board)
        monkeypatch.setattr(os, "kill", lambda pid, sig: asked.append((pid, sig)))
        assert look("dump", []) == 0
        assert (os.getpid(), signal.SIGUSR2) in asked
        assert str(os.getpid()) in capsys.readouterr().out

    def test_nobody(self, board: Board, capsys: pytest.CaptureFixture[str]) -> None:
        assert look("dump", []) == 1
        assert "nobody" in capsys.readouterr().out


class TestTop:
    def render(self, top: object) -> str:
        console = pytest.importorskip("rich.console").Console(width=150, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
        console.print(top.render())  # type: ignore[attr-defined]
        text: str = console.export_text()
        console.file.close()
        return text

    def test_rates_are_those_since_the_last_look(self, board: Board) -> None:
        pytest.importorskip("rich")
        from uvicorn_worker.cli.top import Top

        slot = add_worker(board, http11_2xx=100, **{"took_0.5": 100})
        top = Top()
        assert self.render(top).strip() == ""
        top.take(read_board(board), 0.0)
        slot.write(words_of({"http11_2xx": 150, "http11_5xx": 10, "took_0.5": 100, "took_0.01": 60, "bytes_out": 2048}))
        board.keep_end([99, 1, 1, 0, time.time_ns(), 0, 7, 0, 0, 0, 0], "")
        top.take(read_board(board), 2.0)
        text = self.render(top)
        assert "30 requests/s" in text
        assert "10 of 5xx" in text
        assert "7.5ms" in text
        assert "max_requests is reached" in text

    def test_keys(self, board: Board) -> None:
        pytest.importorskip("rich")
        from uvicorn_worker.cli.top import Top

        add_worker(board, rss=1 << 20)
        other = add_worker(board, rss=9 << 20, requests=1)
        other.age = 2
        top = Top()
        top.take(read_board(board), 0.0)
        for key in "pmslo":
            assert top.press(key)
            self.render(top)
        top.press("m")
        sizes = [word for word in self.render(top).split() if word in ("9M", "1M")]
        top.press("r")
        assert [word for word in self.render(top).split() if word in ("9M", "1M")] == sizes[::-1] == ["1M", "9M"]
        top.press("f")
        assert "(busy)" in self.render(top)
        assert "1M" not in self.render(top).split()
        top.press("f")
        assert "serving" not in self.render(top).splitlines()[2]
        assert not top.press("q")

    def test_it_ends_with_its_key_or_the_master(self, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("rich")
        from uvicorn_worker.cli import top

        keys = iter(["", "m", "q"])

        @contextlib.contextmanager
        def pressed() -> Iterator[object]:
            yield lambda timeout: next(keys)

        monkeypatch.setattr(top, "_keys", pressed)
        assert look("top", ["--interval", "0"]) == 0
        keys = iter([""] * 5)
        monkeypatch.setattr(reading, "is_alive", lambda pid: False)
        assert top.run_top(board, 0.0) == 1

    def test_what_has_no_room_is_left_out(self, board: Board) -> None:
        pytest.importorskip("rich")
        from uvicorn_worker.cli.top import Top

        for _ in range(6):
            slot = add_worker(board, requests=1, oldest_since=time.monotonic_ns() - 5 * 10**9)
            slot.oldest = "GET /" + "x" * 100
            slot.paths.begin(["/a"])
        board.keep_end([99, 1, 1, 0, time.time_ns(), 0, 7, 0, 0, 0, 0], "")
        # A process has three digits or seven, and each column of the narrow view counts.
        reading = read_board(board)
        reading = replace(reading, master=12345, workers=[replace(worker, pid=12345) for worker in reading.workers])
        top = Top()
        for _ in range(2):
            top.take(reading, 1.0)

        def shown(width: int, height: int) -> list[str]:
            console = pytest.importorskip("rich.console").Console(
                width=width,
                record=True,
                file=open(os.devnull, "w"),  # noqa: SIM115
            )
            console.print(top.render(width, height))
            console.file.close()
            return [line.rstrip() for line in console.export_text().splitlines()]

        large = shown(150, 30)
        assert len(large) <= 30
        assert sum("serving" in line for line in large) == 7
        assert any(line.startswith("  /a") for line in large)
        assert any("max_requests is reached" in line for line in large)
        # Everything but the oldest request is there whole.
        assert large[2].split()[-3:] == ["MEM", "OLDEST", "REQUEST"]
        assert any(line.endswith("…") for line in large)
        middle = shown(150, 12)
        assert len(middle) <= 12
        assert not any("max_requests is reached" in line for line in middle)
        small = shown(60, 9)
        assert len(small) <= 9
        assert next(line for line in small if "PID" in line).split() == [
            "PID", "STATE", "REQ", "REQ/S", "LAG", "OLDEST", "REQUEST",
        ]  # fmt: skip
        assert any(line.startswith("and ") and line.endswith(" other workers") for line in small)
        assert "f filter (all)" in small[-1]
        # Lines are broken between words, which may take one more than their letters alone would.
        top.take(replace(reading, served=1234), 1.0)
        for width in range(40, 60):
            assert len(shown(width, 12)) < 12

    def test_in_a_terminal(self, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keys as they are typed, and the screen of before at the end; tests/e2e/test_top.py looks at the screen."""
        rich = pytest.importorskip("rich.console")
        from uvicorn_worker.cli import top

        add_worker(board)
        master, slave = os.openpty()
        before = termios.tcgetattr(slave)
        written: list[bytes] = []

        def shows() -> None:
            with contextlib.suppress(OSError):
                while data := os.read(master, 65536):
                    written.append(data)

        # A terminal takes what is written to it.
        reader = threading.Thread(target=shows)
        reader.start()
        with os.fdopen(slave, "r", closefd=False) as stdin, os.fdopen(slave, "w", closefd=False) as stdout:
            monkeypatch.setattr("sys.stdin", stdin)
            console = rich.Console(file=stdout, force_terminal=True, width=100, height=20)
            monkeypatch.setattr(top, "_console", SimpleNamespace(Group=rich.Group, Console=lambda: console))
            with top._keys() as next_key:
                assert next_key(0) == ""
                os.write(master, b"\x1b[A")
                assert next_key(20) == ""
                os.write(master, b"f\x1b[1;5Bm\x1b")
                assert (next_key(20), next_key(0), next_key(0)) == ("f", "m", "")
            os.write(master, b"mq")
            assert top.run_top(board, 0.01) == 0
            stdout.flush()
            assert termios.tcgetattr(slave) == before

            def interrupted(*arguments: object) -> int:
                raise KeyboardInterrupt

            monkeypatch.setattr(top, "_show", interrupted)
            assert top.run_top(board, 0.0) == 0
        # The last of its writers: the reader has the rest, and then an error.
        os.close(slave)
        reader.join(20)
        os.close(master)
        shown = b"".join(written)
        assert shown.index(b"\x1b[?1049h") < shown.index(b"ready") < shown.index(b"\x1b[?1049l")

    def test_a_terminal_that_is_gone_ends_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("rich")
        from uvicorn_worker.cli import top

        master, slave = os.openpty()
        with os.fdopen(slave, "r") as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            monkeypatch.setattr(os, "read", lambda descriptor, size: b"")
            with top._keys() as next_key:
                os.write(master, b"x")
                assert next_key(20) == "q"
        os.close(master)

    def test_no_keys_where_there_is_no_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("rich")
        from uvicorn_worker.cli import top

        with open(os.devnull) as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            with top._keys() as next_key:
                assert next_key(0) == ""

    def test_without_rich(
        self, board: Board, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def missing(name: str) -> object:
            raise ModuleNotFoundError(name=name)

        monkeypatch.setattr("importlib.import_module", missing)
        assert look("top", []) == 1
        assert "extra `top`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0003, "0.3ms"),
        (0.045, "45ms"),
        (3.21, "3.2s"),
        (75, "75s"),
        (720, "12m"),
        (36000, "10h"),
        (600000, "7d"),
    ],
)
def test_durations(value: float, text: str) -> None:
    assert seconds(value) == text
