"""What a client must not do (RFC 9113): faults of a stream reset that stream, faults of the connection end it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.http2.conftest import Connect, Pair, engine_class
from tests.http2.wire import Client, frame
from uvicorn_worker.http2.engine.codes import (
    ACK,
    END_HEADERS,
    END_STREAM,
    PADDED,
    PREFACE,
    PRIORITY,
    ErrorCode,
    FrameType,
    Setting,
)
from uvicorn_worker.http2.engine.events import ConnectionFailed, RequestReceived, StreamReset
from uvicorn_worker.http2.engine.limits import Limits

GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"example.org"), (b":path", b"/")]


def without(*names: bytes) -> list[tuple[bytes, bytes]]:
    return [field for field in GET if field[0] not in names]


def replaced(name: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
    return [(key, value if key == name else old) for key, old in GET]


MALFORMED: dict[str, list[tuple[bytes, bytes]]] = {
    "no fields": [],
    "no :method": without(b":method"),
    "no :scheme": without(b":scheme"),
    "no :path": without(b":path"),
    "empty :path": replaced(b":path", b""),
    "empty :method": replaced(b":method", b""),
    "an empty host": [*without(b":authority"), (b"host", b"")],
    "empty :authority": replaced(b":authority", b""),
    "user information in :authority": replaced(b":authority", b"user@example.org"),
    "a path in :authority": replaced(b":authority", b"example.org/x"),
    ":method is no token": replaced(b":method", b"G ET"),
    "a space in :path": replaced(b":path", b"/a b"),
    "a line feed in :path": replaced(b":path", b"/\nx"),
    "a carriage return in :authority": replaced(b":authority", b"a\rb"),
    ":method twice": [*GET, (b":method", b"GET")],
    ":path twice": [*GET, (b":path", b"/x")],
    "a pseudo-field of responses": [*GET, (b":status", b"200")],
    "an unknown pseudo-field": [*GET, (b":what", b"x")],
    "a pseudo-field behind others": [(b"x", b"y"), *GET],
    "upper case": [*GET, (b"Accept", b"*/*")],
    "an empty name": [*GET, (b"", b"x")],
    "a space in a name": [*GET, (b"a b", b"x")],
    "a colon in a name": [*GET, (b"a:b", b"x")],
    "a zero byte in a name": [*GET, (b"a\0", b"x")],
    "a byte above 0x7f in a name": [*GET, (b"\xe4", b"x")],
    "a zero byte in a value": [*GET, (b"x", b"a\0b")],
    "a line feed in a value": [*GET, (b"x", b"a\nb")],
    "a carriage return in a value": [*GET, (b"x", b"a\r")],
    "a control character in a value": [*GET, (b"x", b"a\x01b")],
    "a line feed in the white space before a value": [*GET, (b"x", b" \n a")],
    "a zero byte behind a value": [*GET, (b"x", b"a\t\0")],
    "connection": [*GET, (b"connection", b"keep-alive")],
    "proxy-connection": [*GET, (b"proxy-connection", b"close")],
    "keep-alive": [*GET, (b"keep-alive", b"timeout=5")],
    "transfer-encoding": [*GET, (b"transfer-encoding", b"chunked")],
    "upgrade": [*GET, (b"upgrade", b"websocket")],
    "te": [*GET, (b"te", b"trailers, deflate")],
    "two hosts": [*without(b":authority"), (b"host", b"a"), (b"host", b"a")],
    "another host": [*GET, (b"host", b"example.com")],
    "content-length is no number": [*GET, (b"content-length", b"+5")],
    "content-length is empty": [*GET, (b"content-length", b"")],
    "content-length twice": [*GET, (b"content-length", b"0"), (b"content-length", b"0")],
    "content-length too long": [*GET, (b"content-length", b"1" * 20)],
    "content-length without a body": [*GET, (b"content-length", b"5")],
    "CONNECT with :path": replaced(b":method", b"CONNECT"),
    "CONNECT without :authority": [(b":method", b"CONNECT")],
    ":protocol of a GET": [*GET, (b":protocol", b"websocket")],
    ":protocol without :path": [
        (b":protocol", b"websocket"),
        *(f for f in replaced(b":method", b"CONNECT") if f[0] != b":path"),
    ],
    ":protocol is no token": [(b":protocol", b"web socket"), *replaced(b":method", b"CONNECT")],
}


def raw_block(fields: list[tuple[bytes, bytes]]) -> bytes:
    """Fields as literals without Huffman's code, so that nothing mends them."""
    out = b""
    for name, value in fields:
        assert len(name) < 127
        assert len(value) < 127
        out += b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
    return out


@pytest.fixture
def side(pair: Connect) -> Pair:
    return pair()


class TestMalformed:
    @pytest.mark.parametrize("what", MALFORMED)
    def test_a_request_is_reset_and_the_others_go_on(self, side: Pair, what: str) -> None:
        bad = frame(FrameType.HEADERS, END_STREAM | END_HEADERS, 3, raw_block(MALFORMED[what]))
        events = side.deliver(
            side.client.request(b"/before", stream_id=1), bad, side.client.request(b"/behind", stream_id=5)
        )
        assert [(type(event), event.stream_id) for event in events] == [  # type: ignore[union-attr]
            (RequestReceived, 1),
            (StreamReset, 3),
            (RequestReceived, 5),
        ]
        reset = events[1]
        assert isinstance(reset, StreamReset)
        assert reset.code == ErrorCode.PROTOCOL_ERROR
        assert reset.reason
        assert side.client.streams[3].reset == ErrorCode.PROTOCOL_ERROR
        assert side.client.of(FrameType.GOAWAY) == []

    @pytest.mark.parametrize(
        "trailers",
        [[(b":path", b"/")], [(b"Upper", b"x")], [(b"x", b"a\r\nb")], [(b"", b"x")], [(b"connection", b"close")]],
    )
    def test_trailers(self, side: Pair, trailers: list[tuple[bytes, bytes]]) -> None:
        side.deliver(side.client.request(b"/", end=False))
        (event,) = side.deliver(frame(FrameType.HEADERS, END_STREAM | END_HEADERS, 1, raw_block(trailers)))
        assert isinstance(event, StreamReset)
        assert side.client.streams[1].reset == ErrorCode.PROTOCOL_ERROR

    def test_trailers_that_do_not_end_the_stream(self, side: Pair) -> None:
        side.deliver(side.client.request(b"/", end=False))
        (event,) = side.deliver(side.client.headers(1, [(b"x", b"y")], end=False))
        assert isinstance(event, StreamReset)
        assert side.client.streams[1].reset == ErrorCode.PROTOCOL_ERROR

    @pytest.mark.parametrize(
        ("length", "pieces"),
        [(4, [b"12345"]), (4, [b"123", b"45"]), (4, [b"123"]), (4, [b"1", b"2"]), (0, [b"1"]), (4, [b""])],
    )
    def test_a_body_of_another_length(self, side: Pair, length: int, pieces: list[bytes]) -> None:
        fields = (b"content-length", b"%d" % length)
        side.deliver(side.client.request(b"/", fields, end=False), side.client.request(b"/other"))
        last = len(pieces) - 1
        events = side.deliver(*[side.client.data(1, piece, end=at == last) for at, piece in enumerate(pieces)])
        reset = events[-1]
        assert isinstance(reset, StreamReset)
        assert (reset.stream_id, reset.code) == (1, ErrorCode.PROTOCOL_ERROR)
        assert side.client.streams[1].reset == ErrorCode.PROTOCOL_ERROR
        assert side.client.of(FrameType.GOAWAY) == []

    def test_trailers_before_the_length_was_there(self, side: Pair) -> None:
        side.deliver(side.client.request(b"/", (b"content-length", b"5"), end=False), side.client.data(1, b"four"))
        (event,) = side.deliver(side.client.headers(1, [(b"x", b"y")]))
        assert isinstance(event, StreamReset)

    @pytest.mark.parametrize("end", ["data", "nothing", "trailers"])
    def test_what_is_left_out_of_a_body_behind_the_whole_answer(self, side: Pair, end: str) -> None:
        """A client that gives up its upload so, as curl does, has done nothing wrong."""
        client = side.client
        ends = {"data": lambda: client.data(1, b"x" * 30, end=True), "nothing": lambda: client.data(1, end=True)}
        head = client.request(b"/", (b"content-length", b"100000"), method=b"POST", end=False)
        side.deliver(head, client.data(1, b"four"))
        side.engine.respond(1, 401, [], b"no")
        side.pull()
        (event,) = side.deliver(ends.get(end, lambda: client.headers(1, [(b"x", b"y")]))())
        assert isinstance(event, StreamReset)
        assert (event.stream_id, event.code, event.reason) == (1, ErrorCode.NO_ERROR, "")
        assert client.streams[1].reset is None
        assert client.streams[1].body == b"no"
        assert [type(each) for each in side.deliver(client.request(b"/next", stream_id=3))] == [RequestReceived]

    def test_too_much_of_it_is_a_fault_there_too(self, side: Pair) -> None:
        client = side.client
        side.deliver(client.request(b"/", (b"content-length", b"4"), method=b"POST", end=False))
        side.engine.respond(1, 401, [], b"no")
        side.pull()
        (event,) = side.deliver(client.data(1, b"12345", end=True))
        assert isinstance(event, StreamReset)
        assert event.code == ErrorCode.PROTOCOL_ERROR


class TestStreamErrors:
    @pytest.mark.parametrize("late", ["data", "headers"])
    def test_what_comes_behind_the_end(self, side: Pair, late: str) -> None:
        """5.1: half-closed (remote)."""
        client = side.client
        side.deliver(client.request(b"/"), client.request(b"/other"))
        (event,) = side.deliver(client.data(1, b"x") if late == "data" else client.headers(1, [(b"x", b"y")]))
        assert isinstance(event, StreamReset)
        assert (event.stream_id, event.code) == (1, ErrorCode.STREAM_CLOSED)
        assert client.streams[1].reset == ErrorCode.STREAM_CLOSED

    def test_data_on_a_closed_stream(self, side: Pair) -> None:
        client = side.client
        side.deliver(client.request(b"/"))
        side.engine.respond(1, 200, [], b"")
        assert side.deliver(client.data(1, b"x" * 100), client.data(1, b"y")) == []
        assert client.streams[1].reset == ErrorCode.STREAM_CLOSED
        assert sum(one.number for one in client.of(FrameType.WINDOW_UPDATE)[1:]) == 101

    def test_a_window_of_a_stream_that_is_too_large(self, side: Pair) -> None:
        """6.9.1."""
        side.deliver(side.client.request(b"/"))
        (event,) = [e for e in side.deliver(side.client.window(2**31 - 1, 1)) if isinstance(e, StreamReset)]
        assert event.code == ErrorCode.FLOW_CONTROL_ERROR
        assert side.client.streams[1].reset == ErrorCode.FLOW_CONTROL_ERROR

    def test_an_increment_of_0(self, side: Pair) -> None:
        side.deliver(side.client.request(b"/"))
        (event,) = side.deliver(side.client.window(0, 1))
        assert isinstance(event, StreamReset)
        assert side.client.streams[1].reset == ErrorCode.PROTOCOL_ERROR


def settings(key: int, value: int) -> Callable[[Client], bytes]:
    return lambda client: client.settings({key: value})


FAULTS: dict[str, tuple[Callable[[Client], bytes], ErrorCode]] = {
    "DATA on no stream": (lambda c: frame(0, 0, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
    "DATA on an idle stream": (lambda c: c.data(5, b"x"), ErrorCode.PROTOCOL_ERROR),
    "HEADERS on no stream": (lambda c: c.headers(0, GET), ErrorCode.PROTOCOL_ERROR),
    "HEADERS on a stream of the server": (lambda c: c.headers(2, GET), ErrorCode.PROTOCOL_ERROR),
    "HEADERS on a closed stream": (lambda c: c.headers(1, GET), ErrorCode.STREAM_CLOSED),
    "padding of DATA": (lambda c: frame(0, PADDED, 3, b"\x06abcde"), ErrorCode.PROTOCOL_ERROR),
    "no padding in DATA": (lambda c: frame(0, PADDED, 3, b""), ErrorCode.PROTOCOL_ERROR),
    "padding of HEADERS": (lambda c: frame(1, PADDED | END_HEADERS, 5, b"\x05abcd"), ErrorCode.PROTOCOL_ERROR),
    "HEADERS too short for its priority": (
        lambda c: frame(1, PRIORITY | END_HEADERS, 5, b"abc"),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "PRIORITY on no stream": (lambda c: frame(2, 0, 0, bytes(5)), ErrorCode.PROTOCOL_ERROR),
    "PRIORITY of a wrong length": (lambda c: frame(2, 0, 3, bytes(4)), ErrorCode.FRAME_SIZE_ERROR),
    "RST_STREAM on no stream": (lambda c: c.reset(0), ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM on an idle stream": (lambda c: c.reset(5), ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM of a wrong length": (lambda c: frame(3, 0, 3, bytes(5)), ErrorCode.FRAME_SIZE_ERROR),
    "SETTINGS on a stream": (lambda c: frame(4, 0, 3), ErrorCode.PROTOCOL_ERROR),
    "SETTINGS of a wrong length": (lambda c: frame(4, 0, 0, bytes(5)), ErrorCode.FRAME_SIZE_ERROR),
    "SETTINGS with ACK and more": (lambda c: frame(4, ACK, 0, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
    "ENABLE_PUSH is 2": (settings(Setting.ENABLE_PUSH, 2), ErrorCode.PROTOCOL_ERROR),
    "INITIAL_WINDOW_SIZE too large": (settings(Setting.INITIAL_WINDOW_SIZE, 2**31), ErrorCode.FLOW_CONTROL_ERROR),
    "MAX_FRAME_SIZE too small": (settings(Setting.MAX_FRAME_SIZE, 16383), ErrorCode.PROTOCOL_ERROR),
    "MAX_FRAME_SIZE too large": (settings(Setting.MAX_FRAME_SIZE, 2**24), ErrorCode.PROTOCOL_ERROR),
    "PUSH_PROMISE": (lambda c: frame(5, END_HEADERS, 3, bytes(4) + c.block(GET)), ErrorCode.PROTOCOL_ERROR),
    "PING on a stream": (lambda c: frame(6, 0, 3, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "PING of a wrong length": (lambda c: frame(6, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "GOAWAY on a stream": (lambda c: frame(7, 0, 3, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "GOAWAY of a wrong length": (lambda c: frame(7, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE by 0": (lambda c: c.window(0), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE on an idle stream": (lambda c: c.window(1, 5), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE of a wrong length": (lambda c: frame(8, 0, 0, bytes(5)), ErrorCode.FRAME_SIZE_ERROR),
    "a window of the connection that is too large": (lambda c: c.window(2**31 - 1), ErrorCode.FLOW_CONTROL_ERROR),
    "CONTINUATION without HEADERS": (lambda c: frame(9, END_HEADERS, 3), ErrorCode.PROTOCOL_ERROR),
    "CONTINUATION of another stream": (
        lambda c: frame(1, 0, 5, c.block(GET)) + frame(9, END_HEADERS, 7),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "another frame within a header block": (
        lambda c: frame(1, 0, 5, c.block(GET)) + c.ping(),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "an unknown frame within a header block": (
        lambda c: frame(1, 0, 5, c.block(GET)) + frame(0xFA),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "a frame that is too large": (lambda c: frame(0, 0, 3, bytes(16385)), ErrorCode.FRAME_SIZE_ERROR),
    "an unknown frame that is too large": (lambda c: frame(0xFA, 0, 0, bytes(16385)), ErrorCode.FRAME_SIZE_ERROR),
    "HPACK: an index that is not there": (lambda c: frame(1, END_HEADERS, 5, b"\xff\x7f"), ErrorCode.COMPRESSION_ERROR),
    "HPACK: index 0": (lambda c: frame(1, END_HEADERS, 5, b"\x80"), ErrorCode.COMPRESSION_ERROR),
    "HPACK: a string that is cut off": (lambda c: frame(1, END_HEADERS, 5, b"\x00\x05ab"), ErrorCode.COMPRESSION_ERROR),
    "HPACK: a table that is too large": (
        lambda c: frame(1, END_HEADERS, 5, b"\x3f\xe2\x1f" + c.block(GET)),
        ErrorCode.COMPRESSION_ERROR,
    ),
    "HPACK in trailers": (lambda c: frame(1, END_HEADERS | 1, 3, b"\x80"), ErrorCode.COMPRESSION_ERROR),
    "PRIORITY_UPDATE on a stream": (lambda c: frame(0x10, 0, 3, bytes(5)), ErrorCode.PROTOCOL_ERROR),
    "PRIORITY_UPDATE for no stream": (lambda c: frame(0x10, 0, 0, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    "PRIORITY_UPDATE of a wrong length": (lambda c: frame(0x10, 0, 0, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
    "more than the window of the stream": (
        lambda c: b"".join(c.data(3, bytes(16384)) for _ in range(9)),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
}


class TestConnectionErrors:
    @pytest.mark.parametrize("what", FAULTS)
    def test_the_connection_ends_behind_what_came_before(self, side: Pair, what: str) -> None:
        make, code = FAULTS[what]
        client = side.client
        side.deliver(client.request(b"/", stream_id=1))
        side.engine.respond(1, 200, [], b"")
        side.pull()
        begun = client.request(b"/running", stream_id=3, end=False, method=b"POST")
        events = side.deliver(begun, make(client), client.request(b"/behind", stream_id=9))
        failed = events[-1]
        assert isinstance(events[0], RequestReceived)
        assert isinstance(failed, ConnectionFailed)
        assert (failed.code, bool(failed.reason)) == (code, True)
        (goaway,) = client.of(FrameType.GOAWAY)
        assert goaway.code == code
        assert goaway.debug.decode() == failed.reason
        assert goaway.number in (3, 5)

    def test_nothing_is_read_or_sent_any_more(self, side: Pair) -> None:
        client = side.client
        side.deliver(client.request(b"/"), client.window(0))
        assert side.deliver(client.request(b"/more")) == []
        engine = side.engine
        assert engine.respond(1, 200, [], b"body")
        engine.send_headers(1, 200, [], False)
        engine.send_data(1, b"x", True)
        engine.send_trailers(1, [])
        engine.reset(1, 8)
        engine.acknowledge(1, 5)
        engine.goaway(0)
        engine.ping(b"12345678")
        assert engine.window(1) == 0
        assert side.pull() == []

    def test_what_was_queued_before_is_sent(self, side: Pair) -> None:
        side.deliver(side.client.request(b"/"))
        side.engine.respond(1, 200, [], b"ok")
        side.deliver(side.client.window(0))
        assert side.client.streams[1].whole

    def test_the_window_of_the_connection(self, pair: Connect) -> None:
        """A stream whose window is larger than the connection's meets the connection's."""
        side = pair(initial_window_size=4096)
        client = side.client
        total = 0
        for number in range(1, 41, 2):
            events = side.deliver(client.request(b"/", stream_id=number, end=False), client.data(number, bytes(4096)))
            total += 4096
            if any(isinstance(event, ConnectionFailed) for event in events):
                break
        (goaway,) = client.of(FrameType.GOAWAY)
        assert goaway.code == ErrorCode.FLOW_CONTROL_ERROR
        assert total > Limits(initial_window_size=4096).connection_window


class TestPreface:
    @pytest.mark.parametrize(
        "data", [b"GET / HTTP/1.1\r\n\r\n", PREFACE.replace(b"SM", b"MS"), b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"]
    )
    @pytest.mark.parametrize("each", [1, 100])
    def test_another_one(self, engine_name: str, data: bytes, each: int) -> None:
        engine: Any = engine_class(engine_name)(Limits())
        engine.start()
        events = [event for at in range(0, len(data), each) for event in engine.receive_data(data[at : at + each])]
        assert [type(event) for event in events] == [ConnectionFailed]
        assert events[0].code == ErrorCode.PROTOCOL_ERROR

    @pytest.mark.parametrize("first", [frame(FrameType.SETTINGS, ACK), frame(FrameType.PING, 0, 0, bytes(8))])
    def test_it_goes_on_with_settings(self, engine_name: str, first: bytes) -> None:
        engine: Any = engine_class(engine_name)(Limits())
        engine.start()
        (event,) = engine.receive_data(PREFACE + first)
        assert isinstance(event, ConnectionFailed)
