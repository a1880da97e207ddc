"""WSGI and ASGI 2 applications, factories and environment files, on real gunicorn."""

from __future__ import annotations

import hashlib
import re
import signal
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import InvalidStatus

from tests.e2e.harness import APPS, HTTPTOOLS, PATIENCE, Gunicorn
from tests.e2e.raw import Connection, Truncated
from tests.e2e.test_reload import edit, wait_answer
from tests.e2e.websocket.client import open_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Serve = Callable[..., Gunicorn]

WSGI = {"UVICORN_INTERFACE": "wsgi"}
BEGINS = {
    "begins.py": """
import asyncio

def create():
    ran = []

    async def work():
        ran.append(True)

    task = asyncio.create_task(work())

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"its task has run" if ran else b"nothing"})

    return app
"""
}


def configured(**options: str) -> str:
    """A gunicorn.conf.py with these options."""
    given = ", ".join(f"{name}={value!r}" for name, value in options.items())
    return f"from uvicorn_worker import UvicornWorker\nworker_class = UvicornWorker.configure({given})\n"


@pytest.fixture(scope="module")
def wsgi(worker: str) -> Iterator[Gunicorn]:
    with Gunicorn("interfaces_app:wsgi", worker=worker, env=WSGI) as server:
        yield server


class TestWsgi:
    def test_it_runs_in_a_thread_and_its_start_is_said_as_that_of_others(self, wsgi: Gunicorn) -> None:
        assert wsgi.get("/").text == "wsgi"
        assert "lifespan" not in wsgi.log
        assert wsgi.log.count("Application startup complete.") == 1

    def test_environ(self, wsgi: Gunicorn) -> None:
        headers = [("X-Two", "1"), ("X-Two", "2"), ("Cookie", "a=1"), ("Content-Type", "text/x")]
        with wsgi.client() as client:
            environ = client.get("/environ?q=%20%C3%A9", headers=headers).json()
        assert environ["QUERY_STRING"] == "q=%20%C3%A9"
        assert (environ["HTTP_X_TWO"], environ["HTTP_COOKIE"], environ["CONTENT_TYPE"]) == ("1,2", "a=1", "text/x")
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("127.0.0.1", str(wsgi.port))
        assert (environ["REMOTE_ADDR"], environ["SERVER_PROTOCOL"]) == ("127.0.0.1", "HTTP/1.1")
        assert (environ["wsgi.url_scheme"], environ["wsgi.multithread"], environ["wsgi.multiprocess"]) == (
            "http",
            True,
            False,
        )
        assert "CONTENT_LENGTH" not in environ

    def test_uploads(self, wsgi: Gunicorn) -> None:
        def chunks() -> Iterator[bytes]:
            for _ in range(20):
                yield b"y" * 50_000

        with wsgi.client() as client:
            for size in (0, 10, 65_536, 65_537, 1_000_000):
                data = b"x" * size
                expected = f"{size} {hashlib.sha256(data).hexdigest()}"
                assert client.post("/upload", content=data).text == expected
            assert client.post("/upload", content=chunks()).text.startswith("1000000 ")
            # One that is not read does not spoil what follows.
            assert client.post("/refuse", content=b"x" * 100_000).status_code == 403
            assert client.get("/").text == "wsgi"

    def test_a_client_that_waits_before_it_sends_its_body(self, wsgi: Gunicorn) -> None:
        head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        with wsgi.connect() as connection:
            connection.send(head % b"/refuse")
            assert connection.response().status == 403
        with wsgi.connect() as connection:
            connection.send(head % b"/upload")
            assert connection.head().status == 100
            connection.send(b"ab")
            assert connection.response().body.startswith(b"2 ")

    def test_responses(self, wsgi: Gunicorn) -> None:
        with wsgi.client() as client:
            blocks = client.get("/blocks?1000,1000")
            assert (len(blocks.content), blocks.headers["transfer-encoding"]) == (1_000_000, "chunked")
            assert client.get("/write").text == "one two"
            assert client.get("/file").content == (APPS / "interfaces_app.py").read_bytes()
            head = client.head("/")
            assert (head.headers["content-length"], head.content) == ("4", b"")

    def test_errors(self, wsgi: Gunicorn) -> None:
        with wsgi.client() as client:
            assert client.get("/raise").status_code == 500
            assert client.get("/").status_code == 200
        wsgi.wait_log(r"a line of the application\n")
        wsgi.wait_log(r"ZeroDivisionError: early")
        with wsgi.connect() as connection:
            connection.request("/late")
            with pytest.raises(Truncated):
                connection.response()
        wsgi.wait_log(r"ZeroDivisionError: late")

    def test_a_client_that_does_not_read_and_leaves(self, wsgi: Gunicorn) -> None:
        before = len(wsgi.events("closed"))
        with wsgi.connect() as connection:
            connection.request("/blocks?1000000,100000")
            # Others are served while this one waits.
            assert wsgi.get("/").status_code == 200
        closed = wsgi.wait_events("closed", before + 1)[-1]
        assert int(closed.detail) < 1_000_000

    def test_websockets_are_refused(self, wsgi: Gunicorn) -> None:
        with pytest.raises(InvalidStatus) as caught, open_socket(wsgi):
            pass
        assert caught.value.response.status_code == 403


def test_wsgi_below_a_root_path(serve: Serve) -> None:
    files = {"gunicorn.conf.py": configured(interface="wsgi", root_path="/api")}
    server = serve("interfaces_app:wsgi", workers=2, files=files)
    environ = server.get("/environ").json()
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["RAW_URI"]) == ("/api", "/environ", "/environ")
    assert environ["wsgi.multiprocess"] is True


def test_wsgi_to_the_letter_over_a_unix_socket(serve: Serve) -> None:
    server = serve("interfaces_app:strict", worker=HTTPTOOLS, env=WSGI, bind="unix:app.sock")
    with Connection(str(server.dir / "app.sock"), PATIENCE) as connection:
        assert connection.get("/").status == 200
        connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nline\nrest")
        assert connection.response().body == b"rest"


def test_wsgi_requests_are_finished_at_a_stop_and_hung_ones_do_not_hinder_it(serve: Serve, worker: str) -> None:
    server = serve("interfaces_app:wsgi", "--graceful-timeout", "3", "-c", "python:hooks", worker=worker, env=WSGI)
    with server.connect() as short, server.connect() as hung:
        short.request("/sleep?0.5")
        hung.request("/sleep?1000")
        server.wait_events("sleeping", 2)
        server.signal(signal.SIGTERM)
        assert short.response().body == b"slept"
        assert server.wait_exit() == 0
        assert hung.response().status == 503
    assert len(server.events("worker_exit")) == len(server.events("atexit")) == 1
    assert server.leftovers() == []


def test_wsgi_is_to_be_named(serve: Serve, worker: str) -> None:
    server = serve("interfaces_app:wsgi", worker=worker, workers=2)
    assert server.wait_exit() == 4
    said = re.findall(r"set the option interface = 'wsgi'", server.log)
    assert len(said) == 1
    assert "Traceback" not in server.log


def test_asgi2(serve: Serve, worker: str) -> None:
    server = serve("interfaces_app:Asgi2", worker=worker)
    server.wait_events("lifespan.startup")
    assert server.get("/x").text == "2.0 /x"
    with open_socket(server) as websocket:
        assert websocket.recv() == "2.0"
    server.wait_events("websocket.disconnect")
    assert server.stop_gracefully() == 0
    assert len(server.events("lifespan.shutdown")) == 1


class TestFactories:
    @pytest.mark.parametrize("app", ["create_wsgi()", "create_wsgi"])
    @pytest.mark.parametrize("preload", [[], ["--preload"]])
    def test_wsgi(self, serve: Serve, app: str, preload: list[str]) -> None:
        env = WSGI if app.endswith(")") else {**WSGI, "UVICORN_FACTORY": "true"}
        assert serve(f"interfaces_app:{app}", *preload, worker=HTTPTOOLS, env=env).get("/").text == "wsgi"

    @pytest.mark.parametrize("preload", [[], ["--preload"]])
    def test_one_that_begins_a_task(self, serve: Serve, worker: str, preload: list[str]) -> None:
        """In the loop that serves, which uvicorn has by then, too."""
        server = serve("begins:create", *preload, worker=worker, files=BEGINS, env={"UVICORN_FACTORY": "true"})
        assert server.get("/").text == "its task has run"
        assert "so asyncio's loop serves" not in server.log

    def test_one_that_fails(self, serve: Serve) -> None:
        files = {"fails.py": "def create():\n    return 1 / 0\n"}
        server = serve("fails:create", worker=HTTPTOOLS, workers=2, files=files, env={"UVICORN_FACTORY": "true"})
        assert server.wait_exit() == 3
        assert server.log.count("The application can't be loaded: division by zero") == 1

    def test_one_that_fails_is_mended_under_reload(self, serve: Serve) -> None:
        files = {"begins.py": "def create():\n    return 1 / 0\n"}
        env = {"UVICORN_FACTORY": "true"}
        server = serve("begins:create", "--reload", "--reload-engine", "poll", worker=HTTPTOOLS, files=files, env=env)
        wait_answer(server, "ZeroDivisionError")
        edit(server, BEGINS["begins.py"], "begins.py")
        wait_answer(server, "its task has run")

    def test_one_that_is_not_named(self, serve: Serve) -> None:
        server = serve("interfaces_app:create_asgi2", worker=HTTPTOOLS)
        assert server.get("/x").text == "2.0 /x"
        assert "takes no arguments, so it is called as a factory" in server.log

    def test_one_that_is_none(self, serve: Serve) -> None:
        server = serve("interfaces_app:not_a_factory", worker=HTTPTOOLS, workers=2, env={"UVICORN_FACTORY": "true"})
        assert server.wait_exit() == 4
        assert server.log.count("can't be called without arguments") == 1
        assert "Traceback" not in server.log


@pytest.mark.skipif(find_spec("dotenv") is None, reason="python-dotenv is not installed")
class TestEnvFile:
    @pytest.mark.parametrize("preload", [[], ["--preload"]])
    def test_it_is_set_when_the_application_is_imported(self, serve: Serve, preload: list[str]) -> None:
        files = {"env": "FROM_FILE=file\nUNUSED=1\n"}
        server = serve("interfaces_app:Asgi2", *preload, worker=HTTPTOOLS, files=files, env={"UVICORN_ENV_FILE": "env"})
        assert [event.detail for event in server.wait_events("import")] == ["file"]

    def test_it_is_read_again_on_hup(self, serve: Serve) -> None:
        files = {"env": "FROM_FILE=file", "gunicorn.conf.py": configured(env_file="env")}
        server = serve("interfaces_app:Asgi2", files=files)
        server.wait_events("lifespan.startup")
        (server.dir / "env").write_text("FROM_FILE=other")
        server.signal(signal.SIGHUP)
        assert [event.detail for event in server.wait_events("import", 2)] == ["file", "other"]

    def test_what_is_set_already_stays(self, serve: Serve) -> None:
        files = {"env": "FROM_FILE=file", "gunicorn.conf.py": configured(env_file="env")}
        for option in (["--env", "FROM_FILE=raw"], []):
            env = {} if option else {"FROM_FILE": "raw"}
            server = serve("interfaces_app:Asgi2", *option, files=files, env=env)
            assert [event.detail for event in server.wait_events("import")] == ["raw"]

    @pytest.mark.parametrize("preload", [[], ["--preload"]])
    def test_a_file_that_is_not_there_is_told_once(self, serve: Serve, preload: list[str]) -> None:
        """As with PyPI's worker, the service starts: it may be there on a developer's machine alone."""
        files = {"gunicorn.conf.py": configured(env_file="env")}
        server = serve("interfaces_app:Asgi2", *preload, workers=2, files=files)
        server.wait_events("lifespan.startup", 2)
        assert server.log.count("option env_file = 'env': there is no such file") == 1

    def test_a_file_that_can_not_be_read(self, serve: Serve, tmp_path: Path) -> None:
        path = tmp_path / "binary"
        path.write_bytes(b"\xff")
        server = serve("interfaces_app:Asgi2", files={"gunicorn.conf.py": configured(env_file=str(path))})
        assert server.wait_exit() == 1
        assert "can't be read: it is not UTF-8" in server.log
        assert "Traceback" not in server.log
        assert server.events("import") == []
