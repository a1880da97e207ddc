"""Which fields of proxies are believed, asked without a connection."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http1.apps import hello
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.proxies.believed_fields import Proxies
from uvicorn_worker.proxies.trust import Trust

SERVER = ("127.0.0.1", 8000)
UNIX = ("/run/app.sock", None)


def proxies(**options: Any) -> Proxies:
    config = Config(app=hello, **options)
    return Proxies(config, Trust(config.forwarded_allow_ips))


class TestPeers:
    @pytest.mark.parametrize(
        ("client", "server", "trusted"),
        [
            (("127.0.0.1", 1), SERVER, True),
            (("192.0.2.7", 1), SERVER, False),
            (None, UNIX, True),
            # A TCP socket that was reset has no peer either.
            (None, SERVER, False),
            (None, None, False),
        ],
    )
    def test_who_is_one(self, client: Any, server: Any, trusted: bool) -> None:
        assert proxies().trusts_peer(client, server) == trusted


class TestReading:
    def test_what_was_read_is_remembered(self) -> None:
        owed = proxies()
        fields = ((b"x-forwarded-for", b"203.0.113.5"), (b"x-forwarded-proto", b"https"))
        assert {name for name, _ in fields} <= owed.names
        origin = owed.read(fields)
        assert origin.changes == {"client": ("203.0.113.5", 0), "scheme": "https"}
        assert owed.origins[fields] is origin


class TestUnderscores:
    FIELDS: tuple[tuple[bytes, bytes], ...] = ((b"host", b"x"), (b"script_name", b"/a"), (b"x_other", b"1"))

    @pytest.mark.parametrize(
        ("options", "trusted", "left"),
        [
            ({}, False, [b"host"]),
            ({}, True, [b"host", b"script_name"]),
            ({"forwarder_headers": "*"}, True, [b"host", b"script_name", b"x_other"]),
            ({"forwarder_headers": "*"}, False, [b"host"]),
        ],
    )
    def test_they_are_left_out(self, options: Any, trusted: bool, left: list[bytes]) -> None:
        owed = proxies(**options)
        assert owed.screens
        assert [name for name, _ in owed.screen(list(self.FIELDS), trusted)] == left

    def test_they_are_refused(self) -> None:
        with pytest.raises(RequestRefused, match="underscore"):
            proxies(header_map="refuse").screen(list(self.FIELDS), True)

    def test_they_are_passed_on(self) -> None:
        assert not proxies(header_map="dangerous").screens


class TestLocated:
    """The scope of a request that another server has read."""

    @pytest.mark.parametrize(("kind", "scheme"), [("http", "https"), ("websocket", "wss")])
    def test_what_a_trusted_peer_says(self, kind: str, scheme: str) -> None:
        fields = [(b"x-forwarded-for", b"203.0.113.5"), (b"x-forwarded-proto", b"https"), (b"a", b"b")]
        scope = {"type": kind, "client": ("127.0.0.1", 1), "server": SERVER, "scheme": "http", "headers": fields}
        owed = proxies()
        for _ in range(2):
            located = owed.located(scope)
            assert (located["client"], located["scheme"]) == (("203.0.113.5", 0), scheme)
        assert scope["scheme"] == "http"

    @pytest.mark.parametrize(
        ("client", "fields"),
        [
            (("192.0.2.7", 1), [(b"x-forwarded-proto", b"https")]),
            (("127.0.0.1", 1), [(b"a", b"b")]),
            (("127.0.0.1", 1), [(b"x-forwarded-proto", b"https"), (b"x-forwarded-ssl", b"off")]),
        ],
        ids=["no proxy", "says nothing", "contradicts itself"],
    )
    def test_it_is_left_as_it_is(self, client: Any, fields: list[tuple[bytes, bytes]]) -> None:
        scope = {"type": "http", "client": client, "server": SERVER, "scheme": "http", "headers": fields}
        secure = {"X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"}
        assert proxies(secure_scheme_headers=secure).located(scope) is scope
