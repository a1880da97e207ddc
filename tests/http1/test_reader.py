"""What the reader of messages is at: its table of transitions, held against everything that clients do."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator
from typing import Any, cast

import pytest

from tests.fuzz.test_splits import CHUNKED, app, check_end, cut, requests
from tests.http1.apps import Gate, Recorder, echo
from tests.http1.conftest import Connect
from tests.http1.harness import Http1Harness
from tests.scripted import get, post
from uvicorn_worker.core.cycle import RETURNED
from uvicorn_worker.http1 import Http1Protocol, Shared
from uvicorn_worker.http1.cycle import RequestCycle
from uvicorn_worker.http1.reader import BODY, HEAD, HELD, START, STOPPED, TRANSITIONS, MessageReader, Reading
from uvicorn_worker.proxies.believed_fields import Proxies
from uvicorn_worker.proxies.trust import Trust

Step = tuple[Reading, Reading]

WEBSOCKET = (
    *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
TABLE = {(before, after) for before, afters in TRANSITIONS.items() for after in afters}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> set[Step]:
    """Every change of state of any reader; each must be in the table."""
    seen: set[Step] = set()
    slot: Any = inspect.getattr_static(MessageReader, "state")

    def change(reader: MessageReader, state: Reading) -> None:
        try:
            before = slot.__get__(reader)
        except AttributeError:
            assert state is START
        else:
            if before is not state:
                assert state in TRANSITIONS[before], (before, state)
                seen.add((before, state))
        slot.__set__(reader, state)

    monkeypatch.setattr(MessageReader, "state", property(slot.__get__, change))
    return seen


def conversations() -> Iterator[list[bytes]]:
    """Requests of all kinds, whole, harmed, and behind each other, in reads of random sizes."""
    for number in range(200):
        rng = random.Random(number)
        data = requests(rng)
        yield cut(rng, data)
        yield [data]
    yield [get() * 1000]
    # A head that is known by then, and a body that comes behind it.
    yield [post(b"hello"), post(b"hello"), post(b"hello")[:-2], b"lo", get()]
    yield [get() + get()[:-2], get()[-2:]]
    yield [get() * 200 + get()[:9], get()[9:]]
    yield [get("/", *WEBSOCKET) + get()]
    yield [get(), get("/", *WEBSOCKET), get()]
    yield [post(b"hello", "Connection: Upgrade", "Upgrade: websocket"), get()]
    yield [CHUNKED, b"5\r\nhello\r\n", b"0\r\n\r\n" + get()]


def test_every_change_is_in_the_table_and_every_entry_happens(parser: str, steps: set[Step]) -> None:
    for pieces in conversations():
        harness = Http1Harness(app, parser=parser)
        client = harness.connect()
        for piece in pieces:
            client.push(piece)
        harness.settle()
        check_end(client)
        harness.close()
    # A request that runs, another one that waits, and a third that has begun: a client that leaves, or says nonsense.
    for last in (b"GET / HT", b"nonsense\r\n\r\n", b""):
        for end in ("eof", "leave"):
            gate = Gate(echo)
            harness = Http1Harness(gate, parser=parser)
            client = harness.connect().send(get() + get(), get() + last)
            getattr(client, end)()
            while gate.waiting:
                gate.open()
                harness.settle()
            harness.close()
    assert steps == TABLE


def test_the_table_is_whole() -> None:
    assert set(TRANSITIONS) == set(Reading)
    assert TRANSITIONS[STOPPED] == frozenset()


def test_a_request_without_a_body_passes_through_one(connect: Connect, steps: set[Step]) -> None:
    connect(echo).send(get())
    assert steps == {(START, HEAD), (HEAD, BODY), (BODY, START)}


def test_one_with_the_fields_of_the_last_is_not_read_by_the_parser(connect: Connect, steps: set[Step]) -> None:
    client = connect(echo).send(get(), get())
    steps.clear()
    client.send(get())
    assert steps == set()
    assert len(client.responses()) == 3


def test_what_was_held_when_the_client_ended_its_side_is_answered_and_then_the_connection_ends(
    connect: Connect,
) -> None:
    app = Gate(echo)
    count = 600
    client = connect(app).send(get() * count).eof()
    for _ in range(count):
        app.open()
        client.harness.settle()
    assert len(client.responses()) == count
    assert client.transport.lost


def test_a_held_request_that_is_not_whole_when_the_client_ends_its_side_is_given_up(connect: Connect) -> None:
    app = Gate(echo)
    count = 300
    client = connect(app).send(get() * count + post(b"hello")[:-1]).eof()
    for _ in range(count):
        app.open()
        client.harness.settle()
    assert (len(client.responses()), app.waiting) == (count, [])
    assert client.transport.lost


class Taking(RequestCycle):
    """A request for another protocol that is granted, and takes the connection over with what came behind it."""

    early: list[bytes]

    async def run(self) -> None:
        self.early.append(self.conn.release())
        self.runtime.cycles.discard(self)
        self.progress = RETURNED


@pytest.fixture
def granted(parser: str) -> Iterator[tuple[Http1Harness, list[bytes]]]:
    """An application beside which any other protocol is spoken, and what came early for that."""
    early: list[bytes] = []

    def grant(cycle: RequestCycle) -> RequestCycle:
        taking = Taking(cycle.conn, cycle.runtime, cycle.scope, cycle.persistent)
        taking.complete, taking.early = cycle.complete, early
        return taking

    harness = Http1Harness(Gate(echo), parser=parser)
    proxies = Proxies(harness.config, Trust(harness.config.forwarded_allow_ips))
    shared = Shared(harness.runtime, proxies, grant)
    harness.make_protocol = lambda: Http1Protocol(harness.runtime, shared)
    yield harness, early
    harness.close()


def test_what_comes_behind_a_granted_upgrade_is_for_the_other_protocol(
    granted: tuple[Http1Harness, list[bytes]],
) -> None:
    harness, early = granted
    harness.connect().send(get("/", *WEBSOCKET) + b"frames")
    assert early == [b"frames"]
    assert harness.runtime.connections == set()


def test_a_granted_upgrade_waits_for_the_requests_before_it(
    granted: tuple[Http1Harness, list[bytes]], steps: set[Step]
) -> None:
    harness, early = granted
    client = harness.connect().send(get() + get("/", *WEBSOCKET) + b"fra", b"mes")
    assert early == []
    cast("Gate", harness.runtime.app).open()
    harness.settle()
    assert (early, len(client.responses())) == ([b"frames"], 1)
    assert (START, HELD) in steps


def test_what_a_trusted_peer_says_of_the_client_is_noted(parser: str) -> None:
    recorder = Recorder(echo)
    harness = Http1Harness(recorder, parser=parser)
    harness.connect(peername=("127.0.0.1", 1)).send(get("/", "X-Forwarded-For: 203.0.113.5"), get())
    harness.close()
    assert [scope["client"][0] for scope in recorder.scopes] == ["203.0.113.5", "127.0.0.1"]
