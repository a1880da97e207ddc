"""Several messages of one read: the application has them one after the other, and its answers leave together.

That is a way of its own, which has to do what is done for messages that come one by one.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.websocket.conftest import Open, deflate
from tests.websocket.scripted_socket import Socket, echo, hold
from tests.websocket.wire import BINARY, CLOSE, PONG, TEXT, Deflater, Frame, binary, close, cont, frame, ping, text
from uvicorn_worker.core.asgi import ASGIApp, Event, Receive, Scope, Send
from uvicorn_worker.core.errors import ApplicationError
from uvicorn_worker.websocket.session import MOST_OUT, MOST_TOGETHER

MESSAGES = ["", "a", "é" * 60, *("x" * size for size in (125, 126, 600, 1024, 1025, 4096, 4097, 20_000))]


def answering(*answers: Event, every: bool = False) -> ASGIApp:
    """Sends `answers` to the first message, or to every one, and notes what follows."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        for answer in answers:
            await send(answer)
        while (message := await receive())["type"] == "websocket.receive":
            for answer in answers if every else ():
                await send(answer)
        assert message["type"] == "websocket.disconnect"

    return app


def told(**message: Any) -> Event:
    return {"type": "websocket.send", **message}


def test_their_answers_are_one_piece(connect: Open) -> None:
    socket = connect(echo).send(text("a") + binary(b"b") + text("c"))
    assert socket.frames == [Frame(TEXT, b"a"), Frame(BINARY, b"b"), Frame(TEXT, b"c")]
    assert len(socket.carrier.sent) == 1


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("compressed", [False, True])
def test_as_if_each_had_come_by_itself(connect: Open, seed: int, compressed: bool) -> None:
    rng = random.Random(seed)
    deflater = Deflater()
    frames: list[bytes] = []
    for _ in range(60):
        message, kind = rng.choice(MESSAGES), rng.randrange(5 if compressed else 4)
        if kind == 0:
            frames.append(ping(b"p"))
        elif kind == 1:
            frames.append(text(message, fin=False) + cont("b"))
        elif kind == 2:
            frames.append(binary(message.encode()))
        elif kind == 3:
            frames.append(text(message))
        else:
            frames.append(deflater.message(message.encode()))
    alone, together = (connect(echo, compression=deflate() if compressed else None) for _ in range(2))
    alone.send(*frames)
    while frames:
        size = rng.choice([1, 2, 5, 20])
        together.send(b"".join(frames[:size]))
        del frames[:size]

    def messages(socket: Socket) -> list[Any]:
        return socket.inflated() if compressed else [item for item in socket.frames if item.opcode < CLOSE]

    assert messages(together) == messages(alone)
    pongs = [[item for item in socket.frames if item.opcode == PONG] for socket in (alone, together)]
    assert pongs[0] == pongs[1]


def test_a_part_of_the_next_one_behind_them(connect: Open) -> None:
    socket = connect(echo).send(text("a") + text("b") + text("cd")[:7], text("cd")[7:] + text("e"))
    assert socket.texts == ["a", "b", "cd", "e"]


@pytest.mark.parametrize("size", [1, 124, 125, 126, 127, 4095, 4096, 4097, 5000])
def test_up_to_the_largest_size(connect: Open, size: int) -> None:
    message = "x" * size
    socket = connect(echo, ws_max_size=size).send(text(message) * 3 + text(message + "x"))
    assert socket.texts == [message] * 3
    assert socket.closes[0][0] == 1009


@pytest.mark.parametrize("size", [3, 126, 600])
def test_one_that_is_not_utf_8_behind_them(connect: Open, size: int) -> None:
    socket = connect(hold).send(text("a") + text("b") + frame(TEXT, b"\xff" * size))
    assert socket.closes[0][0] == 1007
    assert [(socket.take() or {})["text"] for _ in range(2)] == ["a", "b"]
    assert (socket.take() or {})["code"] == 1007


def test_answers_of_all_kinds_keep_their_order(connect: Open) -> None:
    answers = [
        told(text="a"),
        told(bytes=b"b"),
        told(bytes=bytearray(b"c")),
        told(text="d" * 200),
        told(text=None, bytes=b"e"),
        told(text="f" * 20_000),
        told(bytes=b"g" * 126),
        told(text="h"),
        told(text="i" * 1025),
        told(text="j"),
    ]
    socket = connect(answering(*answers)).send(text("1") + text("2") + text("3"))
    sent = [(answer.get("text") or bytes(answer.get("bytes", b"")).decode()).encode() for answer in answers]
    assert [item.payload for item in socket.frames] == sent
    kinds = [TEXT if answer.get("text") else BINARY for answer in answers]
    assert [item.opcode for item in socket.frames] == kinds


def test_what_is_given_by_the_other_name(connect: Open) -> None:
    answers = [told(text="a"), told(text=b"b"), told(bytes="c"), told(bytes=b"d")]
    socket = connect(answering(*answers)).send(text("1") * 4)
    assert [(item.opcode, item.payload) for item in socket.frames] == [
        (TEXT, b"a"),
        (BINARY, b"b"),
        (TEXT, b"c"),
        (BINARY, b"d"),
    ]


@pytest.mark.parametrize("wrong", [{"text": 5}, {"bytes": 5}])
def test_what_can_not_be_sent_is_the_applications_error(connect: Open, wrong: dict[str, Any]) -> None:
    socket = connect(answering(told(text="a"), told(**wrong))).send(text("1") + text("2"))
    assert isinstance(socket.app.raised[0], ApplicationError)
    assert socket.texts == ["a"]
    assert socket.closes == [(1011, "")]


def test_text_that_has_no_utf_8_is_too(connect: Open) -> None:
    socket = connect(answering(told(text="a"), told(text="\ud800"))).send(text("1") + text("2"))
    assert isinstance(socket.app.raised[0], UnicodeError)
    assert socket.texts == ["a"]


def test_a_message_of_another_kind(connect: Open) -> None:
    socket = connect(answering(told(text="a"), {"type": "websocket.accept"})).send(text("1") + text("2"))
    assert isinstance(socket.app.raised[0], ApplicationError)
    assert socket.texts == ["a"]


def test_a_close_between_them(connect: Open) -> None:
    """The answers before it leave before it, and the messages behind it are dropped."""
    socket = connect(answering(told(text="a"), {"type": "websocket.close", "code": 4000})).send(text("1") * 5)
    assert socket.frames[0] == Frame(TEXT, b"a")
    assert [item.opcode for item in socket.frames] == [TEXT, CLOSE]
    socket.send(close(4000))
    assert [event["type"] for event in socket.received] == [
        "websocket.receive",
        "websocket.disconnect",
    ]


def test_an_application_that_returns_between_them(connect: Open) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await receive()
        await receive()
        await send(told(text="bye"))

    socket = connect(app).send(text("1") * 5)
    assert socket.texts == ["bye"]
    assert socket.closes == [(1000, "")]


def test_one_that_does_something_else_between_them(connect: Open) -> None:
    """What it has not taken waits for it, before what comes later, and reading pauses for it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            await send(told(text=message["text"]))
            await turn.wait()

    turn = asyncio.Event()
    socket = connect(app, ws_max_queue=4).send(text("1") + text("2") + text("3"))
    assert socket.texts == ["1"]
    socket.send(text("4") + text("5"))
    assert not socket.carrier.reading
    turn.set()
    socket.settle()
    assert socket.texts == ["1", "2", "3", "4", "5"]
    assert socket.carrier.reading


def test_large_ones_that_are_left_count(connect: Open) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await asyncio.Event().wait()

    assert connect(app).send(text("a") + binary(bytes(1_000_000))).carrier.reading
    assert not connect(app).send(text("a") + binary(bytes(2_000_000))).carrier.reading


def test_two_tasks_that_receive(connect: Open) -> None:
    """Each message goes to one of them, and those that the first leaves go to the second."""
    socket = connect(hold)
    first, second = (socket.start(socket.receive()) for _ in range(2))  # type: ignore[arg-type]
    socket.send(text("a") + text("b") + text("c"))
    assert [first.result()["text"], second.result()["text"]] == ["a", "b"]
    assert (socket.take() or {})["text"] == "c"


def test_what_another_task_sends_meanwhile(connect: Open) -> None:
    socket = connect(echo).send(text("a") + text("b"))
    socket.tell("send", text="c")
    socket.send(text("d") + text("e"))
    assert socket.texts == ["a", "b", "c", "d", "e"]


def test_a_client_that_does_not_read(connect: Open) -> None:
    """Its application waits with the first answer."""
    socket = connect(echo)
    socket.stall()
    socket.send(text("a") + text("b") + text("c"))
    assert socket.texts == ["a"]
    socket.read()
    assert socket.texts == ["a", "b", "c"]


def test_one_that_stops_reading_while_much_is_sent(connect: Open) -> None:
    """What was put together leaves, and then the application waits."""
    many = [told(text=str(number)) for number in range(3 * MOST_OUT)]
    socket = connect(answering(*many))
    gather = socket.carrier.gather

    def stall(data: bytes) -> None:
        gather(data)
        socket.stall()

    socket.carrier.gather = stall  # type: ignore[method-assign]
    socket.send(text("1") + text("2"))
    assert socket.texts == [str(number) for number in range(MOST_OUT + 1)]
    socket.carrier.gather = gather  # type: ignore[method-assign]
    socket.read()
    assert socket.texts == [str(number) for number in range(3 * MOST_OUT)]


@pytest.mark.parametrize("answer", [told(text="a"), told(bytes=b"a"), told(text="a" * 1000), told(bytes=b"a" * 1000)])
def test_many_answers(connect: Open, answer: Event) -> None:
    """What is held before it is sent is bounded."""
    socket = connect(answering(*[answer] * 2500)).send(text("1") + text("2"))
    assert len(socket.frames) == 2500
    assert max(map(len, socket.carrier.sent)) <= MOST_OUT * (MOST_TOGETHER + 4)


def test_a_drain_behind_them(connect: Open) -> None:
    socket = connect(echo).send(text("a") + text("b"))
    socket.session.drain()
    socket.settle()
    assert [item.opcode for item in socket.frames] == [TEXT, TEXT, CLOSE]


def test_what_breaks_a_rule_behind_them(connect: Open) -> None:
    """They are answered, and then the WebSocket fails."""
    socket = connect(echo).send(text("a") + text("b") + b"\xff\xff")
    assert socket.texts == ["a", "b"]
    assert socket.closes[0][0] == 1002
    assert socket.ended == "close_gently"
