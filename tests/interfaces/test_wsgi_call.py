"""Responses of WSGI applications: start_response(), blocks, write(), close(), and clients that don't read."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.interfaces.asgi_side import PATIENCE, Client, Reply, ask, http_scope, run, until
from uvicorn_worker.core.errors import ApplicationError, ClientDisconnected
from uvicorn_worker.interfaces import WsgiAdapter
from uvicorn_worker.interfaces.threads import Mailbox
from uvicorn_worker.interfaces.wsgi_call import WsgiCall

TEXT = ("Content-Type", "text/plain")


def responding(result: Any, *headers: tuple[str, str], status: str = "200 OK") -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, [TEXT, *headers])
        return result() if callable(result) else result

    return app


def reply_of(result: Any, *headers: tuple[str, str], status: str = "200 OK") -> Reply:
    return run(ask(responding(result, *headers, status=status)))


class Closing:
    """An iterable with close(); it counts."""

    def __init__(self, *blocks: bytes, fails: BaseException | None = None) -> None:
        self.blocks, self.fails = blocks, fails
        self.given = self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self.blocks:
            self.given += 1
            yield block
        if self.fails is not None:
            raise self.fails

    def close(self) -> None:
        self.closed += 1


class TestHead:
    def test_status_and_fields(self) -> None:
        reply = reply_of([b"x"], ("Set-Cookie", "a=1"), ("X-E", "\xe9"), ("Set-Cookie", "b=2"), status="404 Not Found")
        assert reply.status == 404
        assert reply.headers == [
            (b"content-type", b"text/plain"),
            (b"set-cookie", b"a=1"),
            (b"x-e", b"\xe9"),
            (b"set-cookie", b"b=2"),
        ]

    def test_a_status_without_a_reason(self) -> None:
        assert reply_of([], status="204").status == reply_of([], status="204 ").status == 204

    @pytest.mark.parametrize("status", ["OK", "20 OK", "2000 OK", "200OK", "", "+20 OK", "\u0662\u0660\u0660", "099 x"])
    def test_a_status_that_is_none(self, status: str) -> None:
        with pytest.raises(ApplicationError, match="the status"):
            reply_of([], status=status)

    @pytest.mark.parametrize("status", [200, b"200 OK", None])
    def test_a_status_that_is_no_string(self, status: Any) -> None:
        with pytest.raises(ApplicationError, match="must be a string"):
            reply_of([], status=status)

    def test_a_status_that_is_not_final(self) -> None:
        with pytest.raises(ApplicationError, match="final"):
            reply_of([], status="101 Switching Protocols")

    @pytest.mark.parametrize("name", ["Connection", "transfer-encoding", "Upgrade", "TE", "Keep-Alive"])
    def test_hop_by_hop_fields_are_refused(self, name: str) -> None:
        with pytest.raises(ApplicationError, match="hop-by-hop"):
            reply_of([], (name, "close"))

    @pytest.mark.parametrize("field", [(b"X-A", b"1"), ("X-A", 1), ("X-A", "\u20ac"), ("X-\u20ac", "1"), (None, "1")])
    def test_fields_that_are_no_strings(self, field: Any) -> None:
        with pytest.raises(ApplicationError, match="latin-1"):
            reply_of([], field)

    def test_start_response_is_called_late(self) -> None:
        def app(environ: Any, start_response: Any) -> Any:
            yield b""
            start_response("200 OK", [TEXT])
            yield b"late"

        assert run(ask(app)).body == b"late"

    @pytest.mark.parametrize("result", [[], [b"x"], iter([b"x"]), iter([])])
    def test_start_response_is_not_called(self, result: Any) -> None:
        with pytest.raises(ApplicationError, match="did not call start_response"):
            run(ask(lambda environ, start_response: result))

    def test_start_response_is_called_twice(self) -> None:
        def app(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [])
            start_response("500 Oops", [])

        with pytest.raises(ApplicationError, match="again"):
            run(ask(app))


class TestExcInfo:
    def test_before_anything_was_sent_it_replaces_the_head(self) -> None:
        def app(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [TEXT, ("Content-Length", "1000")])
            try:
                raise ZeroDivisionError
            except ZeroDivisionError:
                start_response("500 Oops", [TEXT], sys.exc_info())
            return [b"sorry"]

        reply = run(ask(app))
        assert (reply.status, reply.body, reply.headers) == (500, b"sorry", [(b"content-type", b"text/plain")])

    def test_after_something_was_sent_it_is_raised(self) -> None:
        def app(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [TEXT])
            yield b"begun"
            try:
                raise ZeroDivisionError("late")
            except ZeroDivisionError:
                start_response("500 Oops", [TEXT], sys.exc_info())

        with pytest.raises(ZeroDivisionError, match="late"):
            run(ask(app))


class TestBody:
    def test_one_block_is_the_whole_response(self) -> None:
        # The server gives it its length: it is the last message with the first.
        reply = reply_of([b"hello"])
        assert (reply.blocks, reply.complete, len(reply.sent)) == ([b"hello"], True, 2)

    def test_few_bytes_leave_as_one(self) -> None:
        assert reply_of([b"a", b"", b"b"]).blocks == [b"ab"]
        assert reply_of((b"a", b"b")).blocks == [b"ab"]
        assert reply_of([]).blocks == [b""]

    def test_many_bytes_are_not_copied(self) -> None:
        large = b"x" * 60_000
        assert reply_of([large, large]).blocks == [large, large, b""]

    def test_blocks_leave_one_by_one(self) -> None:
        reply = reply_of(lambda: iter([b"", b"a", b"", b"b"]))
        assert (reply.blocks, reply.complete) == ([b"a", b"b", b""], True)

    def test_the_last_block_of_a_known_length_is_the_last(self) -> None:
        assert reply_of(lambda: iter([b"a", b"b"]), ("Content-Length", "2")).blocks == [b"a", b"b"]
        assert reply_of(lambda: iter([b"ab", b""]), ("Content-Length", "2")).blocks == [b"ab"]
        assert reply_of(lambda: iter([]), ("Content-Length", "0")).blocks == [b""]

    def test_it_does_not_wait_for_the_end_of_the_iteration(self) -> None:
        async def main() -> Any:
            client, gate = Client(), threading.Event()

            def blocks() -> Iterator[bytes]:
                yield b"all"
                gate.wait(PATIENCE)

            app = responding(blocks, ("Content-Length", "3"))
            call = asyncio.ensure_future(WsgiAdapter(app)(http_scope(), client.receive, client.send))
            await until(lambda: len(client.sent) == 2)
            assert client.reply.complete
            # The request is not over for the server: a stop waits for it.
            assert not call.done()
            gate.set()
            await call

        run(main())

    @pytest.mark.parametrize("blocks", [[b"abc"], [b"a", b"b", b"c"], [b"ab", b"c", b"d"], [b"a", b"bc"]])
    def test_more_than_its_length_is_not_sent(self, blocks: list[bytes]) -> None:
        for result in (blocks, lambda: iter(blocks)):
            reply = reply_of(result, ("Content-Length", "2"))
            assert (reply.status, b"".join(reply.blocks), reply.complete) == (200, b"ab", True)

    def test_an_iteration_that_does_not_end_does_where_its_length_is_reached(self) -> None:
        assert reply_of(lambda: itertools.repeat(b"a"), ("Content-Length", "3")).blocks == [b"a", b"a", b"a"]

    def test_what_stands_behind_the_last_block_is_done(self) -> None:
        done = []

        def blocks() -> Iterator[bytes]:
            yield b"ab"
            done.append(True)

        assert reply_of(blocks, ("Content-Length", "2")).blocks == [b"ab"]
        assert done == [True]

    def test_writing_more_than_its_length(self) -> None:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [TEXT, ("Content-Length", "2")])(b"abc")
            return []

        with pytest.raises(ApplicationError, match="more than Content-Length says"):
            run(ask(app))

    def test_less_than_its_length_is_for_the_server_to_see(self) -> None:
        assert reply_of([b"a"], ("Content-Length", "2")).complete

    @pytest.mark.parametrize("length", ["", "x", "-1", "\u0662"])
    def test_a_length_that_is_none_is_for_the_server_to_see(self, length: str) -> None:
        if length.isascii():
            assert (b"content-length", length.encode()) in reply_of([b"a"], ("Content-Length", length)).headers
        else:
            with pytest.raises(ApplicationError):
                reply_of([b"a"], ("Content-Length", length))

    @pytest.mark.parametrize("result", [["text"], iter(["text"]), [bytearray(b"x")], [None]])
    def test_what_is_not_bytes(self, result: Any) -> None:
        with pytest.raises(ApplicationError, match="must be bytes, not"):
            reply_of(result)

    def test_what_is_not_iterable(self) -> None:
        with pytest.raises(TypeError):
            reply_of(5)

    def test_write(self) -> None:
        def app(environ: Any, start_response: Any) -> Any:
            write = start_response("200 OK", [TEXT])
            write(b"a")
            write(b"b")
            return [b"c"]

        assert run(ask(app)).blocks == [b"a", b"b", b"c"]

    def test_write_is_all(self) -> None:
        def app(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [TEXT, ("Content-Length", "1")])(b"a")
            return []

        assert run(ask(app)).blocks == [b"a"]

    def test_write_after_the_request(self) -> None:
        kept: list[Any] = []

        def app(environ: Any, start_response: Any) -> Any:
            kept.append(start_response("200 OK", [TEXT]))
            return []

        run(ask(app))
        with pytest.raises(ApplicationError, match="after the request had ended"):
            kept[0](b"x")


class TestClose:
    @pytest.mark.parametrize("headers", [[], [("Content-Length", "2")]])
    def test_once_at_the_end(self, headers: Any) -> None:
        result = Closing(b"a", b"b")
        assert reply_of(result, *headers).body == b"ab"
        assert result.closed == 1

    def test_when_the_iteration_fails(self) -> None:
        result = Closing(b"a", fails=ZeroDivisionError("ours"))
        with pytest.raises(ZeroDivisionError):
            reply_of(result)
        assert result.closed == 1

    def test_when_the_response_is_refused(self) -> None:
        result = Closing("text")  # type: ignore[arg-type]
        with pytest.raises(ApplicationError):
            reply_of(result)
        assert result.closed == 1

    def test_when_it_fails_itself(self) -> None:
        class Bad(list[bytes]):
            def close(self) -> None:
                raise ZeroDivisionError("at close")

        async def main() -> Reply:
            client = Client()
            with pytest.raises(ZeroDivisionError, match="at close"):
                await WsgiAdapter(responding(Bad([b"x"])))(http_scope(), client.receive, client.send)
            return client.reply

        # The client has its answer.
        assert run(main()).complete

    def test_when_the_client_has_left(self) -> None:
        async def main() -> Closing:
            client, result = Client(), Closing(*[b"x" * 1000] * 1000)
            client.reading.clear()
            call = asyncio.ensure_future(WsgiAdapter(responding(result))(http_scope(), client.receive, client.send))
            await until(lambda: result.given > 10)
            client.leave()
            with pytest.raises(ClientDisconnected):
                await call
            return result

        result = run(main())
        assert result.closed == 1
        assert result.given < 1000


class TestFlow:
    @pytest.mark.parametrize("size", [1, 1000, 50_000, 200_000])
    def test_a_client_that_does_not_read_stops_the_application(self, size: int) -> None:
        async def main() -> Any:
            client, result = Client(), Closing(*[b"x" * size] * 500)
            client.reading.clear()

            def app(environ: Any, start_response: Any) -> Any:
                start_response("200 OK", [TEXT])
                return [b"x"] if "HTTP_X_OTHER" in environ else result

            adapter = WsgiAdapter(app)
            call = asyncio.ensure_future(adapter(http_scope(), client.receive, client.send))
            # Another request is served meanwhile.
            other = Client()
            await adapter(http_scope((b"x-other", b"1")), other.receive, other.send)
            given = -1
            while given != result.given:
                given = result.given
                await asyncio.sleep(0.05)
            assert given < 500
            # No more waits than the window, and the block that exceeds it.
            assert given * size <= 65536 + 2 * size
            client.reading.set()
            await call
            assert len(client.reply.body) == 500 * size
            return result.closed

        assert run(main()) == 1

    def test_the_client_leaves_while_write_waits(self) -> None:
        async def main() -> Any:
            client, raised = Client(), []

            def app(environ: Any, start_response: Any) -> Any:
                write = start_response("200 OK", [TEXT])
                try:
                    while True:
                        write(b"x" * 10_000)
                except OSError as exc:
                    raised.append(exc)
                for _ in range(2):
                    with pytest.raises(OSError, match="left"):
                        write(b"again")
                return [b"the rest"]

            client.reading.clear()
            call = asyncio.ensure_future(WsgiAdapter(app)(http_scope(), client.receive, client.send))
            await until(lambda: client.sent)
            client.leave()
            with pytest.raises(ClientDisconnected):
                await call
            return raised

        assert len(run(main())) == 1

    def test_a_response_that_the_server_refuses(self) -> None:
        async def main() -> Closing:
            client, result = Client(), Closing(b"x", b"y", b"z")

            async def send(message: Any) -> None:
                raise ApplicationError("a header that can't be sent")

            with pytest.raises(ApplicationError, match="can't be sent"):
                await WsgiAdapter(responding(result))(http_scope(), client.receive, send)
            return result

        assert run(main()).closed == 1


class TestHops:
    """What crosses between the threads, since each crossing costs more than the rest of a small request."""

    def crossings(self, monkeypatch: pytest.MonkeyPatch, app: Any, *pieces: bytes) -> tuple[int, int]:
        waits = posts = 0
        ask_loop, post = WsgiCall._ask, Mailbox.post

        def counting_ask(self: Any, wish: int) -> None:
            nonlocal waits
            waits += 1
            ask_loop(self, wish)

        def counting_post(self: Mailbox, receiver: Any) -> None:
            nonlocal posts
            posts += 1
            post(self, receiver)

        monkeypatch.setattr(WsgiCall, "_ask", counting_ask)
        monkeypatch.setattr(Mailbox, "post", counting_post)
        run(ask(app, *pieces, scope=http_scope((b"content-length", b"5")) if pieces else None))
        return waits, posts

    def test_a_small_response_is_posted_once_and_never_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.crossings(monkeypatch, responding([b"hello"])) == (0, 1)

    def test_a_small_upload_costs_no_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def app(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [TEXT])
            return [environ["wsgi.input"].read()]

        assert self.crossings(monkeypatch, app, b"hello") == (0, 1)

    def test_a_response_with_a_length_and_a_close(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # As Flask and Django answer: once for the response, which does not wait for close(), once for the end.
        app = responding(lambda: Closing(b"hello"), ("Content-Length", "5"))
        assert self.crossings(monkeypatch, app) == (0, 2)

    def test_small_blocks_are_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        waits, _ = self.crossings(monkeypatch, responding(lambda: iter([b"x" * 1000] * 10)))
        assert waits == 0
