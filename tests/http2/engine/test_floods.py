"""Defences: each limit of limits.py, reached and not exceeded, then exceeded; on every engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.http2.conftest import Connect, Pair
from tests.http2.wire import Client, frame
from uvicorn_worker.http2.engine.codes import END_HEADERS, END_STREAM, ErrorCode, FrameType, Setting
from uvicorn_worker.http2.engine.events import ConnectionFailed, Event, RequestReceived, StreamReset
from uvicorn_worker.http2.engine.limits import (
    ANSWER_BACKLOG,
    CONTINUATION_LIMIT,
    CONTROL_BURST,
    CONTROL_PER_TICK,
    CONTROL_SAVED,
    HEADER_LIST_SLACK,
    RESET_BURST,
    RESET_PER_TICK,
    USEFUL_DATA,
)

ROUNDS = CONTROL_BURST * 3
MORE = RESET_BURST + 200


def rounds(side: Pair, make: Callable[[int], bytes], most: int = ROUNDS, each: int = 1) -> int:
    """How many reads the connection takes before it ends with ENHANCE_YOUR_CALM; `most` if it does not end."""
    for number in range(most):
        for event in side.deliver(make(number)):
            if isinstance(event, ConnectionFailed):
                assert event.code == ErrorCode.ENHANCE_YOUR_CALM
                (goaway,) = side.client.of(FrameType.GOAWAY)
                assert goaway.code == ErrorCode.ENHANCE_YOUR_CALM
                assert goaway.debug
                return number * each
    return most * each


class TestResets:
    def test_rapid_reset(self, pair: Connect) -> None:
        side = pair()
        client = side.client
        count = rounds(side, lambda n: client.request(b"/", stream_id=2 * n + 1) + client.reset(2 * n + 1), MORE)
        assert count == RESET_BURST

    def test_streams_that_the_client_makes_us_reset(self, pair: Connect) -> None:
        side = pair()
        client = side.client
        count = rounds(side, lambda n: client.request(b"/", stream_id=2 * n + 1) + client.window(0, 2 * n + 1), MORE)
        assert count == RESET_BURST

    def test_a_neighbour_outlives_three_thousand_cancelled_calls(self, pair: Connect) -> None:
        side = pair()
        side.deliver(side.client.request(b"/", stream_id=1))
        count = rounds(
            side, lambda n: side.client.request(b"/", stream_id=2 * n + 3) + side.client.reset(2 * n + 3), 3000
        )
        assert count == 3000
        side.engine.respond(1, 200, [], b"ok")
        side.pull()
        assert side.client.streams[1].whole

    def test_streams_without_an_end_may_be_left(self, pair: Connect) -> None:
        """A response that has begun and never ends: who leaves it has no other way than RST_STREAM."""
        side = pair()

        def left(number: int) -> bytes:
            if number:
                side.engine.send_headers(2 * number - 1, 200, [], False)
            return side.client.request(b"/", stream_id=2 * number + 1) + side.client.reset(max(1, 2 * number - 1))

        assert rounds(side, left, MORE) == MORE

    def test_streams_that_end_well_make_up_for_some(self, pair: Connect) -> None:
        side = pair()

        def reset_each_second(number: int) -> bytes:
            if number:
                side.engine.respond(4 * number - 3, 200, [], b"ok")
            both = side.client.request(b"/", stream_id=4 * number + 1) + side.client.request(
                b"/", stream_id=4 * number + 3
            )
            return both + side.client.reset(4 * number + 3)

        assert rounds(side, reset_each_second, MORE) == MORE

    def test_malformed_requests(self, pair: Connect) -> None:
        side = pair()
        count = rounds(side, lambda n: side.client.request(b"/", (b"te", b"x"), stream_id=2 * n + 1), MORE)
        assert count == RESET_BURST

    def test_time_gives_some_back(self, pair: Connect) -> None:
        side = pair()
        client = side.client

        def reset(number: int) -> bytes:
            return client.request(b"/", stream_id=2 * number + 1) + client.reset(2 * number + 1)

        assert rounds(side, reset, RESET_BURST) == RESET_BURST
        side.engine.tick()
        assert rounds(side, lambda n: reset(n + RESET_BURST)) == RESET_PER_TICK


class TestControlFrames:
    """Answers are read at once here, so that it is the frames themselves which are counted."""

    FRAMES: dict[str, Callable[[Client], bytes]] = {  # noqa: RUF012
        "PING": lambda client: client.ping(),
        "PING with ACK": lambda client: client.ping(flags=1),
        "SETTINGS": lambda client: client.settings({Setting.MAX_CONCURRENT_STREAMS: 5}),
        "empty SETTINGS": lambda client: client.settings({}),
        "PRIORITY": lambda client: frame(FrameType.PRIORITY, 0, 9, bytes(5)),
        "PRIORITY_UPDATE": lambda client: frame(FrameType.PRIORITY_UPDATE, 0, 0, b"\x00\x00\x00\x09u=1"),
        "WINDOW_UPDATE": lambda client: client.window(1),
        "WINDOW_UPDATE of a stream": lambda client: client.window(1, 1),
        "empty DATA": lambda client: client.data(1),
        "padding alone": lambda client: client.data(1, padding=0),
        "unknown": lambda client: frame(0xFA),
        "RST_STREAM of a stream that is gone": lambda client: client.reset(3),
        "GOAWAY": lambda client: client.goaway(),
        "DATA of a stream that is gone": lambda client: client.data(3, b"x" * 500),
        "trailers of a stream that is gone": lambda client: client.headers(3, [(b"x", b"y")]),
    }

    @pytest.mark.parametrize("kind", FRAMES)
    def test_a_flood(self, pair: Connect, kind: str) -> None:
        side = pair()
        make, client = self.FRAMES[kind], side.client
        side.deliver(client.request(b"/", stream_id=1, end=False), client.request(b"/", stream_id=3, end=False))
        side.engine.reset(3, 8)
        side.pull()
        count = rounds(side, lambda n: make(client) * 10, each=10)
        assert CONTROL_BURST * 0.9 <= count <= CONTROL_BURST * 1.1
        assert client.of(FrameType.GOAWAY)

    def test_refused_streams(self, pair: Connect) -> None:
        side = pair(max_concurrent_streams=1)
        side.deliver(side.client.request(b"/", stream_id=1))
        count = rounds(side, lambda n: side.client.request(b"/", stream_id=2 * n + 3))
        assert CONTROL_BURST * 0.9 <= count <= CONTROL_BURST * 1.1

    def test_time_gives_some_back(self, pair: Connect) -> None:
        side = pair()
        for _ in range(20):
            assert rounds(side, lambda n: side.client.ping(), CONTROL_PER_TICK) == CONTROL_PER_TICK
            side.engine.tick()

    def test_a_client_that_downloads_may_open_its_windows(self, pair: Connect) -> None:
        """Two WINDOW_UPDATEs and a PING for each DATA frame."""
        side = pair()
        side.deliver(side.client.request(b"/"))
        side.engine.send_headers(1, 200, [], False)

        def opened(number: int) -> bytes:
            side.engine.send_data(1, bytes(USEFUL_DATA), False)
            return side.client.window(USEFUL_DATA) + side.client.window(USEFUL_DATA, 1) + side.client.ping()

        assert rounds(side, opened) == ROUNDS

    def test_a_client_that_uploads_may_measure(self, pair: Connect) -> None:
        side = pair()
        side.deliver(side.client.request(b"/", end=False))

        def uploaded(number: int) -> bytes:
            side.engine.acknowledge(1, USEFUL_DATA)
            return side.client.data(1, bytes(USEFUL_DATA)) + side.client.ping()

        assert rounds(side, uploaded) == ROUNDS

    def test_a_client_that_opens_one_byte_at_a_time(self, pair: Connect) -> None:
        """Tiny DATA frames give no credit: a client can't have a large body dribbled out."""
        side = pair(client_settings={Setting.INITIAL_WINDOW_SIZE: 0})
        side.deliver(side.client.request(b"/"))
        side.engine.send_headers(1, 200, [], False)

        def dribbled(number: int) -> bytes:
            if side.engine.window(1):
                side.engine.send_data(1, b"x", False)
            return side.client.window(1, 1)

        assert rounds(side, dribbled) <= CONTROL_BURST * 1.1

    def test_small_messages_may_be_answered_each(self, pair: Connect) -> None:
        """As gRPC does over one stream: 50 bytes, to which two WINDOW_UPDATEs and a PING come, and 50 bytes more."""
        side = pair()
        side.deliver(side.client.request(b"/", end=False))
        side.engine.send_headers(1, 200, [], False)

        def answered(number: int) -> bytes:
            side.engine.acknowledge(1, 50)
            side.engine.send_data(1, bytes(50), False)
            opened = side.client.window(50) + side.client.window(50, 1) + side.client.ping()
            return opened + side.client.data(1, bytes(50))

        assert rounds(side, answered) == ROUNDS

    def test_a_client_that_was_away_may_answer_all_at_once(self, pair: Connect) -> None:
        """Twelve streams of tokens, 50 a second each; the client reads what has come in five seconds."""
        side = pair()
        side.deliver(*[side.client.request(b"/", stream_id=number) for number in range(1, 24, 2)])
        for number in range(1, 24, 2):
            side.engine.send_headers(number, 200, [], False)
        for _ in range(10):
            for number in range(1, 24, 2):
                for _ in range(25):
                    side.engine.send_data(number, b"data: x\n\n", False)
            side.engine.tick()
        opened = [side.client.window(9) + side.client.window(9, number) for number in range(1, 24, 2)]
        assert side.deliver(*opened * 250)[-1].__class__ is not ConnectionFailed

    def test_what_was_earned_has_a_bound(self, pair: Connect) -> None:
        side = pair()
        side.deliver(side.client.request(b"/"))
        side.engine.send_headers(1, 200, [], False)
        for _ in range(CONTROL_SAVED):
            side.engine.send_data(1, b"x", False)
        side.engine.tick()
        side.pull()
        count = rounds(side, lambda n: side.client.ping() * 500, each=500)
        assert count == CONTROL_SAVED

    def test_bodies_that_nobody_takes_earn_nothing(self, pair: Connect) -> None:
        side = pair()
        side.deliver(side.client.request(b"/", end=False))
        side.engine.respond(1, 200, [], b"")

        def sent(number: int) -> bytes:
            side.engine.acknowledge(1, 1)
            return side.client.data(1, b"x") + side.client.ping()

        assert CONTROL_BURST <= rounds(side, sent) <= CONTROL_BURST + 10

    def test_requests_that_the_protocol_refuses(self, pair: Connect) -> None:
        side = pair()

        def refused(number: int) -> bytes:
            if number:
                side.engine.reset(2 * number - 1, ErrorCode.REFUSED_STREAM)
            return side.client.request(b"/", stream_id=2 * number + 1)

        assert CONTROL_BURST * 0.9 <= rounds(side, refused) <= CONTROL_BURST * 1.1

    def test_requests_pay_for_what_comes_with_them(self, pair: Connect) -> None:
        side = pair()

        def asked(number: int) -> bytes:
            stream_id = 2 * number + 1
            if number:
                side.engine.respond(stream_id - 2, 200, [], b"ok")
            priority = frame(FrameType.PRIORITY, 0, stream_id, bytes(5))
            return side.client.request(b"/", stream_id=stream_id) + priority + side.client.window(13)

        assert rounds(side, asked) == ROUNDS


class TestAnswersThatAreNotRead:
    @pytest.mark.parametrize("kind", ["ping", "settings"])
    def test_they_do_not_pile_up(self, pair: Connect, kind: str) -> None:
        side = pair()
        data = side.client.ping() if kind == "ping" else side.client.settings({})
        events: list[Event] = []
        for _ in range(50):
            side.engine.tick()
            events = side.engine.receive_data(data * 100)
            if events:
                break
        (failed,) = events
        assert isinstance(failed, ConnectionFailed)
        assert failed.code == ErrorCode.ENHANCE_YOUR_CALM
        frames = side.pull()
        assert ANSWER_BACKLOG <= len(frames) <= ANSWER_BACKLOG + 2


class TestHeaderBlocks:
    def test_continuation_flood(self, pair: Connect) -> None:
        side = pair()
        side.deliver(frame(FrameType.HEADERS, END_STREAM, 1, side.client.block(side.client.request_fields())))
        assert rounds(side, lambda n: frame(FrameType.CONTINUATION, 0, 1, b"")) == CONTINUATION_LIMIT

    def test_as_many_as_are_allowed(self, pair: Connect) -> None:
        side = pair()
        side.deliver(frame(FrameType.HEADERS, END_STREAM, 1, side.client.block(side.client.request_fields())))
        side.deliver(*[frame(FrameType.CONTINUATION, 0, 1, b"")] * (CONTINUATION_LIMIT - 1))
        (event,) = side.deliver(frame(FrameType.CONTINUATION, END_HEADERS, 1))
        assert isinstance(event, RequestReceived)

    def test_a_block_that_is_too_large(self, pair: Connect) -> None:
        side = pair(max_header_list_size=20000)
        data = frame(FrameType.HEADERS, END_STREAM, 1, bytes(16000))
        assert rounds(side, lambda n: frame(FrameType.CONTINUATION, 0, 1, bytes(16000)) if n else data) <= 3

    def test_a_list_above_the_limit_is_still_known(self, pair: Connect) -> None:
        """The protocol can answer it with 431."""
        side = pair(max_header_list_size=10000)
        (event,) = side.deliver(side.client.request(b"/", (b"x-" + b"a" * 100, b"v" * 6000), (b"y", b"w" * 6000)))
        assert isinstance(event, RequestReceived)
        assert 10000 < event.head.size < 10000 * HEADER_LIST_SLACK

    def test_a_bomb(self, pair: Connect) -> None:
        """One large field in the table, and two bytes for each time that it is said again."""
        side = pair(max_header_list_size=20000)
        start = side.client.block([*side.client.request_fields(), (b"x", b"v" * 4000)])
        side.deliver(frame(FrameType.HEADERS, END_STREAM | END_HEADERS, 1, start))
        (event,) = side.deliver(frame(FrameType.HEADERS, END_STREAM | END_HEADERS, 3, b"\xbe" * 5000))
        assert isinstance(event, ConnectionFailed)
        assert event.code == ErrorCode.ENHANCE_YOUR_CALM

    def test_a_bomb_in_trailers(self, pair: Connect) -> None:
        side = pair(max_header_list_size=20000)
        start = side.client.block([*side.client.request_fields(), (b"x", b"v" * 4000)])
        side.deliver(frame(FrameType.HEADERS, END_HEADERS, 1, start))
        (event,) = side.deliver(frame(FrameType.HEADERS, END_STREAM | END_HEADERS, 1, b"\xbe" * 5000))
        assert isinstance(event, ConnectionFailed)


def test_other_streams_outlive_a_few_faults(pair: Connect) -> None:
    side = pair()
    side.deliver(side.client.request(b"/", stream_id=1))
    for number in range(3, 103, 2):
        (event,) = side.deliver(side.client.request(b"/", (b"te", b"x"), stream_id=number))
        assert isinstance(event, StreamReset)
    side.engine.respond(1, 200, [], b"ok")
    side.pull()
    assert side.client.streams[1].whole
