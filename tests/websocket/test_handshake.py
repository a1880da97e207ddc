"""What a handshake has to say, and what is agreed on (RFC 6455, 4.2; RFC 7692, 7.1)."""

from __future__ import annotations

import logging

import pytest

from tests.websocket.wire import ACCEPT, HANDSHAKE
from uvicorn_worker.core.config import Config
from uvicorn_worker.websocket import Refusal, is_websocket_request, negotiate
from uvicorn_worker.websocket.handshake import Agreement, offered_subprotocols

Fields = list[tuple[bytes, bytes]]

DEFLATE = b"permessage-deflate"


def fields(*more: tuple[bytes, bytes], without: bytes = b"") -> Fields:
    """The fields of a handshake, with others, or without one."""
    pairs = [tuple(line.encode().split(b": ", 1)) for line in HANDSHAKE]
    return [(name.lower(), value) for name, value in pairs if name.lower() != without] + list(more)


def agree(*more: tuple[bytes, bytes], without: bytes = b"", compress: bool = True) -> Agreement:
    config = Config(app="x:y", ws_per_message_deflate=compress)
    agreement = negotiate(config, fields(*more, without=without))
    assert isinstance(agreement, Agreement), agreement
    return agreement


def refuse(*more: tuple[bytes, bytes], without: bytes = b"") -> Refusal:
    refusal = negotiate(Config(app="x:y"), fields(*more, without=without))
    assert isinstance(refusal, Refusal)
    assert refusal.reason
    return refusal


class TestRequest:
    """Which requests are taken for a handshake at all."""

    @pytest.mark.parametrize("value", [b"websocket", b"WebSocket", b"WEBSOCKET"])
    def test_a_get_that_asks_for_it(self, value: bytes) -> None:
        assert is_websocket_request("GET", [(b"host", b"x"), (b"upgrade", value)])

    @pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS", "get"])
    def test_another_method_is_none(self, method: str) -> None:
        assert not is_websocket_request(method, fields())

    @pytest.mark.parametrize("value", [b"h2c", b"websocket/13", b"", b"web socket"])
    def test_another_protocol_is_none(self, value: bytes) -> None:
        assert not is_websocket_request("GET", fields((b"upgrade", value), without=b"upgrade"))

    def test_no_upgrade_is_none(self) -> None:
        assert not is_websocket_request("GET", fields(without=b"upgrade"))


class TestAnswer:
    def test_the_key_of_the_example(self) -> None:
        # 1.3
        agreement = agree()
        assert (b"sec-websocket-accept", ACCEPT.encode()) in agreement.headers
        assert (b"upgrade", b"websocket") in agreement.headers
        assert agreement.deflate is None

    def test_only_fields_of_the_handshake(self) -> None:
        names = [name for name, _ in agree((b"sec-websocket-extensions", DEFLATE)).headers]
        assert sorted(names) == [b"connection", b"sec-websocket-accept", b"sec-websocket-extensions", b"upgrade"]

    @pytest.mark.parametrize("value", [b"Upgrade", b"upgrade", b"keep-alive, Upgrade", b"UPGRADE,keep-alive"])
    def test_connection(self, value: bytes) -> None:
        agree((b"connection", value), without=b"connection")

    def test_connection_twice(self) -> None:
        agree((b"connection", b"keep-alive"))

    def test_the_subprotocol_is_the_applications_choice(self) -> None:
        agreement = agree((b"sec-websocket-protocol", b"chat, superchat"))
        assert all(name != b"sec-websocket-protocol" for name, _ in agreement.headers)

    def test_fields_that_do_not_matter(self) -> None:
        agree((b"origin", b"http://evil.test"), (b"x", b"\xff\xfe"), (b"x", b"again"))

    def test_nothing_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        agree()
        refuse(without=b"sec-websocket-key")
        assert caplog.records == []


class TestRefusal:
    @pytest.mark.parametrize("version", [b"0", b"8", b"12", b"14", b"x", b"13, 8"])
    def test_another_version_is_a_426_that_names_ours(self, version: bytes) -> None:
        # RFC 6455, 4.2.2 and 4.4
        refusal = refuse((b"sec-websocket-version", version), without=b"sec-websocket-version")
        assert refusal.status == 426
        assert (b"sec-websocket-version", b"13") in refusal.headers

    def test_a_426_says_what_to_upgrade_to(self) -> None:
        # RFC 9110, 15.5.22: the server must send an Upgrade field.
        refusal = refuse((b"sec-websocket-version", b"8"), without=b"sec-websocket-version")
        assert (b"upgrade", b"websocket") in refusal.headers

    @pytest.mark.parametrize("name", [b"connection", b"sec-websocket-key", b"sec-websocket-version"])
    def test_a_field_that_is_missing(self, name: bytes) -> None:
        assert refuse(without=name).status == 400

    @pytest.mark.parametrize("name", [b"sec-websocket-key", b"sec-websocket-version"])
    def test_a_field_that_comes_twice(self, name: bytes) -> None:
        value = dict(fields())[name]
        assert refuse((name, value)).status == 400

    @pytest.mark.parametrize(
        "key",
        [
            b"",
            b"x",
            b"dGhlIHNhbXBsZSBub25jZQ",  # without its padding
            b"dGhlIHNhbXBsZSBub25j",  # 15 bytes
            b"dGhlIHNhbXBsZSBub25jZTE=",  # 17 bytes
            b"dGhlIHNhbXBs ZSBub25jZQ==",
            b"!!!!IHNhbXBsZSBub25jZQ==",
            b"\xff" * 24,
        ],
    )
    def test_a_key_that_is_not_16_bytes_in_base64(self, key: bytes) -> None:
        assert refuse((b"sec-websocket-key", key), without=b"sec-websocket-key").status == 400

    @pytest.mark.parametrize("value", [b"close", b"keep-alive", b"", b"up grade", b"@"])
    def test_a_connection_that_does_not_upgrade(self, value: bytes) -> None:
        assert refuse((b"connection", value), without=b"connection").status == 400

    def test_two_protocols_at_once(self) -> None:
        assert refuse((b"upgrade", b"h2c")).status == 400

    @pytest.mark.parametrize("value", [b"permessage-deflate; =", b"@", b"a b", b"permessage-deflate; x y"])
    def test_extensions_that_can_not_be_read(self, value: bytes) -> None:
        assert refuse((b"sec-websocket-extensions", value)).status == 400

    def test_an_empty_list_of_extensions_is_none(self) -> None:
        agreement = agree((b"sec-websocket-extensions", b""))
        assert agreement.deflate is None


class TestSubprotocols:
    def test_of_all_fields_in_order(self) -> None:
        headers = [(b"sec-websocket-protocol", b"b, a"), (b"x", b"y"), (b"sec-websocket-protocol", b"c")]
        assert offered_subprotocols(headers) == ["b", "a", "c"]

    def test_none(self) -> None:
        assert offered_subprotocols(fields()) == []

    @pytest.mark.parametrize(
        ("value", "offered"),
        [
            (b"bearer, dG9rZW4=", ["bearer", "dG9rZW4="]),
            (b"v1/chat", ["v1/chat"]),
            (b"a b,\t@ ,\xe9", ["a b", "@", "\xe9"]),
            (b'"chat";q=1', ['"chat";q=1']),
            (b"a,, b ,", ["a", "b"]),
            (b"", []),
            (b" , ", []),
        ],
    )
    def test_what_is_no_token_is_the_applications_to_judge(self, value: bytes, offered: list[str]) -> None:
        """uvicorn with `--ws websockets` or `wsproto`, and its earlier versions without, pass it on as well."""
        headers = [(b"sec-websocket-protocol", value)]
        assert offered_subprotocols(headers) == offered
        agree(*headers)

    def test_they_are_strings(self) -> None:
        assert [type(name) for name in offered_subprotocols([(b"sec-websocket-protocol", b"chat")])] == [str]


def parameters(*offers: bytes) -> dict[bytes, bytes] | None:
    """The parameters of permessage-deflate in the answer; None where it was declined."""
    agreement = agree(*[(b"sec-websocket-extensions", offer) for offer in offers])
    values = [value for name, value in agreement.headers if name == b"sec-websocket-extensions"]
    if not values:
        assert agreement.deflate is None
        return None
    (value,) = values
    assert agreement.deflate is not None
    name, *rest = value.split(b"; ")
    assert name == DEFLATE
    found = {}
    for item in rest:
        key, _, number = item.partition(b"=")
        found[key] = number
    return found


class TestCompression:
    """permessage-deflate with small windows, so that a connection takes little memory."""

    def test_a_plain_offer(self) -> None:
        assert parameters(DEFLATE) == {}

    def test_the_offer_of_browsers(self) -> None:
        assert parameters(DEFLATE + b"; client_max_window_bits") == {b"client_max_window_bits": b"12"}

    @pytest.mark.parametrize("offer", [b"", b"; client_no_context_takeover; server_no_context_takeover"])
    def test_a_client_that_does_not_ask_for_a_window_is_told_of_none(self, offer: bytes) -> None:
        # RFC 7692, 7.1.2.1 lets a server name its own, and nhooyr.io/websocket 1.8.7 fails the handshake for it.
        assert b"server_max_window_bits" not in (parameters(DEFLATE + offer) or {})

    @pytest.mark.parametrize("bits", [9, 10, 11])
    def test_smaller_windows_are_kept_to(self, bits: int) -> None:
        offer = b"; server_max_window_bits=%d; client_max_window_bits=%d" % (bits, bits)
        assert parameters(DEFLATE + offer) == {
            b"server_max_window_bits": b"%d" % bits,
            b"client_max_window_bits": b"%d" % bits,
        }

    def test_larger_windows_are_not_needed(self) -> None:
        assert parameters(DEFLATE + b"; server_max_window_bits=15; client_max_window_bits=15") == {
            b"server_max_window_bits": b"12",
            b"client_max_window_bits": b"12",
        }

    @pytest.mark.parametrize("name", [b"server_no_context_takeover", b"client_no_context_takeover"])
    def test_no_context_takeover(self, name: bytes) -> None:
        assert parameters(DEFLATE + b"; " + name) == {name: b""}

    @pytest.mark.parametrize(
        "offer",
        [
            b"; server_max_window_bits=7",
            b"; server_max_window_bits=16",
            b"; server_max_window_bits",
            b"; unknown=1",
            b"; server_no_context_takeover=1",
            b"; server_no_context_takeover; server_no_context_takeover",
        ],
    )
    def test_an_offer_that_is_wrong_is_declined(self, offer: bytes) -> None:
        assert parameters(DEFLATE + offer) is None

    def test_the_next_offer_may_do(self) -> None:
        offers = DEFLATE + b"; unknown=1, " + DEFLATE + b"; server_no_context_takeover"
        assert parameters(offers) == {b"server_no_context_takeover": b""}

    def test_of_two_that_do_one_is_taken(self) -> None:
        assert parameters(DEFLATE + b", " + DEFLATE) is not None
        assert parameters(DEFLATE, DEFLATE) is not None

    @pytest.mark.parametrize("value", [b"x-webkit-deflate-frame", b"permessage-bzip2; a=1, foo", b"bbf-usp-protocol"])
    def test_other_extensions_are_not_spoken(self, value: bytes) -> None:
        assert parameters(value) is None
        assert parameters(value, DEFLATE) is not None

    def test_it_can_be_turned_off(self) -> None:
        agreement = agree((b"sec-websocket-extensions", DEFLATE), compress=False)
        assert agreement.deflate is None
        assert all(name != b"sec-websocket-extensions" for name, _ in agreement.headers)
