"""What somebody sees who starts the command, and stops it with Ctrl+C."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.command.harness import SLOW, Command
from tests.e2e.harness import PATIENCE, alive, control_socket_option, until


@pytest.fixture(scope="module", params=[1, 2], ids=["one", "two"])
def server(request: pytest.FixtureRequest) -> Iterator[Command]:
    options = ["--workers", "2", "--gunicorn", "control_socket_disable=true"] if request.param == 2 else []
    if options and not has_control_socket():
        options = options[:2]
    with Command("app:app", "--port", "0", *options, "--header", "x-a:b", "--ws-max-size", "1000000") as command:
        command.wait_log("Ready in")
        yield command
        command.signal(signal.SIGINT)
        assert command.wait_exit() == 0
        assert command.out.count("shutdown") == request.param
        assert "Traceback" not in command.log


def has_control_socket() -> bool:
    from gunicorn.config import KNOWN_SETTINGS

    return any(setting.name == "control_socket_disable" for setting in KNOWN_SETTINGS)


def test_it_says_once_what_serves(server: Command) -> None:
    assert server.get().text == "version VERSION"
    (line,) = re.findall(r".*Ready in.*", server.log)
    assert re.search(rf"Ready in \d+\.\d s on http://127\.0\.0\.1:{server.port}: (1 process|2 workers), loop ", line)
    assert re.search(r"HTTP/1\.1 \(\w+\), WebSocket, no TLS; not by default: ws_max_size = 1000000, headers = ", line)
    assert line.startswith("INFO:     ")


def test_options_have_their_effect(server: Command) -> None:
    assert server.get().headers["x-a"] == "b"
    until(lambda: re.search(r'INFO:     127\.0\.0\.1:\d+ - "GET / HTTP/1\.1" 200 OK', server.out), "the access line")


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_says_what_is_waited_for_and_a_second_one_ends_it(workers: int) -> None:
    options = ["--workers", "2"] if workers == 2 else []
    with Command("app:app", "--port", "0", *options, files={"app.py": SLOW}) as server:
        server.wait_log("Ready in")
        answers: list[int] = []
        url = f"{server.url}/slow"
        thread = threading.Thread(target=lambda: answers.append(httpx.get(url, timeout=PATIENCE).status_code))
        thread.start()
        until(lambda: "slow" in server.out, "the request")
        group = os.getpgid(server.pid)
        os.killpg(group, signal.SIGINT)
        server.wait_log(r"Waiting for 1 request \(GET /slow, \d+\.\d s\), Ctrl\+C again ends at once\.")
        os.killpg(group, signal.SIGINT)
        assert server.wait_exit() == 0
        thread.join(PATIENCE)
        assert answers == [503]
        assert server.out.count("startup") == server.out.count("shutdown") == workers
        assert "Traceback" not in server.log


def test_the_masters_word_for_ctrl_c_may_overtake_it() -> None:
    """It reaches master and workers at once, and the master's TERM may come before: that is still one Ctrl+C."""
    with Command("app:app", "--port", "0", "--workers", "2", files={"app.py": SLOW}) as server:
        server.wait_log("Ready in")
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: "slow" in server.out, "the request")
            workers = [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", server.log)]
            for pid in workers:
                os.kill(pid, signal.SIGTERM)
            server.wait_log("[Dd]raining: 1 request")
            told = len(re.findall("[Dd]raining: 1 request", server.log))
            for pid in filter(alive, workers):
                os.kill(pid, signal.SIGINT)
            server.wait_log("[Dd]raining: 1 request", count=told + 1)
            server.signal(signal.SIGTERM)
            server.wait_log("Handling signal: term")
            # Another one is heard by the master, too.
            server.signal(signal.SIGINT)
            assert client.recv(100).startswith(b"HTTP/1.1 503 ")
            assert server.wait_exit() == 0


def test_a_unix_socket_has_its_permissions_and_is_taken_away() -> None:
    for more in ([], ["--workers", "2"], ["--reload"]):
        with Command("app:app", "--uds", "s", "--uds-permissions", "600", "--pid", "p", *more) as server:
            path = server.dir / "s"
            with socket.socket(socket.AF_UNIX) as stale:
                stale.bind(str(path))
            server.wait_log("Ready in")
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert (server.dir / "p").read_text().strip() == str(server.pid)
            transport = httpx.HTTPTransport(uds=str(path))
            with httpx.Client(transport=transport, timeout=PATIENCE) as client:
                assert client.get("http://a/").text == "version VERSION"
            server.signal(signal.SIGTERM)
            assert server.wait_exit() == 0
            assert not path.exists()
            assert not (server.dir / "p").exists()


def test_a_certificate_for_localhost() -> None:
    pytest.importorskip("cryptography")
    with Command("--dev-cert", "--port", "0", env={"XDG_CACHE_HOME": "cache"}) as server:
        server.wait_log("Ready in")
        assert "Serving app:app, found in app.py." in server.log
        pem = server.dir / "cache" / "uvicorn-worker" / "localhost.pem"
        assert stat.S_IMODE(pem.stat().st_mode) == 0o600
        port = int(server.wait_log(r"(?<=https://127\.0\.0\.1:)\d+"))
        with httpx.Client(
            http2=True, verify=ssl.create_default_context(cafile=pem), timeout=PATIENCE, trust_env=False
        ) as client:
            answer = client.get(f"https://localhost:{port}/")
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "2>&-"], ids=["all", "stderr"])
def test_without_the_standard_files(closed: str, workers: int, tmp_path: Path) -> None:
    """A supervisor may have closed them; a program without a console has none."""
    (tmp_path / "app.py").write_text(SLOW)
    words = [sys.executable, "-m", "uvicorn_worker", "app:app", "--uds", "socket", "--workers", str(workers)]
    folders = os.pathsep.join([str(tmp_path), os.getcwd()])
    process = subprocess.Popen(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": folders, "GUNICORN_CMD_ARGS": " ".join(control_socket_option())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        path = str(tmp_path / "socket")

        def is_listened_on() -> bool:
            assert process.poll() is None
            with socket.socket(socket.AF_UNIX) as client:
                return client.connect_ex(path) == 0

        until(is_listened_on, "the socket")
        with httpx.Client(transport=httpx.HTTPTransport(uds=path), timeout=PATIENCE) as client:
            assert client.get("http://localhost/").text == "version VERSION"
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
