"""The board of real masters, read from outside: counts, states, ends, metrics; and `uvicorn-worker` on them."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.harness import HTTPTOOLS, PATIENCE, Gunicorn, alive, until
from tests.sockets import free_port
from uvicorn_worker.board.board import Board, find_boards
from uvicorn_worker.board.reading import BoardReading, WorkerReading, read_board

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no memfd_create")

Serve = Callable[..., Gunicorn]


def board_of(server: Gunicorn) -> Board:
    return until(lambda: next(iter(find_boards(server.pid)), None), "the board of the master")


def reading_when(board: Board, condition: Callable[[BoardReading], object], what: str) -> BoardReading:
    def look() -> BoardReading | None:
        reading = read_board(board)
        return reading if condition(reading) else None

    return until(look, what)


def serving(reading: BoardReading) -> list[WorkerReading]:
    return [worker for worker in reading.workers if worker.state == "serving"]


def in_background(server: Gunicorn, path: str) -> threading.Thread:
    """Ask, and let the answer be lost with the worker."""

    def ask() -> None:
        try:
            httpx.get(server.url + path, timeout=PATIENCE)
        except httpx.HTTPError:
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread


def scrape(address: str, path: str = "/metrics") -> tuple[int, str]:
    client = http.client.HTTPConnection("localhost", timeout=PATIENCE)
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.settimeout(PATIENCE)
    client.sock.connect(address)
    client.request("GET", path)
    answer = client.getresponse()
    return answer.status, answer.read().decode()


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "uvicorn_worker", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_counts_are_exact_whatever_becomes_of_the_workers(serve: Serve) -> None:
    """Over a recycle, a reload, and a kill; eight workers, and the board is gone with its master."""
    server = serve("probe:app", "--max-requests", "20", worker=HTTPTOOLS, workers=8)
    board = board_of(server)
    reading_when(board, lambda reading: len(serving(reading)) == 8, "eight workers")
    asked = 0

    def ask(times: int) -> None:
        nonlocal asked
        for _ in range(times):
            assert server.get().status_code == 200
            asked += 1

    def counted() -> None:
        reading_when(board, lambda reading: reading.totals["http11_2xx"] >= asked, f"{asked} requests on the board")
        reading = read_board(board)
        assert reading.totals["http11_2xx"] == reading.served == asked
        assert reading.totals["accepted"] == asked

    ask(200)
    counted()
    # Each has served 20 at least, or somebody has: those were replaced.
    reading_when(board, lambda reading: any(end.cause == "max_requests" for end in reading.ends), "a recycled worker")
    counted()
    # Before it is told: the new ones may be there at once.
    old = {worker.pid for worker in read_board(board).workers}
    server.signal(signal.SIGHUP)
    reading_when(board, lambda reading: not old & {each.pid for each in reading.workers}, "a new generation")
    ask(30)
    counted()
    victim = serving(read_board(board))[0].pid
    server.signal(signal.SIGKILL, victim)
    reading_when(board, lambda reading: victim not in {each.pid for each in reading.workers}, "its end")
    counted()
    reading_when(board, lambda reading: len(serving(reading)) == 8, "one in its place")
    ask(10)
    counted()
    assert server.stop_gracefully() == 0
    assert find_boards(server.pid) == []


@pytest.mark.parametrize("module", ["gunicorn", "uvicorn_worker.master"])
def test_a_killed_worker_is_explained_with_what_it_had_in_flight(serve: Serve, module: str) -> None:
    server = serve("probe:app", worker=HTTPTOOLS, module=module)
    board = board_of(server)
    reading_when(board, serving, "a worker")
    server.get()
    in_background(server, "/wait?x=1")
    # A tick may have come while the first one was in the application.
    reading = reading_when(
        board, lambda reading: [each.oldest for each in serving(reading)] == ["GET /wait?x=1"], "the second request"
    )
    [worker] = reading.workers
    server.signal(signal.SIGKILL, worker.pid)
    server.wait_log(rf"Worker {worker.pid} has ended: killed .*SIGKILL")
    server.wait_log(
        r"It lived for [\d.]+ s, served 1 request, and had [1-9]\d* MiB of memory\.\n"
        r"  In flight: 1 request, 0 WebSockets\.\n  The longest: GET /wait\?x=1 for [\d.]+ s\."
    )
    if module != "gunicorn":
        assert "killed by signal SIGKILL from outside" in server.log
    reading_when(board, serving, "one in its place")
    [end] = read_board(board).ends
    assert (end.pid, end.cause, end.served, end.requests) == (worker.pid, "killed", 1, 1)


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has come to it (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")


def test_a_blocked_worker_is_seen_and_others_tell_of_it(serve: Serve) -> None:
    """Also when all of them are stopped, from outside."""
    server = serve(
        "probe:app", "--timeout", "60", worker=HTTPTOOLS, workers=2,
        env={"UVICORN_METRICS_BIND": "unix:metrics.sock", "UVICORN_LOG_LOOP_LAG": "0.5"},
    )  # fmt: skip
    address = str(server.dir / "metrics.sock")
    board = board_of(server)
    reading_when(board, lambda reading: len(serving(reading)) == 2, "two workers")
    until(lambda: scrape(address, "/ready")[0] == 200, "readiness")
    assert scrape(address, "/live") == (200, "live\n")
    # What it has answered in the last moment before is not lost.
    for _ in range(20):
        server.get()
    blocked = in_background(server, "/block?s=600")
    reading = reading_when(
        board,
        # Until it is seen that a beat is missing, the board has what was under way at the last one.
        lambda reading: [
            each for each in reading.workers if each.state == "stalled" and each.oldest.startswith("GET /block")
        ],
        "a stall",
    )
    [stalled] = [worker for worker in reading.workers if worker.state == "stalled"]
    assert stalled.oldest.startswith("GET /block")
    reading_when(board, lambda reading: reading.served == 20, "all that was answered")
    # Who holds the loop, from the application on: nothing of Gunicorn's, of asyncio's, or of ours.
    server.wait_log(
        r"The event loop stands still, for [\d.]+ s until now \(log_loop_lag\):\n"
        r"  GET /block\?s=600 for [\d.]+ s, from 127\.0\.0\.1:\d+ \(it has the event loop\)\n"
        r"  probe\.py:\d+ in app\n  probe\.py:\d+ in block\n  probe\.py:\d+ in view_that_blocks\n"
    )
    [other] = [worker.pid for worker in reading.workers if worker is not stalled]
    for _ in range(20):
        status, text = scrape(address)
        assert status == 200
        assert 'uvicorn_worker_workers{state="stalled"} 1.0' in text
    assert scrape(address, "/ready")[0] == 200
    os.kill(stalled.pid, signal.SIGSTOP)
    # It may have taken a connection in the moment before, and answers that no more.
    until(lambda: is_stopped(stalled.pid), "that it has stopped")
    for _ in range(5):
        assert scrape(address)[0] == 200
    os.kill(other, signal.SIGSTOP)
    try:
        reading_when(board, lambda reading: not reading.is_ready, "that nobody is ready")
        done = command("status", str(server.pid))
        assert done.returncode == 1
        assert "NOT READY, 0 of 2 workers serving" in done.stdout
        assert re.search(rf"{stalled.pid}  stalled .* GET /block", done.stdout)
        found: dict[str, Any] = json.loads(command("status", "--json", str(other)).stdout)
        assert found["master"] == server.pid
        assert [worker["state"] for worker in found["workers"]] == ["stalled", "stalled"]
    finally:
        for pid in (stalled.pid, other):
            os.kill(pid, signal.SIGCONT)
        os.kill(stalled.pid, signal.SIGKILL)
    blocked.join(PATIENCE)


def test_it_is_not_ready_from_the_first_moment_of_a_drain(serve: Serve) -> None:
    server = serve(
        "probe:app", "--graceful-timeout", "3", worker=HTTPTOOLS, env={"UVICORN_METRICS_BIND": "unix:metrics.sock"}
    )
    address = str(server.dir / "metrics.sock")
    board = board_of(server)
    reading_when(board, serving, "a worker")
    until(lambda: scrape(address, "/ready")[0] == 200, "readiness")
    in_background(server, "/sleep?s=600")
    reading_when(board, lambda reading: reading.gauges["requests"], "a request")
    server.signal(signal.SIGTERM)
    until(lambda: scrape(address, "/ready")[0] == 503, "that it is not ready")
    assert 'uvicorn_worker_workers{state="draining"} 1.0' in scrape(address)[1]
    server.wait_exit()
    assert not os.path.exists(address)


def test_a_dump_says_where_the_tasks_stand(serve: Serve) -> None:
    server = serve("probe:app", worker=HTTPTOOLS)
    board = board_of(server)
    reading_when(board, serving, "a worker")
    in_background(server, "/sleep?s=600")
    reading_when(board, lambda reading: reading.gauges["requests"], "a request")
    [worker] = read_board(board).workers
    assert command("dump", str(server.pid)).stdout == f"Asked {worker.pid}: see the error log.\n"
    server.wait_log(rf"In flight in process {worker.pid}: 1 request")
    server.wait_log(r"GET /sleep\?s=600 for .*\n    probe\.py:\d+ in app\n    probe\.py:\d+ in sleep\n")
    # Also where nothing but signals is heard any more.
    in_background(server, "/block?s=600")
    reading_when(board, lambda reading: [each for each in reading.workers if each.state == "stalled"], "a stall")
    server.signal(signal.SIGUSR2, worker.pid)
    server.wait_log(
        r"GET /block\?s=600 for .*\(it has the event loop\)\n"
        r"    probe\.py:\d+ in app\n    probe\.py:\d+ in block\n    probe\.py:\d+ in view_that_blocks\n"
    )
    assert alive(worker.pid)
    server.signal(signal.SIGKILL, worker.pid)


def test_a_server_without_a_master_has_a_board_too(tmp_path: Any) -> None:
    pytest.importorskip("click")
    (tmp_path / "main.py").write_text(
        "async def app(scope, receive, send):\n"
        "    assert scope['type'] == 'http'\n"
        "    await send({'type': 'http.response.start', 'status': 204})\n"
        "    await send({'type': 'http.response.body'})\n"
    )
    port = free_port()
    line = [sys.executable, "-m", "uvicorn_worker", "main:app", "--port", "0", "--metrics-bind", f"127.0.0.1:{port}"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(line, cwd=tmp_path, stderr=log, env={**os.environ, "HOME": str(tmp_path)}) as process,
    ):
        try:
            text: Callable[[], str] = (tmp_path / "log").read_text
            until(lambda: "Uvicorn running on" in text(), "the server")
            url = re.search(r"http://127\.0\.0\.1:\d+", text())
            assert url is not None
            assert httpx.get(url[0], timeout=PATIENCE).status_code == 204
            until(
                lambda: 'status="2xx"} 1.0' in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE).text,
                "the metrics",
            )
            done = command("status", str(process.pid))
            assert (done.returncode, "1 of 1 worker serving; 1 request served" in done.stdout) == (0, True)
            assert command("dump", str(process.pid)).returncode == 0
            until(lambda: f"In flight in process {process.pid}" in text(), "the dump")
        finally:
            process.terminate()
            process.wait(PATIENCE)
    assert command("status", str(process.pid)).returncode == 1
