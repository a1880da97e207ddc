"""The folders below ``examples/``, each served as its readers serve it, and used."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.frontends import nginx_user, running, temporary_paths
from tests.e2e.harness import PATIENCE, Gunicorn, control_socket_option, until
from tests.e2e.websocket.browser import find_chromium, open_page
from tests.e2e.websocket.client import open_socket
from tests.programs import find, need

Serve = Callable[..., Gunicorn]

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="examples/ is not here")

# What each README says: the program and its argument.
APPS = {"django": "shop.asgi:application"}


@pytest.fixture
def example(serve: Serve) -> Callable[..., Gunicorn]:
    """Start an example in a copy of its folder, with its own configuration, on a free port."""

    def start(name: str, *options: str, env: dict[str, str] | None = None) -> Gunicorn:
        readme = (EXAMPLES / name / "README.md").read_text("utf-8")
        app = APPS.get(name, "app:app")
        assert f"gunicorn {app}\n" in readme
        override = " ".join(("--bind 127.0.0.1:0", *options, *control_socket_option()))
        return serve(copy=EXAMPLES / name, argv=[app], env={"GUNICORN_CMD_ARGS": override, **(env or {})})

    return start


def stops_cleanly(server: Gunicorn) -> None:
    assert server.stop_gracefully() == 0
    assert "Traceback" not in server.log
    assert "[WARNING]" not in server.log
    assert "[ERROR]" not in server.log


def test_fastapi(example: Callable[..., Gunicorn]) -> None:
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("aiosqlite")
    server = example("fastapi")
    with server.client() as client:
        assert client.get("/health").json() == {"status": "ok"}
        added = client.post("/notes", json={"text": "milk"})
        assert (added.status_code, added.json()) == (201, {"id": 1, "text": "milk"})
        assert client.get("/notes").json() == [{"id": 1, "text": "milk"}]
        assert client.get("/notes/1").json()["text"] == "milk"
        assert client.get("/notes/2").status_code == 404
        assert client.post("/notes", json={}).status_code == 422
    stops_cleanly(server)


def test_starlette(example: Callable[..., Gunicorn]) -> None:
    server = example("starlette")
    assert server.get("/?name=Ada").json() == {"hello": "Ada"}
    assert server.get("/count").text == "1\n2\n3\n4\n5\n"
    assert server.get("/static/style.css").headers["content-type"].startswith("text/css")
    with open_socket(server, "/echo") as socket:
        socket.send("hello")
        assert socket.recv(PATIENCE) == "hello"
    stops_cleanly(server)


def test_django(example: Callable[..., Gunicorn]) -> None:
    pytest.importorskip("django")
    pytest.importorskip("channels")
    server = example("django")
    assert server.get("/?name=Ada").json() == {"hello": "Ada", "secure": False}
    with server.client() as client:
        assert client.get("/", headers={"X-Forwarded-Proto": "https"}).json()["secure"] is True
    assert server.get("/ticks/").text == "".join(f"data: {number}\n\n" for number in range(5))
    with open_socket(server, "/rooms/attic/") as one, open_socket(server, "/rooms/attic/") as two:
        one.send(json.dumps({"text": "hello"}))
        assert json.loads(one.recv(PATIENCE)) == json.loads(two.recv(PATIENCE)) == {"text": "hello"}
    assert server.stop_gracefully() == 0
    assert "Traceback" not in server.log


def test_litestar(example: Callable[..., Gunicorn]) -> None:
    pytest.importorskip("litestar")
    server = example("litestar")
    with server.client() as client:
        added = client.post("/notes", json={"text": "buy milk"})
        assert (added.status_code, added.json()) == (201, {"id": 1, "text": "buy milk"})
        assert client.get("/notes/1").json() == {"id": 1, "text": "buy milk"}
        assert client.get("/notes/2").status_code == 404
        assert client.post("/notes", json={}).status_code == 400
        until(lambda: client.get("/words").json() == {"words": 2}, "the task behind the answer")
        assert re.findall(r"data: (\d)", client.get("/ticks").text) == list("01234")
    with open_socket(server, "/echo") as socket:
        socket.send("hello")
        assert socket.recv(PATIENCE) == "hello"
    stops_cleanly(server)


def test_quart(example: Callable[..., Gunicorn]) -> None:
    pytest.importorskip("quart")
    server = example("quart")
    with server.client() as client:
        assert "Hello Ada, you are visit number 1." in client.get("/?name=Ada").text
        assert client.post("/length", content=b"x" * 100_000).json() == {"bytes": 100_000}
        with client.stream("GET", "/visits") as visits:
            lines = visits.iter_lines()
            assert next(lines) == "data: 1"
            client.get("/")
            assert "data: 2" in (next(lines), next(lines))
    with open_socket(server, "/echo") as socket:
        socket.send("hello")
        assert socket.recv(PATIENCE) == "hello"
    stops_cleanly(server)


@pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed")
def test_the_page_of_quart_in_a_browser(example: Callable[..., Gunicorn]) -> None:
    """A name that is markup is text there, and each visit is told to who listens."""
    pytest.importorskip("quart")
    server = example("quart")
    with open_page() as page:
        page.go(f"http://127.0.0.1:{server.port}/?name=%3Cb%3EAda%3C/b%3E")
        page.wait("document.title == 'Visits' && document.body.innerText.includes('Hello <b>Ada</b>, you are visit')")
        page.run("""
            window.seen = [];
            window.source = new EventSource("/visits");
            source.onmessage = event => seen.push(Number(event.data));
        """)
        page.wait("seen.length >= 1")
        before = page.run("seen[seen.length - 1]")
        page.run("void fetch('/')")
        page.wait(f"seen.some(number => number > {before})")
    assert server.stop_gracefully() == 0
    assert "[ERROR]" not in server.log


def test_cloudrun(serve: Serve) -> None:
    """HTTP/2 in cleartext, which the platform speaks to it, and HTTP/1.1."""
    options = " ".join(("--bind 127.0.0.1:0", *control_socket_option()))
    server = serve(copy=EXAMPLES / "cloudrun", argv=["app:app"], env={"GUNICORN_CMD_ARGS": options})
    fields = {"X-Forwarded-Proto": "https"}
    for http2 in (True, False):
        with httpx.Client(http1=not http2, http2=http2, trust_env=False, timeout=PATIENCE) as client:
            answer = client.get(server.url, headers=fields).json()
        expected = {"message": "Hello from Cloud Run", "http": "2" if http2 else "1.1", "scheme": "https"}
        assert answer == expected
    stops_cleanly(server)
    config: dict[str, Any] = {}
    exec((EXAMPLES / "cloudrun" / "gunicorn.conf.py").read_text("utf-8"), config)  # noqa: S102 - it is ours
    assert config["bind"].startswith("0.0.0.0:")
    assert config["graceful_timeout"] < 10


def test_upload(example: Callable[..., Gunicorn]) -> None:
    folder = tempfile.mkdtemp()
    try:
        server = example("upload", env={"UPLOADS": folder})
        data = os.urandom(3_000_000)
        with server.client() as client:
            answer = client.put("/files", content=iter([data[:1_000_000], data[1_000_000:]]))
            assert answer.status_code == 201
            assert Path(folder, answer.json()["name"]).read_bytes() == data
        with server.connect() as raw:
            raw.send(b"PUT /files HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000000\r\n\r\n")
            assert raw.response().status == 413
        # One that leaves in the middle leaves nothing.
        with server.connect() as raw:
            raw.send(b"PUT /files HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
            until(lambda: len(os.listdir(folder)) == 2, "the file of the second upload")
        until(lambda: len(os.listdir(folder)) == 1, "the end of the second upload")
        assert server.stop_gracefully() == 0
        assert "Traceback" not in server.log
        assert "[ERROR]" not in server.log
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed")
def test_sse_in_a_browser_misses_nothing_over_a_reload(example: Callable[..., Gunicorn]) -> None:
    server = example("sse")

    def value(name: str) -> str:
        return f"Number(document.getElementById('{name}').value)"

    with open_page() as page:
        page.go(f"http://127.0.0.1:{server.port}/")
        page.wait(f"{value('count')} >= 3")
        server.signal(signal.SIGHUP)
        page.wait(f"{value('connections')} >= 2")
        seen = page.run(value("count"))
        page.wait(f"{value('count')} >= {seen + 3}")
        assert page.run(value("missed")) == 0
    assert server.stop_gracefully() == 0
    assert "[ERROR]" not in server.log


def test_grpc(example: Callable[..., Gunicorn]) -> None:
    pytest.importorskip("grpc")
    server = example("grpc")
    readme = (EXAMPLES / "grpc" / "README.md").read_text("utf-8")
    expected = readme[readme.index("square 144") : readme.index("```\n\nA gRPC channel")]
    command = [sys.executable, "client.py", f"127.0.0.1:{server.port}"]
    env = {**os.environ, "no_proxy": "127.0.0.1"}
    done = subprocess.run(command, cwd=server.dir, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == expected, done.stderr
    assert server.get().status_code == 415
    stops_cleanly(server)


def test_logging_json(example: Callable[..., Gunicorn]) -> None:
    pytest.importorskip("pythonjsonlogger")
    server = example("logging-json")
    assert server.get('/buy/mi"lk%0A').json() == {"ok": True}
    assert server.stop_gracefully() == 0
    lines = [json.loads(line) for line in server.log.splitlines()]
    (bought,) = [line for line in lines if line["name"] == "shop"]
    assert bought["item"] == 'mi"lk\n'
    assert {"gunicorn.error", "uvicorn.error"} <= {line["name"] for line in lines}
    (access,) = map(json.loads, server.out.splitlines())
    assert (access["method"], access["status"]) == ("GET", 200)


def fill_in(text: str, *replacements: tuple[str, str]) -> str:
    for old, new in replacements:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def get_over(path: Path) -> httpx.Response:
    transport = httpx.HTTPTransport(uds=str(path), retries=3)
    with httpx.Client(transport=transport, base_url="http://127.0.0.1", timeout=PATIENCE, trust_env=False) as client:
        return client.get("/hello", headers={"X-Forwarded-For": "192.0.2.1"})


@pytest.mark.parametrize(
    "front",
    sorted(EXAMPLES.glob("*/nginx.conf")) + sorted(EXAMPLES.glob("*/haproxy.cfg")),
    ids=lambda path: path.parent.name,
)
def test_proxies_close_idle_connections_first(front: Path) -> None:
    """What is sent on a connection that is just being closed here would be lost."""
    patience = 60 if front.name == "nginx.conf" else 3 * 5  # HAProxy's pool-purge-delay, as often as was seen
    text = front.read_text("utf-8")
    for found in re.findall(r"upstream[^}]*keepalive_timeout (\d+)s|pool-purge-delay (\d+)s", text):
        patience = int(found[0] or int(found[1]) * 3)
    config: dict[str, Any] = {}
    exec((front.parent / "gunicorn.conf.py").read_text("utf-8"), config)  # noqa: S102 - it is ours
    assert config["keepalive"] > patience


def test_nginx(serve: Serve) -> None:
    need("nginx")
    options = " ".join(control_socket_option())
    server = serve(copy=EXAMPLES / "nginx", argv=["app:app"], bind=None, env={"GUNICORN_CMD_ARGS": options})
    text = fill_in(
        (EXAMPLES / "nginx" / "nginx.conf").read_text("utf-8"),
        ("listen 127.0.0.1:8080;", f"listen unix:{server.dir}/front.sock;"),
        ("include /etc/nginx/mime.types;", f"access_log off; {temporary_paths(server.dir)}"),
        ("unix:gunicorn.sock", f"unix:{server.dir}/gunicorn.sock"),
    )
    (server.dir / "nginx.conf").write_text(text)
    settings = f"daemon off; pid {server.dir}/nginx.pid; error_log stderr; {nginx_user()}"
    arguments = ["-p", str(server.dir), "-c", str(server.dir / "nginx.conf"), "-g", settings]
    with running("nginx", arguments, server.dir, front=server.dir / "front.sock"):
        seen = get_over(server.dir / "front.sock").json()
    # What nginx knows of a client over a unix socket is no address; what the client says of itself is not believed.
    assert seen["path"] == "/hello"
    assert seen["scheme"] == "http"
    stops_cleanly(server)


def test_haproxy(example: Callable[..., Gunicorn]) -> None:
    program = need("haproxy")
    server = example("haproxy", "--graceful-timeout 10")
    text = fill_in(
        (EXAMPLES / "haproxy" / "haproxy.cfg").read_text("utf-8"),
        ("bind 127.0.0.1:8080", f"bind unix@{server.dir}/front.sock"),
        ("127.0.0.1:8000", f"127.0.0.1:{server.port}"),
    )
    (server.dir / "haproxy.cfg").write_text(text)
    checked = subprocess.run(
        [program, "-c", "-f", str(server.dir / "haproxy.cfg")], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "[WARNING]" not in checked.stderr, checked.stderr
    front = server.dir / "front.sock"
    with running("haproxy", ["-db", "-f", str(server.dir / "haproxy.cfg")], server.dir, front=front):
        # HAProxy looks for itself whether the server is up.
        until(lambda: get_over(front).status_code == 200, "a server that is up")
        assert get_over(front).json() == {"client": "192.0.2.1", "scheme": "http", "path": "/hello"}
    until(lambda: '"GET /hello HTTP/2" 200' in server.out, "the access line")
    assert "[WARNING]" not in server.log


def test_systemd_units_are_valid(tmp_path: Path) -> None:
    program = find("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    # It looks whether the program is there.
    gunicorn = Path(sys.executable).with_name("gunicorn")
    for name in ("shop.service", "shop.socket"):
        text = (EXAMPLES / "systemd" / name).read_text("utf-8")
        (tmp_path / name).write_text(text.replace("/srv/shop/.venv/bin/gunicorn", str(gunicorn)))
    done = subprocess.run(
        [program, "verify", "--man=no", str(tmp_path / "shop.service"), str(tmp_path / "shop.socket")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    about_ours = [line for line in done.stderr.splitlines() if "shop" in line]
    assert about_ours == []


# Becomes Gunicorn, as systemd starts it (sd_listen_fds(3)): the socket is descriptor 3, and is meant for this process.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "app:app", *sys.argv[2:]])
"""


def test_systemd_passes_the_socket(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLES / "systemd", tmp_path / "shop")
    with socket.create_server(("127.0.0.1", 0)) as listener, (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", ACTIVATE, str(listener.fileno()), *control_socket_option()],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
        )
        try:
            with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
                # It waits in the socket's queue until a worker is there: nobody is refused.
                answer = client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/hello")
            assert answer.json()["path"] == "/hello"
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
        finally:
            process.kill()
            process.wait()


def test_docker(example: Callable[..., Gunicorn]) -> None:
    """The image is not built here; what its files say fits together, and Gunicorn starts with them."""
    folder = EXAMPLES / "docker"
    lines = (folder / "Dockerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    commands = [line.split(None, 1) for line in lines if re.match(r"[A-Z]+ ", line)]
    copied = [name for word, rest in commands if word == "COPY" and "--from" not in rest for name in rest.split()[:-1]]
    assert all(list(folder.glob(name)) for name in copied if "*" not in name)
    assert ["USER", "10001"] in commands
    (command,) = [json.loads(rest) for word, rest in commands if word == "CMD"]
    assert command == ["gunicorn", "app:app"]
    config: dict[str, Any] = {}
    exec((folder / "gunicorn.conf.py").read_text("utf-8"), config)  # noqa: S102 - it is ours
    assert config["graceful_timeout"] < 10
    (exposed,) = [rest for word, rest in commands if word == "EXPOSE"]
    assert config["bind"] == f"0.0.0.0:{exposed}"
    (healthcheck,) = [rest for word, rest in commands if word == "HEALTHCHECK"]
    assert f"127.0.0.1:{exposed}/" in healthcheck
