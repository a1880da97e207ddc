"""TLS under Gunicorn: each setting by its effect, mistakes that end the start, certificates that change."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect

from tests.certificates import CLIENT_NAME, Site, authority, client_context
from tests.e2e.harness import HTTPTOOLS, PATIENCE, Gunicorn, until
from tests.e2e.raw import Connection
from tests.openssl import encrypted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Serve = Callable[..., Gunicorn]

APP = "tls_app:app"
TLS12 = ssl.TLSVersion.TLSv1_2
TLS13 = ssl.TLSVersion.TLSv1_3


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def files(site: Site) -> tuple[str, ...]:
    return ("--certfile", str(site.cert), "--keyfile", str(site.key))


class TlsConnection(Connection):
    """A connection over TLS."""

    socket: ssl.SSLSocket

    def __init__(self, server: Gunicorn, context: ssl.SSLContext | None = None, session: Any = None) -> None:
        # Before the connection is made, whose handshake may have a deadline.
        context = context or client_context()
        super().__init__(("127.0.0.1", server.port), PATIENCE)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost", session=session)

    @property
    def certificate(self) -> bytes | None:
        return self.socket.getpeercert(binary_form=True)


def ask(server: Gunicorn, context: ssl.SSLContext | None = None) -> Any:
    """What the application sees of a new connection."""
    with TlsConnection(server, context) as connection:
        return json.loads(connection.get("/").body)


async def greeting(url: str) -> dict[str, Any]:
    """The first message of a WebSocket. (Of a thousand handshakes over TLS websockets' own threads lose one.)"""
    async with connect(url, ssl=client_context(), proxy=None) as client:
        seen: dict[str, Any] = json.loads(await client.recv())
        return seen


def refused(server: Gunicorn, context: ssl.SSLContext) -> bool:
    """Whether the server does not let this client in."""
    try:
        ask(server, context)
    except OSError:
        return True
    return False


def jane() -> Any:
    return authority().issue_cert(
        "jane@example.org", common_name="Jane", organization_name="Example", organization_unit_name="Ops, EU"
    )


# Serving ---------------------------------------------------------------------------------------------------


def test_https(serve: Serve, worker: str, site: Site) -> None:
    server = serve(APP, *files(site), worker=worker)
    seen = ask(server)
    assert seen["scheme"] == "https"
    assert seen["tls"] == {
        "server_cert": ssl.DER_cert_to_PEM_cert(site.certificate),
        "client_cert_chain": [],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": 0x0304,
        "cipher_suite": seen["tls"]["cipher_suite"],
    }
    seen = asyncio.run(greeting(f"wss://127.0.0.1:{server.port}/"))
    assert (seen["scheme"], seen["tls"]["tls_version"]) == ("wss", 0x0304)
    # Plain HTTP, and then a server that goes on.
    with server.connect() as connection:
        connection.socket.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.socket.recv(1000) == b""
    assert refused(server, ssl.create_default_context())
    assert ask(server)["scheme"] == "https"
    assert server.stop_gracefully() == 0
    assert "Traceback" not in server.log
    assert "rror" not in server.log


def test_curl(
    serve: Serve, worker: str, site: Site, curl: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    server = serve(APP, *files(site), worker=worker)
    url = f"https://127.0.0.1:{server.port}/"
    done = curl("--cacert", str(site.ca), "--verbose", url)
    assert json.loads(done.stdout)["scheme"] == "https"
    assert "http/1.1" in next(line for line in done.stderr.splitlines() if "ALPN" in line and "accepted" in line)
    assert curl(url).returncode == 60  # the authority is not known


@pytest.mark.parametrize("cert_reqs", ["1", "2"])
def test_client_certificates(serve: Serve, worker: str, site: Site, cert_reqs: str) -> None:
    server = serve(APP, *files(site), "--ca-certs", str(site.ca), "--cert-reqs", cert_reqs, worker=worker)
    identity = jane()
    assert ask(server, client_context(identity))["tls"]["client_cert_name"] == CLIENT_NAME
    seen = ask(server, client_context(identity, maximum_version=TLS12))["tls"]
    own = identity.cert_chain_pems[0].bytes().decode()
    assert seen["client_cert_chain"][0].split() == own.split()
    assert seen["tls_version"] == 0x0303
    if cert_reqs == "2":
        assert refused(server, client_context())
    else:
        assert ask(server)["tls"]["client_cert_chain"] == []
    assert "Traceback" not in server.log


def test_ciphers_and_what_asyncio_has_no_notion_of(serve: Serve, site: Site) -> None:
    options = ["--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256", "--do-handshake-on-connect", "--suppress-ragged-eofs"]
    server = serve(APP, *files(site), *options, worker=HTTPTOOLS)
    assert ask(server, client_context(maximum_version=TLS12))["tls"]["cipher_suite"] == 0xC02B
    other = client_context(maximum_version=TLS12)
    other.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    assert refused(server, other)


@pytest.mark.parametrize(("version", "old_is_refused"), [("TLSv1_3", True), ("TLSv1_2", False)])
def test_oldest_version(serve: Serve, site: Site, version: str, old_is_refused: bool) -> None:
    server = serve(APP, *files(site), "--ssl-version", version, worker=HTTPTOOLS)
    assert refused(server, client_context(maximum_version=TLS12)) is old_is_refused
    assert ask(server)["tls"]["tls_version"] == 0x0304


@pytest.mark.parametrize("where", ["code", "environment"])
def test_password_of_the_key(serve: Serve, site: Site, where: str) -> None:
    site.key.write_bytes(encrypted(site.key.read_bytes(), "open sesame"))
    code = "from uvicorn_worker import UvicornWorker as W\nworker_class = W"
    if where == "code":
        code += ".configure(ssl_keyfile_password='open sesame')"
    env = {"UVICORN_SSL_KEYFILE_PASSWORD": "open sesame"} if where == "environment" else {}
    server = serve(APP, *files(site), files={"gunicorn.conf.py": code}, env=env)
    assert ask(server)["scheme"] == "https"
    assert "sesame" not in server.log


# The hook --------------------------------------------------------------------------------------------------

HOOK = """
import ssl
from eventlog import event

def ssl_context(conf, default_ssl_context_factory):
    event("hook", conf.certfile)
    context = default_ssl_context_factory()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
"""


def test_hook_is_called_in_each_worker(serve: Serve, worker: str, site: Site) -> None:
    server = serve(APP, *files(site), worker=worker, workers=2, files={"gunicorn.conf.py": HOOK})
    calls = server.wait_events("hook", 2)
    assert {call.pid for call in calls} == set(server.workers())
    assert {call.detail for call in calls} == {str(site.cert)}
    assert refused(server, client_context(maximum_version=TLS12))
    assert ask(server)["tls"]["tls_version"] == 0x0304


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise RuntimeError('no key today')", r"raised RuntimeError\('no key today'\)"),
        ("return None", "must return an ssl.SSLContext, and it returned None"),
        ("raise SystemExit(0)", r"raised SystemExit\(0\)"),
    ],
    ids=["raises", "none", "exits"],
)
def test_hook_that_fails_ends_the_start(serve: Serve, site: Site, body: str, message: str) -> None:
    conf = f"def ssl_context(conf, default_ssl_context_factory):\n    {body}\n"
    server = serve(APP, *files(site), worker=HTTPTOOLS, workers=2, files={"gunicorn.conf.py": conf})
    assert server.wait_exit() == 3
    server.wait_log(message)
    # One report, whoever of the two was first.
    assert len(re.findall(r"\[ERROR\] The hook that makes the TLS context", server.log)) == 1


def test_hook_without_a_certificate(serve: Serve, site: Site) -> None:
    server = serve(APP, worker=HTTPTOOLS, files={"gunicorn.conf.py": HOOK})
    assert server.get().json() == {"scheme": "http", "pid": server.workers()[0], "tls": None}
    assert server.log.count("Gunicorn setting ssl_context: the hook is not called") == 1
    assert not server.events("hook")


# Mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--keyfile", "{other}"], "option ssl_keyfile = '{other}': the private key is not that of the certificate"),
        (["--cert-reqs", "2"], "option ssl_cert_reqs = 2: needs ssl_ca_certs"),
        (["--ciphers", "NONSENSE"], "option ssl_ciphers = 'NONSENSE': OpenSSL says"),
        (["--ssl-version", "TLSv1"], "Gunicorn setting ssl_version = 'TLSv1': must be one of"),
        (["--certfile", ""], "option ssl_keyfile = '{key}': has no effect without ssl_certfile"),
    ],
    ids=["key", "ca", "ciphers", "version", "certificate"],
)
def test_mistake_ends_the_master_before_it_forks(
    serve: Serve, site: Site, tmp_path: Path, options: list[str], message: str
) -> None:
    (tmp_path / "b").mkdir()
    names = {"other": str(Site(tmp_path / "b").key), "key": str(site.key)}
    options = [option.format_map(names) for option in options]
    server = serve(APP, *files(site), *options, worker=HTTPTOOLS)
    assert server.wait_exit() == 1
    (line,) = [line for line in server.log.splitlines() if line.startswith("Error: ")]
    assert line.startswith("Error: " + message.format_map(names))
    assert "Traceback" not in server.log
    assert "Booting worker" not in server.log


# Certificates that change ----------------------------------------------------------------------------------


def test_new_certificate_with_hup(serve: Serve, worker: str, site: Site) -> None:
    server = serve(APP, *files(site), worker=worker)
    old = ask(server)["pid"]
    new = site.renew()
    server.signal(signal.SIGHUP)

    def replaced() -> bool:
        # No handshake and no request is lost meanwhile.
        with TlsConnection(server) as connection:
            pid = json.loads(connection.get("/").body)["pid"]
            # A worker that was started after the change has read the new files.
            assert pid == old or connection.certificate == new
        return bool(pid != old)

    until(replaced, "a new worker")
    assert "Traceback" not in server.log


def test_new_certificate_without_new_workers(serve: Serve, site: Site) -> None:
    server = serve(APP, *files(site), "--keep-alive", "60", worker=HTTPTOOLS)
    with TlsConnection(server) as before:
        pid = json.loads(before.get("/").body)["pid"]
        old = site.certificate
        site.key.write_text("not a key")
        server.wait_log("The TLS files have changed and can't be used, so the old ones stay in use: option ssl_keyfile")
        with TlsConnection(server) as connection:
            assert connection.certificate == old
        new = site.renew()
        server.wait_log("The TLS files have changed: new connections use them")
        with TlsConnection(server) as connection:
            assert connection.certificate == new
            seen = json.loads(connection.get("/").body)
        assert seen["tls"]["server_cert"] == ssl.DER_cert_to_PEM_cert(new)
        # No worker was replaced, and the connection from before goes on.
        assert json.loads(before.get("/").body)["pid"] == seen["pid"] == pid
        assert before.certificate == old
    assert server.log.count("can't be used") == 1


# Time ------------------------------------------------------------------------------------------------------


def test_stop_does_not_wait_for_clients_that_do_not_look(serve: Serve, worker: str, site: Site) -> None:
    server = serve(APP, *files(site), "--graceful-timeout", "600", worker=worker)
    with TlsConnection(server) as idle:
        assert idle.get("/").status == 200
        assert server.stop_gracefully() == 0
        # It was told: close_notify came before the end.
        idle.socket.suppress_ragged_eofs = False  # type: ignore[attr-defined]  # the stubs do not know it
        assert idle.socket.recv(1000) == b""


def test_handshake_has_a_deadline(serve: Serve, worker: str, site: Site) -> None:
    server = serve(APP, *files(site), worker=worker, env={"UVICORN_TIMEOUT_REQUEST_HEAD": "1"})
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as silent:
        assert silent.recv(1000) == b""

    def served() -> bool:
        # One that gets no time for its side of the handshake is cut at the same deadline.
        with contextlib.suppress(OSError):
            return bool(ask(server)["scheme"] == "https")
        return False

    until(served, "a handshake in its time")


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_a_client_that_comes_back_resumes_whichever_worker_answers(
    serve: Serve, site: Site, version: ssl.TLSVersion
) -> None:
    """RFC 8446, 2.2: a ticket that one worker gave is taken by the others, also after the certificate has changed."""
    server = serve(APP, *files(site), "--workers", "4", "--keep-alive", "60", worker=HTTPTOOLS)
    server.wait_log("Ready in")
    context = client_context(maximum_version=version)
    with contextlib.ExitStack() as stack:
        session, pids, resumed = None, set(), 0

        def come() -> TlsConnection:
            nonlocal session, resumed
            connection = stack.enter_context(TlsConnection(server, context, session))
            pids.add(json.loads(connection.get("/").body)["pid"])
            resumed += bool(connection.socket.session_reused)
            session = connection.socket.session
            return connection

        for _ in range(30):
            come()
        assert resumed == 29
        assert len(pids) > 1
        site.renew()
        until(lambda: server.log.count("The TLS files have changed") == 4 or None, "the new certificate in all workers")
        for _ in range(8):
            come()
        assert resumed == 37
        with TlsConnection(server) as fresh:
            assert fresh.certificate == site.certificate


def test_hup_brings_other_ticket_keys(serve: Serve, site: Site) -> None:
    server = serve(APP, *files(site), worker=HTTPTOOLS)
    context = client_context(maximum_version=TLS12)
    with TlsConnection(server, context) as connection:
        old = json.loads(connection.get("/").body)["pid"]
        session = connection.socket.session
    server.signal(signal.SIGHUP)
    # Both accept for a while.
    until(lambda: old not in server.workers() and ask(server)["pid"] != old, "a new worker alone")
    with TlsConnection(server, context, session) as connection:
        assert json.loads(connection.get("/").body)["pid"] != old
        assert not connection.socket.session_reused
