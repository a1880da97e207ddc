"""Gates on what a request on HTTP/2 costs the protocol, its engine left out: Python calls, and writes.

As in tests/counts: about a tenth above what was measured on Python 3.11.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.counts.counting import BareLoop, Counts, count_one
from tests.counts.test_counts import echo, hello
from tests.http2.harness import Http2Harness
from tests.http2.wire import Client

STREAMS = 16

# Files of which the calls are counted: those of the protocol, on the way of a request.
OURS = {
    "cycle.py", "prepared_fields.py", "protocol.py", "runtime.py", "scheduler.py", "scope_template.py", "sending.py",
    "shared.py", "target.py",
}  # fmt: skip


def count(app: Any, *reads: bytes, wire: Client) -> Counts:
    """What the last of the reads costs, on a connection that is warm."""
    loop = BareLoop()  # type: ignore[abstract]  # it has what is called
    harness = Http2Harness(app, loop=loop, http2="on")
    client = harness.connect()
    for data in (wire.preface(), *reads[:-1]):
        loop.call(client.protocol.data_received, data)
        harness.settle()
        # The connection is another protocol's once it has begun.
        client.protocol = client.transport.get_protocol()  # type: ignore[assignment]
    client.take()
    counts = count_one(loop, client, reads[-1])
    found = wire.receive(client.take())
    assert len(found) >= 2 * STREAMS
    harness.close()
    return counts


@pytest.mark.parametrize(("what", "most"), [("get", 20), ("post", 29)])
def test_a_request(what: str, most: int) -> None:
    wire = Client()
    body = b"x" * 1000
    app = hello if what == "get" else echo
    reads = [b"".join(wire.request() if what == "get" else wire.post(body) for _ in range(STREAMS)) for _ in range(3)]
    counts = count(app, *reads, wire=wire)
    ours = {name: number for name, number in counts.python.items() if name.partition(":")[0] in OURS}
    assert counts.writes == 1, counts
    assert sum(ours.values()) / STREAMS <= most, counts


def test_a_request_with_another_target() -> None:
    """It is like the one before: engine and protocol together take as many calls whatever its fields are."""
    wire = Client()
    fields = [(b"x-%d" % number, b"y") for number in range(20)]

    def read(first: int) -> bytes:
        heads = []
        for number in range(first, first + STREAMS):
            start = wire.request_fields()[:3]
            # As many clients do, it says that the target is not for the table.
            heads.append(wire.headers(wire.next_id, [*start, (b":path", b"/%d" % number, True), *fields]))  # type: ignore[list-item]
            wire.next_id += 2
        return b"".join(heads)

    few = count(hello, *[b"".join(wire.request() for _ in range(STREAMS)) for _ in range(3)], wire=wire)
    wire = Client()
    counts = count(hello, *[read(number * STREAMS) for number in range(3)], wire=wire)
    assert counts.python_calls <= few.python_calls + 15 * STREAMS, counts
