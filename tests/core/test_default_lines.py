"""The field lines that head every response, made anew each second, or by somebody else."""

from __future__ import annotations

from tests.http1.apps import hello
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.default_lines import DefaultLines


def test_those_that_are_given_stay_until_others_are() -> None:
    lines = DefaultLines(Config(hello, headers=[("X-A", "b")]))
    assert lines.lines.endswith(b"server: uvicorn\r\nx-a: b\r\n")
    lines.heads[(200,)] = b"made of them"
    lines.give([(b"Date", b"now"), (b"x-b", b"c")])
    lines.refresh()
    assert lines.lines == b"date: now\r\nx-b: c\r\n"
    assert lines.names == {b"date", b"server", b"x-b"}
    assert not lines.heads
    lines.heads[(200,)] = b"made of them"
    lines.give([(b"date", b"now"), (b"x-b", b"c")])
    assert lines.heads
    assert lines.without({b"x-b"}) == b"date: now\r\n"
