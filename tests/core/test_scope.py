"""Scopes: what they have in common, where a request goes to, and what its proxies tell of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.scripted import ScriptedTransport
from uvicorn_worker.core.address import Endpoints
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.scope import Origin, Scopes


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


class TestScope:
    def test_connections_to_one_address_share_it(self, loop: asyncio.AbstractEventLoop) -> None:
        scopes = Scopes(Config(app=app, root_path="/r"))
        scope = scopes.of_connection(ScriptedTransport(loop))
        assert scopes.of_connection(ScriptedTransport(loop)) is scope
        assert (scope["server"], scope["scheme"], scope["root_path"]) == (("127.0.0.1", 8000), "http", "/r")

    def test_tls_makes_https(self, loop: asyncio.AbstractEventLoop) -> None:
        scopes = Scopes(Config(app=app))
        assert scopes.of_connection(ScriptedTransport(loop, sslcontext=object()))["scheme"] == "https"

    def test_addresses_that_a_proxy_makes_up_do_not_add_up(self, loop: asyncio.AbstractEventLoop) -> None:
        scopes, transport = Scopes(Config(app=app)), ScriptedTransport(loop)
        made = [scopes.of_connection(transport, Endpoints(None, (f"10.1.0.{n}", n))) for n in range(600)]
        assert [scope["server"][1] for scope in made] == list(range(600))
        assert scopes.of_connection(transport, Endpoints(None, ("10.1.0.599", 599))) is made[-1]
        assert scopes.of_connection(transport, Endpoints(None, ("10.1.0.0", 0))) is not made[0]


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        (b"/", ("/", b"/", b"")),
        (b"/a?b", ("/a", b"/a", b"b")),
        (b"/a?", ("/a", b"/a", b"")),
        (b"/a?b?c", ("/a", b"/a", b"b?c")),
        (b"/%41%c3%A9%2f?%41", ("/Aé/", b"/%41%c3%A9%2f", b"%41")),
        (b"/%", ("/%", b"/%", b"")),
        (b"*", ("*", b"*", b"")),
    ],
)
def test_the_parts_of_a_target(target: bytes, parts: tuple[str, bytes, bytes]) -> None:
    scopes = Scopes(Config(app=app))
    scope = scopes.of_connection(asyncio.Transport()).copy()
    scopes.locate(scope, target, None)
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == parts


def test_the_root_path_comes_first() -> None:
    scopes = Scopes(Config(app=app, root_path="/r \xe9"))
    scope = scopes.of_connection(asyncio.Transport()).copy()
    scopes.locate(scope, b"/a%20b?c", None)
    assert (scope["path"], scope["raw_path"], scope["root_path"]) == ("/r \xe9/a b", b"/r%20%C3%A9/a%20b", "/r \xe9")


def test_what_proxies_tell_comes_last() -> None:
    scopes = Scopes(Config(app=app, root_path="/r"))
    scope = scopes.of_connection(asyncio.Transport()).copy()
    seen: list[Any] = []
    origin = Origin({"scheme": "https"}, lambda scope, raw_root_path: seen.append((scope["path"], raw_root_path)))
    scopes.locate(scope, b"/a", origin)
    assert scope["scheme"] == "https"
    assert seen == [("/r/a", b"/r")]


def test_no_more_targets_are_remembered_than_there_are_places_until_the_next_tick() -> None:
    scopes = Scopes(Config(app=app))
    scope = scopes.of_connection(asyncio.Transport()).copy()
    for target in (b"/%d" % number for number in range(300)):
        scopes.locate(scope, target, None)
        assert scope["raw_path"] == target
    assert len(scopes.targets) == 256
    scopes.refresh()
    assert not scopes.targets
    for target in (b"/a?b", b'/"', b"*", b"/" + b"x" * 200):
        scopes.locate(scope, target, None)
    scopes.refresh()
    assert scopes.targets == {b"/a?b": ("/a", b"/a", b"b")}
