"""The addresses of a transport, and the client's name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.scripted import ScriptedTransport
from uvicorn_worker.core.address import Endpoints, client_address, of_this_machine, peer_name, server_of


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("192.0.2.1", 80), ("192.0.2.1", 80)),
        (["192.0.2.1", 80], ("192.0.2.1", 80)),
        (("::1", 80, 0, 0), ("::1", 80)),
        ("", None),
        (b"", None),
        (None, None),
        ("/run/client.sock", None),
        ((), None),
    ],
)
def test_client_address(loop: asyncio.AbstractEventLoop, name: Any, address: Any) -> None:
    assert client_address(ScriptedTransport(loop, peername=name)) == address


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("192.0.2.1", 80), ("192.0.2.1", 80)),
        (("::1", 80, 0, 0), ("::1", 80)),
        ("/run/app.sock", ("/run/app.sock", None)),
        (b"\0name", ("\0name", None)),
        ("", None),
        (None, None),
    ],
)
def test_server_of(name: Any, address: Any) -> None:
    assert server_of(name) == address


def test_the_name_of_a_client() -> None:
    assert peer_name(("192.0.2.1", 80)) == "192.0.2.1:80"
    assert peer_name(None) == "a unix socket"
    assert peer_name(None, "") == ""


def test_endpoints_are_what_is_in_them() -> None:
    one, other = (Endpoints(("192.0.2.1", 80), ("192.0.2.2", 443), secure=True) for _ in range(2))
    assert one == other
    assert len({one, other}) == 1
    assert one != Endpoints(("192.0.2.1", 80), ("192.0.2.2", 443))
    assert one != "192.0.2.1"


@pytest.mark.parametrize(
    ("client", "near"),
    [
        (None, True),
        (("127.0.0.1", 1), True),
        (("127.8.0.1", 1), True),
        (("::1", 1), True),
        (("::ffff:127.0.0.1", 1), True),
        (("192.0.2.1", 1), False),
        (("12.7.0.1", 1), False),
        (("::1234", 1), False),
        (("2001:db8::1", 1), False),
    ],
)
def test_clients_of_this_machine(client: tuple[str, int] | None, near: bool) -> None:
    assert of_this_machine(client) is near
