"""Sockets that were passed on are to Gunicorn's master what they are, also where Python does not tell it (PyPy)."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from gunicorn import sock
from gunicorn.glogging import Logger

from tests.records import records_of
from tests.worker.cycles import settings
from uvicorn_worker.worker.given_sockets import read_families


@pytest.fixture
def cfg() -> Any:
    return settings()


@pytest.fixture
def log(cfg: Any) -> Any:
    return Logger(cfg)


def taken_for_a_unix_socket(address: tuple[str, int], cfg: Any, log: Any) -> Any:
    """A listener of Gunicorn's as PyPy lets it be made of a TCP socket that was passed on."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    given = socket.create_server(address, family=family)
    return sock.UnixSocket("no name", cfg, log, fd=given.detach())


@pytest.mark.parametrize(("host", "kind"), [("127.0.0.1", sock.TCPSocket), ("::1", sock.TCP6Socket)])
def test_a_tcp_socket(cfg: Any, log: Any, host: str, kind: type) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("there is no IPv6")
    given = taken_for_a_unix_socket((host, 0), cfg, log)
    assert given.sock.family == socket.AF_UNIX
    listeners = [given]
    with records_of("gunicorn.error") as records:
        read_families(listeners, cfg, log)
        read_families(listeners, cfg, log)
    (known,) = listeners
    assert [type(each) for each in listeners] == [kind]
    assert known.cfg_addr == known.getsockname()
    assert known.cfg_addr[0] == host
    assert known.sock.get_inheritable()
    assert records.lines == [f"Listening at: {known}, which was passed on"]
    # The wrong one is closed, and clients see nothing of it.
    assert given.sock is None
    with socket.create_connection(known.cfg_addr[:2], 20):
        known.sock.setblocking(True)
        known.accept()[0].close()
    # What the master does when it stops.
    sock.close_sockets(listeners)


def test_a_unix_socket_stays_as_it_is(cfg: Any, log: Any, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(str(path))
        listener = sock.UnixSocket(str(path), cfg, log, fd=given.detach())
    listeners = [listener]
    read_families(listeners, cfg, log)
    assert listeners == [listener]
    sock.close_sockets(listeners)
    assert not path.exists()


def test_what_gunicorn_has_no_class_for_stays_as_it_is(cfg: Any, log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn_worker.worker.given_sockets._KINDS", {})
    given = taken_for_a_unix_socket(("127.0.0.1", 0), cfg, log)
    listeners = [given]
    read_families(listeners, cfg, log)
    assert listeners == [given]
    given.close()
