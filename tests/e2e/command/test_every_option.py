"""Each option of the command, seen by its effect: many of them in one server, where they don't disturb each other."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.certificates import new_authority
from tests.e2e.command.harness import Command
from tests.e2e.command.probe import FILES, shows
from tests.e2e.harness import PATIENCE, until
from tests.e2e.raw import Connection, Response
from tests.openssl import encrypted


def words(line: str) -> list[str]:
    return line.split()


@contextmanager
def serving(*line: str, files: dict[str, str] | None = None, env: dict[str, str] | None = None) -> Iterator[Command]:
    with Command(*line, files={**FILES, **(files or {})}, env=env) as server:
        server.wait_log("Ready in")
        yield server


def ask(server: Command, head: str, body: bytes = b"") -> Response:
    """The answer to one request, on a connection of its own."""
    with Connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.send(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
        return connection.response()


def told(server: Command, head: str = "GET / HTTP/1.1\nHost: a") -> Any:
    answer = ask(server, head)
    assert answer.status == 200, answer
    return json.loads(answer.body)


# One server for what the application sees, what is refused, and what a response has; h11 has the most options. --------


@pytest.fixture(scope="module")
def plain() -> Iterator[Command]:
    line = words(
        """
        inner:create --factory --app-dir src --interface asgi3 --root-path /r --asgi-spec-version 2.4
        --env-file a.env --env-file b.env --reset-contextvars --lifespan on --loop asyncio --http h11 --host 127.0.0.1
        --port 0 --permit-unconventional-http-method --permit-unconventional-http-version --permit-obsolete-folding
        --strip-header-spaces --header-map dangerous --no-server-header --no-date-header --header x-a:b
        --limit-request-line 300 --limit-request-fields 20 --limit-request-field-size 300 --limit-request-body 10
        --timeout-request 1 --timeout-keep-alive 0 --request-id-header x-rid --log-level debug --use-colors
        --no-proxy-headers --timeout-request-head 0.3 --timeout-request-body 0.3 --log-slow-requests 0.2
        --log-loop-lag 0.1
        """
    )
    paths = json.dumps({"/quiet": {"access_log": False}})
    log_format = "--access-log-format", "%(m)s %(U)s -> %(s)s"
    with serving(*line, "--paths", paths, *log_format) as server:
        yield server
        server.signal(signal.SIGTERM)
        assert server.wait_exit() == 0


@shows("--factory", "--app-dir", "--interface", "--root-path", "--asgi-spec-version", "--env-file", "--loop", "--http")
@shows("--reset-contextvars", "--lifespan", "--host", "--port", "--no-proxy-headers", "--proxy-headers")
def test_what_the_application_is_told(plain: Command) -> None:
    said = told(plain, "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: https")
    assert said["file"] == f"{plain.dir}/src/inner.py"
    assert (said["root_path"], said["spec_version"]) == ("/r", "2.4")
    assert said["env"] == {"E2E_XA": "1", "E2E_XB": "2"}
    assert said["loop"].startswith("asyncio")
    assert said["seen"] == "nothing"
    assert (said["scheme"], said["client"][0]) == ("http", "127.0.0.1")
    assert "startup" in plain.out
    assert "loop asyncio, HTTP/1.1 (h11)" in plain.log


@shows("--permit-unconventional-http-method", "--permit-unconventional-http-version", "--permit-obsolete-folding")
@shows("--strip-header-spaces", "--header-map")
def test_what_is_permitted(plain: Command) -> None:
    assert told(plain, "frob / HTTP/1.1\nHost: a")["method"] == "frob"
    assert ask(plain, "GET / HTTP/1.1\nHost : a").status == 200
    assert ask(plain, "GET / HTTP/1.7\nHost: a").status == 200
    said = told(plain, "GET / HTTP/1.1\nHost: a\nX-Long: b\n c\nx_under: d")
    assert ["x-long", "b c"] in said["headers"]
    assert ["x_under", "d"] in said["headers"]


@shows("--limit-request-line", "--limit-request-fields", "--limit-request-field-size", "--limit-request-body")
@shows("--timeout-request", "--timeout-request-head", "--timeout-request-body")
def test_what_is_refused(plain: Command) -> None:
    assert ask(plain, f"GET /{'a' * 400} HTTP/1.1\nHost: a").status == 414
    assert ask(plain, "GET / HTTP/1.1\nHost: a" + "\nX: y" * 30).status == 431
    assert ask(plain, f"GET / HTTP/1.1\nHost: a\nX: {'y' * 400}").status == 431
    assert ask(plain, "POST / HTTP/1.1\nHost: a\nContent-Length: 11", b"a" * 11).status == 413
    assert ask(plain, "GET /slow HTTP/1.1\nHost: a").status == 504
    assert ask(plain, "POST /body HTTP/1.1\nHost: a\nContent-Length: 9", b"a").status == 408
    with Connection(("127.0.0.1", plain.port), PATIENCE) as connection:
        connection.send(b"GET / HTTP/1.1\r\n")
        assert connection.response().status == 408


@shows("--no-server-header", "--server-header", "--no-date-header", "--date-header", "--header", "--request-id-header")
@shows("--timeout-keep-alive")
def test_what_a_response_has(plain: Command) -> None:
    with Connection(("127.0.0.1", plain.port), PATIENCE) as connection:
        answer = connection.get("/", "X-Rid: mine")
        assert not {"server", "date"} & set(answer.headers)
        assert (answer.headers["x-a"], answer.headers["x-rid"]) == ("b", "mine")
        # Nothing follows: it is closed at once.
        assert connection.rest() == b""


@shows("--access-log-format", "--access-log", "--paths", "--use-colors", "--no-use-colors")
@shows("--log-slow-requests", "--log-loop-lag")
def test_what_the_log_has(plain: Command) -> None:
    assert ask(plain, "GET /quiet HTTP/1.1\nHost: a").status == 200
    assert ask(plain, "GET /block HTTP/1.1\nHost: a").status == 200
    until(lambda: "GET /block -> 200" in plain.out, "the access line")
    assert "/quiet" not in plain.out
    plain.wait_log(r"\x1b\[33mWARNING\x1b\[0m:  Slow request, .*GET /block for ")
    plain.wait_log(r"The event loop st(ood|ands) still")


# One for proxies, WebSocket and HTTP/2. ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other() -> Iterator[Command]:
    line = words(
        """
        probe:app --port 0 --lifespan-contextvars --forwarded-allow-ips 127.0.0.1
        --forwarded-headers for,host,proto
        --forwarder-headers REMOTE_USER --http2 --http2-cleartext prior-knowledge --http2-max-concurrent-streams 7
        --http2-initial-window-size 70000 --http2-max-frame-size 20000 --http2-max-header-list-size 2000
        --http2-ping-interval 0.2 --http2-ping-timeout 0.2 --ws-max-size 100 --ws-ping-interval 0.2
        --ws-ping-timeout 0.2 --ws-per-message-deflate false --no-access-log --timeout-disconnect 0.1
        --timeout-write 0.3 --permit-unconventional-http-version
        """
    )
    with serving(*line, "--secure-scheme-headers", '{"X-SSL": "yes"}') as server:
        yield server
        server.signal(signal.SIGTERM)
        assert server.wait_exit() == 0


@shows("--forwarded-allow-ips", "--forwarded-headers", "--forwarder-headers", "--secure-scheme-headers")
@shows("--lifespan-contextvars", "--no-access-log")
def test_what_a_proxy_says(other: Command) -> None:
    fields = "X-Forwarded-For: 192.0.2.1\nX-Forwarded-Host: b\nX-SSL: yes\nREMOTE_USER: me\nOther_User: me"
    said = told(other, f"GET / HTTP/1.1\nHost: a\n{fields}")
    assert (said["scheme"], said["client"][0]) == ("https", "192.0.2.1")
    headers = dict(said["headers"])
    assert headers["host"] == "b"
    assert headers["remote_user"] == "me"
    assert "other_user" not in headers
    assert said["seen"] == "lifespan"
    assert '"GET / HTTP' not in other.out


@shows("--ws-max-size", "--ws-per-message-deflate", "--ws-ping-interval", "--ws-ping-timeout")
def test_websockets(other: Command) -> None:
    handshake = (
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n\r\n"
    )
    with Connection(("127.0.0.1", other.port), PATIENCE) as large:
        # A masked text frame of 101 bytes, at once: nothing is left to how fast this machine is.
        large.send(handshake + bytes([0x81, 0x80 | 101, 0, 0, 0, 0]) + b"a" * 101)
        head = large.head()
        assert head.status == 101
        assert "sec-websocket-extensions" not in head.headers
        assert b"\x03\xf1" in large.rest()
    with Connection(("127.0.0.1", other.port), PATIENCE) as silent:
        silent.send(handshake)
        assert silent.head().status == 101
        frames = silent.rest()
        # A ping; then, since no answer comes, the close frame with 1011.
        assert frames[0] == 0x89
        assert b"\x03\xf3" in frames


def frames_of(server: Command, path: str = "/slow") -> bytes:
    """What a server sends to a client of HTTP/2 that asks once, and then says nothing, until it cuts."""
    # Literal fields without the table: :method GET, :scheme http, :path, :authority a.
    block = b"\x82\x86\x04" + bytes([len(path)]) + path.encode() + b"\x01\x01a"
    headers = len(block).to_bytes(3, "big") + b"\x01\x05\x00\x00\x00\x01" + block
    with Connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + headers)
        return connection.rest()


@shows("--http2", "--http2-cleartext", "--http2-max-concurrent-streams", "--http2-initial-window-size")
@shows("--http2-max-frame-size", "--http2-max-header-list-size", "--http2-ping-interval", "--http2-ping-timeout")
def test_http2(other: Command) -> None:
    frames = frames_of(other)
    size = int.from_bytes(frames[:3], "big")
    assert frames[3] == 4
    pairs = [frames[at : at + 6] for at in range(9, 9 + size, 6)]
    settings = {int.from_bytes(pair[:2], "big"): int.from_bytes(pair[2:], "big") for pair in pairs}
    assert settings.items() >= {3: 7, 4: 70000, 5: 20000, 6: 2000}.items()
    # A PING of eight bytes; no answer comes, and so the connection was cut, or this would not have come to its end.
    assert b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" in frames


@shows("--timeout-disconnect", "--timeout-write")
def test_clients_that_leave_or_do_not_read(other: Command) -> None:
    before = other.out.count("cancelled")
    with Connection(("127.0.0.1", other.port), PATIENCE) as connection:
        connection.request("/slow")
        until(lambda: other.out.count("slow") > before, "the request")
    until(lambda: other.out.count("cancelled") > before, "its end")
    with socket.create_connection(("127.0.0.1", other.port), PATIENCE) as lazy:
        lazy.sendall(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")
        other.wait_log("Connection.*127.0.0.1.*|.*took no.*|.*timeout_write.*")


# Others need a server of their own. ----------------------------------------------------------------------------------


@shows("--proxy-protocol", "--proxy-allow-ips", "--ws", "--limit-concurrency", "--log-config", "--metrics-bind")
@shows("--casefold-http-method", "--timeout-graceful-shutdown")
def test_the_proxy_protocol_and_limits() -> None:
    pytest.importorskip("prometheus_client")
    config = {
        "version": 1,
        "formatters": {"plain": {"format": "MINE %(message)s"}},
        "handlers": {"plain": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "loggers": {"uvicorn.error": {"handlers": ["plain"], "level": "INFO"}},
    }
    line = words(
        """
        probe:app --port 0 --proxy-protocol v1 --proxy-allow-ips 127.0.0.0/8 --ws none --limit-concurrency 1
        --http h11 --casefold-http-method --log-config log.json --metrics-bind unix:m --timeout-graceful-shutdown 0.2
        """
    )
    with serving(*line, files={"log.json": json.dumps(config)}) as server:
        assert "MINE Ready in" in server.log
        proxy = "PROXY TCP4 192.0.2.7 192.0.2.8 5 80\n"
        assert told(server, f"{proxy}get / HTTP/1.1\nHost: a")["client"] == ["192.0.2.7", 5]
        upgrade = "Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13"
        said = told(server, f"{proxy}GET / HTTP/1.1\nHost: a\n{upgrade}\nSec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==")
        assert ["upgrade", "websocket"] in said["headers"]
        transport = httpx.HTTPTransport(uds=str(server.dir / "m"))
        with httpx.Client(transport=transport, timeout=PATIENCE) as client:
            assert "uvicorn_worker" in client.get("http://a/metrics").text
        with Connection(("127.0.0.1", server.port), PATIENCE) as slow:
            slow.send(proxy.replace("\n", "\r\n").encode() + b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: "slow" in server.out, "the request")
            assert ask(server, f"{proxy}GET / HTTP/1.1\nHost: a").status == 503
            server.signal(signal.SIGTERM)
            assert slow.response().status == 503
        assert server.wait_exit() == 0


@shows("--limit-max-requests", "--limit-connections", "--timeout-lifespan-shutdown", "--timeout-drain-idle")
@shows("--ws-close-timeout", "--worker-lifetime", "--limit-max-memory", "--timeout-lifespan-startup", "--fd")
@shows("--log-level")
def test_limits_that_end_the_server() -> None:
    line = ["probe:app", "--port", "0", "--timeout-lifespan-shutdown", "0.1", "--timeout-drain-idle", "0"]
    with serving(*line, "--limit-max-requests", "2", "--limit-connections", "1", env={"SLOW_STOP": "1"}) as server:
        with Connection(("127.0.0.1", server.port), PATIENCE) as first:
            assert first.get().status == 200
            with Connection(("127.0.0.1", server.port), PATIENCE) as second:
                second.request("/")
                # It is answered when the first one has left.
                first.close()
                assert second.response().status == 200
        assert server.wait_exit() == 0
        assert "shutdown" in server.out
    with serving("probe:app", "--port", "0", "--worker-lifetime", "0.1", "--ws-close-timeout", "0.1") as server:
        assert server.wait_exit() == 0
    with serving("probe:app", "--port", "0", "--limit-max-memory", "1") as server:
        server.wait_log(r"limit_max_memory = 1 is less than the \d+ MiB that the application takes at its start")
    line = ["probe:app", "--port", "0", "--timeout-lifespan-startup", "0.1", "--log-level", "error"]
    with Command(*line, files=FILES, env={"SLOW_START": "1"}) as server:
        assert server.wait_exit() == 3
        assert "startup" in server.out
        assert "ERROR: " in server.log
        assert "INFO: " not in server.log
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        with Command("probe:app", "--fd", str(fd), files=FILES, pass_fds=[fd]) as server:
            server.wait_log("Ready in")
            assert server.port == listener.getsockname()[1]
            assert server.get().status_code == 200


@shows("--ssl-keyfile", "--ssl-certfile", "--ssl-keyfile-password", "--ssl-ca-certs", "--ssl-cert-reqs")
@shows("--ssl-version", "--http2-early-hints")
def test_tls() -> None:
    authority = new_authority()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    files = {
        "key.pem": encrypted(certificate.private_key_pem.bytes(), "open").decode(),
        "cert.pem": certificate.cert_chain_pems[0].bytes().decode(),
        "ca.pem": authority.cert_pem.bytes().decode(),
    }
    line = words(
        """
        probe:app --port 0 --ssl-keyfile key.pem --ssl-certfile cert.pem --ssl-keyfile-password open
        --ssl-ca-certs ca.pem --ssl-cert-reqs 2 --ssl-version TLSv1.3
        """
    )
    with serving(*line, files=files) as server:
        context = ssl.create_default_context()
        authority.configure_trust(context)

        def version(**limits: Any) -> str | None:
            for name, value in limits.items():
                setattr(context, name, value)
            with (
                socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as secure,
            ):
                secure.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                if not secure.recv(100).startswith(b"HTTP/1.1 200"):
                    raise ConnectionError
                return secure.version()

        with pytest.raises((ssl.SSLError, ConnectionError)):
            # No certificate of the client's is shown.
            version()
        authority.issue_cert("client").configure_cert(context)
        assert version() == "TLSv1.3"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            version(maximum_version=ssl.TLSVersion.TLSv1_2)


GUNICORN = """
workers = 7
timeout = 5
def when_ready(server):
    cfg = server.cfg
    print("told", cfg.timeout, cfg.backlog, cfg.keepalive, cfg.workers, cfg.preload_app, server.pid, flush=True)
def pre_fork(server, worker):
    print("imported before the fork", "probe" in __import__("sys").modules, flush=True)
"""


@shows("--workers", "--worker-class", "--preload", "--pid", "--config", "-c", "--gunicorn", "--backlog")
@shows(
    "--reload-surge",
    "--timeout-worker-healthcheck",
    "--timeout-startup",
    "--timeout-notify",
    "--block-repeat-offenders",
)
@shows("--worker-lifetime-jitter", "--limit-max-requests-jitter")
def test_what_gunicorn_is_told() -> None:
    line = words(
        """
        probe:app --port 0 -c g.py --workers 2 --worker-class h11 --preload --pid p --backlog 77
        --timeout-worker-healthcheck 1m3s --timeout-keep-alive 1m10s --timeout-startup 5m --timeout-notify 2
        --block-repeat-offenders 9 --workers-lifetime 1h30m --workers-lifetime-jitter 2m --reload-surge 1
        --limit-max-requests 1000 --limit-max-requests-jitter 10 --gunicorn proc_name=mine
        """
    )
    with serving(*line, files={"g.py": GUNICORN}) as server:
        assert f"told 63 77 70 2 True {server.pid}\n" in server.out
        assert "imported before the fork True" in server.out
        assert (server.dir / "p").read_text().strip() == str(server.pid)
        ready = server.wait_log("Ready in.*")
        assert "2 workers, loop asyncio, HTTP/1.1 (h11)" in ready
        for said in (
            "worker_lifetime = 5400", "worker_lifetime_jitter = 120", "reload_surge = 1", "timeout_notify = 2",
            "timeout_startup = 300", "block_repeat_offenders = 9", "limit_max_requests = 10[01][0-9]",
        ):  # fmt: skip
            assert re.search(rf"{said}(\.0)?\b", ready), ready
        server.signal(signal.SIGHUP)
        # One after the other: three were there at most.
        until(lambda: server.out.count("imported before the fork") == 4, "the new workers")
        server.signal(signal.SIGTERM)
        assert server.wait_exit() == 0


WSGI = """
import threading
meet = threading.Barrier(3, timeout=20)
def app(environ, start_response):
    meet.wait()
    start_response("200 OK", [("content-length", "2")])
    return [b"ok"]
"""


@shows("--threads")
def test_threads_of_a_wsgi_application() -> None:
    with serving("wsgi:app", "--port", "0", "--interface", "wsgi", "--threads", "3", files={"wsgi.py": WSGI}) as server:
        clients = [Connection(("127.0.0.1", server.port), PATIENCE) for _ in range(3)]
        for client in clients:
            client.request("/")
        assert [client.response().body for client in clients] == [b"ok"] * 3
        for client in clients:
            client.close()
