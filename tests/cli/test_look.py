"""`uvicorn-worker status`, `top` and `dump`, on boards of this process; tests/e2e/test_board.py has real servers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boards import add_worker
from uvicorn_worker.cli import look as module
from uvicorn_worker.cli.look import NotFound, find_board, look
from uvicorn_worker.cli.wording import as_text, seconds
from uvicorn_worker.core import reading
from uvicorn_worker.core.board import Board
from uvicorn_worker.core.figures import words_of
from uvicorn_worker.core.reading import read_board


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
