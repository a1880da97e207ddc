"""The pieces of HTTP/2 that need no connection: priorities, HPACK without a table, header lists, scheduler."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hpack import Decoder

from uvicorn_worker.http2.engine.codes import code_name
from uvicorn_worker.http2.engine.encoding import encode_field, encode_integer
from uvicorn_worker.http2.engine.limits import Limits
from uvicorn_worker.http2.engine.request_heads import Malformed, request_head
from uvicorn_worker.http2.scheduler import Scheduler, read_priority


class TestPriority:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (b"", (3, True)),
            (b"u=0", (0, True)),
            (b"u=7, i", (7, False)),
            (b"i,u=5", (5, False)),
            (b"i=?1", (3, False)),
            (b"i=?0", (3, True)),
            (b"u=2;x=y, i;z", (2, False)),
            (b"u=1, u=4", (4, True)),
            (b"u=8", (3, True)),
            (b"u=-1", (3, True)),
            (b"u=\xff", (3, True)),
            (b'a="u=0, i", u=6', (6, True)),
            (b"x=5, y", (3, True)),
            (b",,,", (3, True)),
            (b"U=1", (3, True)),
            (b'x="a\\"b,u=0", u=5', (5, True)),
            (b'u=1, x="not ended, u=2', (1, True)),
            (b"u=1, x\\", (1, True)),
            (b"u=1," + b" " * 300, (3, True)),
        ],
    )
    def test_of_a_field(self, value: bytes, expected: tuple[int, bool]) -> None:
        assert read_priority(value) == expected


@dataclass(eq=False)
class Waiting:
    stream_id: int
    urgency: int = 3
    serial: bool = False
    queued: bool = False


class TestScheduler:
    def served(self, scheduler: Scheduler[Waiting], count: int) -> list[int]:
        return [waiting.stream_id for _ in range(count) if (waiting := scheduler.next()) is not None]

    def test_nobody(self) -> None:
        assert Scheduler[Waiting]().next() is None

    def test_in_turns(self) -> None:
        scheduler: Scheduler[Waiting] = Scheduler()
        for number in (1, 3, 5):
            scheduler.add(Waiting(number))
        assert self.served(scheduler, 6) == [1, 3, 5, 1, 3, 5]

    def test_one_after_the_other(self) -> None:
        scheduler: Scheduler[Waiting] = Scheduler()
        row = [Waiting(number, serial=True) for number in (5, 1, 3)]
        for waiting in row:
            scheduler.add(waiting)
        assert self.served(scheduler, 3) == [1, 1, 1]
        scheduler.remove(row[1])
        assert self.served(scheduler, 2) == [3, 3]

    def test_both_kinds_take_turns(self) -> None:
        scheduler: Scheduler[Waiting] = Scheduler()
        for waiting in (Waiting(1, serial=True), Waiting(3), Waiting(5), Waiting(7, serial=True)):
            scheduler.add(waiting)
        assert self.served(scheduler, 6) == [1, 3, 1, 5, 1, 3]

    def test_the_urgent_first(self) -> None:
        scheduler: Scheduler[Waiting] = Scheduler()
        first = Waiting(9, urgency=0)
        for waiting in (Waiting(1, urgency=7), Waiting(3), first):
            scheduler.add(waiting)
        assert self.served(scheduler, 2) == [9, 9]
        scheduler.remove(first)
        scheduler.remove(first)
        assert self.served(scheduler, 1) == [3]
        assert scheduler.count == 2


class TestEncoding:
    @pytest.mark.parametrize("prefix", [4, 5, 6, 7])
    @pytest.mark.parametrize("value", [0, 1, 14, 15, 16, 30, 31, 127, 128, 255, 1337, 2**31])
    def test_integers(self, prefix: int, value: int) -> None:
        from hpack.hpack import decode_integer

        encoded = encode_integer(value, prefix, 0)
        assert decode_integer(encoded, prefix) == (value, len(encoded))

    def test_fields(self) -> None:
        fields = [
            (b":status", b"200"),
            (b":status", b"299"),
            (b"content-type", b"text/html"),
            (b"x-own", b""),
            (b"set-cookie", b"a=b"),
            (b"authorization", b""),
            (b"x-long" * 100, b"\xff" * 5000),
        ]
        decoder = Decoder(max_header_list_size=65536)
        found = decoder.decode(b"".join(encode_field(*field) for field in fields), raw=True)
        assert [(bytes(name), bytes(value)) for name, value in found] == fields
        assert not decoder.header_table.dynamic_entries
        assert [field.indexable for field in found] == [True, True, True, True, False, False, True]


class TestHeads:
    def test_anything_is_taken_or_malformed(self) -> None:
        rand = random.Random(7)
        names = [
            b":method",
            b":path",
            b":scheme",
            b":authority",
            b"host",
            b"cookie",
            b"te",
            b"content-length",
            b"x",
            b"X",
        ]
        values = [b"GET", b"/", b"http", b"a", b"", b" ", b"5", b"trailers", b"\xff", b"\0", b"CONNECT"]
        taken = 0
        for _ in range(20000):
            fields = [(rand.choice(names), rand.choice(values)) for _ in range(rand.randrange(8))]
            try:
                head = request_head(fields)
            except Malformed:
                continue
            taken += 1
            assert head.authority or head.scheme not in ("http", "https")
            assert all(name == name.lower() and not name.startswith(b":") for name, _ in head.headers)
        assert taken

    def test_another_scheme_needs_no_authority(self) -> None:
        head = request_head([(b":method", b"GET"), (b":scheme", b"coap"), (b":path", b"/")])
        assert (head.authority, head.headers) == (b"", [])

    @pytest.mark.parametrize("scheme", [b"", b"ht tp"])
    def test_a_scheme_that_is_none(self, scheme: bytes) -> None:
        fields = [(b":method", b"GET"), (b":scheme", scheme), (b":path", b"/"), (b":authority", b"a")]
        with pytest.raises(Malformed):
            request_head(fields)


def test_the_names_of_codes() -> None:
    assert (code_name(11), code_name(4711)) == ("ENHANCE_YOUR_CALM", "0x1267")


def test_the_window_of_a_connection_has_room_for_many_streams() -> None:
    assert Limits().connection_window == 8 * 131072 == 2**20
    assert Limits(initial_window_size=1).connection_window == 65535
    assert Limits(initial_window_size=2**31 - 1).connection_window == 2**31 - 1
