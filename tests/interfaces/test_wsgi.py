"""WSGI applications behind the adapter: requests, threads, and what the event loop does for them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import io
import threading
import weakref
from collections.abc import Callable
from typing import Any
from wsgiref.validate import validator

import pytest

from tests.interfaces.asgi_side import PATIENCE, Client, ask, http_scope, run, until
from tests.memory import counts_references
from uvicorn_worker.core.errors import ApplicationError, ClientDisconnected
from uvicorn_worker.interfaces import WsgiAdapter
from uvicorn_worker.interfaces.streams import FileWrapper

TEXT = [("Content-Type", "text/plain")]


def echo(environ: Any, start_response: Any) -> Any:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [*TEXT, ("Content-Length", str(len(body)))])
    return [body]


def sized(size: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % size


class TestEnviron:
    def environ(self, adapter_options: dict[str, Any] | None = None, **scope: Any) -> dict[str, Any]:
        seen: list[dict[str, Any]] = []

        def app(environ: Any, start_response: Any) -> Any:
            seen.append(environ)
            start_response("200 OK", TEXT)
            return []

        async def main() -> None:
            client = Client()
            await WsgiAdapter(app, **adapter_options or {})(http_scope(**scope), client.receive, client.send)

        run(main())
        return seen[0]

    def test_what_the_server_adds(self) -> None:
        environ = self.environ()
        wsgi = {name: environ[name] for name in environ if name.startswith("wsgi.")}
        assert isinstance(wsgi.pop("wsgi.input"), io.BytesIO)
        assert wsgi.pop("wsgi.errors").write("") == 0
        assert wsgi == {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        assert environ["SERVER_SOFTWARE"] == "uvicorn"

    def test_threads_and_processes(self) -> None:
        environ = self.environ({"threads": 1, "multiprocess": True})
        assert (environ["wsgi.multithread"], environ["wsgi.multiprocess"]) == (False, True)

    def test_each_request_has_its_own(self) -> None:
        async def main() -> list[Any]:
            seen: list[Any] = []

            def app(environ: Any, start_response: Any) -> Any:
                seen.append(environ.setdefault("mine", len(seen)))
                start_response("200 OK", TEXT)
                return []

            adapter = WsgiAdapter(app)
            for _ in range(2):
                client = Client()
                await adapter(http_scope(), client.receive, client.send)
            return seen

        assert run(main()) == [0, 1]

    def test_it_follows_the_specification(self) -> None:
        def app(environ: Any, start_response: Any) -> Any:
            body = environ["wsgi.input"].read(5) + environ["wsgi.input"].readline()
            environ["wsgi.errors"].flush()
            start_response("200 OK", TEXT)
            return [body]

        scope = http_scope(sized(5), method="POST", root_path="/api", path="/api/x", raw_path=b"/api/x")
        assert run(ask(validator(app), b"hello", scope=scope)).body == b"hello"


class TestRequestBody:
    def test_none(self) -> None:
        assert run(ask(echo)).body == b""

    def test_a_small_one_is_there_when_the_application_is_called(self) -> None:
        async def main() -> tuple[int, bytes]:
            client = Client(b"hel", b"", b"lo")
            called: list[int] = []

            def app(environ: Any, start_response: Any) -> Any:
                called.append(client.received)
                return echo(environ, start_response)

            await WsgiAdapter(app)(http_scope(sized(5)), client.receive, client.send)
            return called[0], client.reply.body

        assert run(main()) == (3, b"hello")

    @pytest.mark.parametrize(
        "headers",
        [
            [sized(1_000_000)],
            [(b"transfer-encoding", b"chunked")],
            # Not before it is read: the client is told to go on by that.
            [sized(5), (b"expect", b"100-continue")],
        ],
    )
    def test_others_are_received_as_they_are_read(self, headers: Any) -> None:
        async def main() -> Any:
            client = Client(b"one\n", b"", b"two\nthree\n", complete=False)
            seen: list[Any] = []

            def app(environ: Any, start_response: Any) -> Any:
                body = environ["wsgi.input"]
                seen.append(client.received)
                seen.append(body.readline())
                seen.append(client.received)
                seen.extend(body)
                start_response("200 OK", TEXT)
                return [b"done"]

            call = asyncio.ensure_future(WsgiAdapter(app)(http_scope(*headers), client.receive, client.send))
            await until(lambda: client.received == 3)
            client.events.put_nowait({"type": "http.request", "body": b"end", "more_body": False})
            await call
            assert client.reply.body == b"done"
            return seen

        assert run(main()) == [0, b"one\n", 1, b"two\n", b"three\n", b"end"]

    def test_http2_has_bodies_without_a_length(self) -> None:
        assert run(ask(echo, b"hello", scope=http_scope(http_version="2"))).body == b"hello"
        assert run(ask(echo, b"", scope=http_scope(http_version="2"))).body == b""

    def test_nothing_is_received_that_is_not_read(self) -> None:
        async def main() -> int:
            client = Client(b"x" * 1000, complete=False)

            def app(environ: Any, start_response: Any) -> Any:
                start_response("413 Content Too Large", TEXT)
                return [b"too large"]

            await WsgiAdapter(app)(http_scope(sized(100_000)), client.receive, client.send)
            assert client.reply.status == 413
            return client.received

        assert run(main()) == 0

    def test_the_client_leaves_before_a_small_one_is_complete(self) -> None:
        async def main() -> Any:
            client = Client(b"x", complete=False)
            called: list[Any] = []

            def app(*args: Any) -> list[bytes]:
                called.append(args)
                return []

            client.leave()
            await WsgiAdapter(app)(http_scope(sized(5)), client.receive, client.send)
            return called, client.sent

        assert run(main()) == ([], [])

    def test_the_client_leaves_while_it_is_read(self) -> None:
        async def main() -> list[str]:
            client, seen = Client(b"x", complete=False), []

            def app(environ: Any, start_response: Any) -> Any:
                for _ in range(2):
                    try:
                        environ["wsgi.input"].read()
                    except OSError as exc:
                        seen.append(str(exc))
                # There may still be somebody to answer, as when the server stops.
                start_response("400 Bad Request", TEXT)
                return [b"cut"]

            call = asyncio.ensure_future(WsgiAdapter(app)(http_scope(sized(10**6)), client.receive, client.send))
            await until(lambda: client.received == 1)
            client.events.put_nowait({"type": "http.disconnect"})
            await call
            assert client.reply.body == b"cut"
            return seen

        assert run(main()) == ["the client left before the request body was complete"] * 2

    def test_it_is_not_read_after_the_request(self) -> None:
        kept: list[Any] = []

        def app(environ: Any, start_response: Any) -> Any:
            kept.append(environ["wsgi.input"])
            start_response("200 OK", TEXT)
            return []

        run(ask(app, scope=http_scope(sized(10**6))))
        with pytest.raises(ApplicationError, match="after the request had ended"):
            kept[0].read()


class TestThreads:
    def test_as_many_at_once_as_there_are_threads(self) -> None:
        async def main() -> list[int]:
            gate = threading.Event()
            entered: list[None] = []
            names: set[str] = set()

            def app(environ: Any, start_response: Any) -> Any:
                entered.append(None)
                names.add(threading.current_thread().name)
                gate.wait(PATIENCE)
                return echo(environ, start_response)

            adapter = WsgiAdapter(app, 2)
            clients = [Client() for _ in range(5)]
            calls = [asyncio.ensure_future(adapter(http_scope(), c.receive, c.send)) for c in clients]
            await until(lambda: len(entered) == 2)
            seen = [len(entered)]
            gate.set()
            await asyncio.gather(*calls)
            assert all(client.reply.status == 200 for client in clients)
            return [*seen, len(entered), len(names)]

        assert run(main()) == [2, 5, 2]

    def test_one_thread_for_all_of_a_request(self) -> None:
        threads: set[Any] = set()

        class Response:
            def __iter__(self) -> Any:
                threads.add(threading.current_thread())
                yield b"x"

            def close(self) -> None:
                threads.add(threading.current_thread())

        def app(environ: Any, start_response: Any) -> Any:
            threads.add(threading.current_thread())
            start_response("200 OK", TEXT)
            return Response()

        run(ask(app))
        (thread,) = threads
        assert thread is not threading.current_thread()

    def test_context_variables_are_those_of_the_request(self) -> None:
        variable = contextvars.ContextVar("variable", default="none")

        def app(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", TEXT)
            seen = variable.get()
            variable.set("changed")
            return [seen.encode()]

        async def main() -> Any:
            variable.set("request")
            reply = await ask(app)
            return reply.body, variable.get()

        assert run(main()) == (b"request", "request")

    def test_several_loops_one_after_the_other(self) -> None:
        adapter = WsgiAdapter(echo, 1)

        async def main() -> int:
            client = Client()
            await adapter(http_scope(), client.receive, client.send)
            return client.reply.status

        assert [run(main()), run(main())] == [200, 200]

    @counts_references
    def test_nothing_of_a_request_is_kept(self) -> None:
        async def main() -> Any:
            kept: list[Any] = []

            class Local:
                """Something that only the request holds."""

            def app(environ: Any, start_response: Any) -> Any:
                environ["local"] = local = Local()
                kept.append(weakref.ref(local))
                environ["wsgi.input"].read()
                start_response("200 OK", TEXT)
                return iter([b"x"])

            gc.disable()
            try:
                client = Client(b"body")
                await WsgiAdapter(app)(http_scope(sized(10**6)), client.receive, client.send)
                # The thread lets go of it a moment after it has said that it is done.
                await until(lambda: kept[0]() is None)
            finally:
                gc.enable()

        run(main())


class TestOtherScopes:
    def test_a_websocket_is_refused(self) -> None:
        async def main() -> Any:
            client = Client()
            client.events.put_nowait({"type": "websocket.connect"})
            await WsgiAdapter(echo)({"type": "websocket"}, client.receive, client.send)
            return client.sent

        assert run(main()) == [{"type": "websocket.close"}]

    def test_there_is_no_lifespan(self) -> None:
        client = Client()
        with pytest.raises(ApplicationError, match="has no lifespan"):
            run(WsgiAdapter(echo)({"type": "lifespan"}, client.receive, client.send))


class TestEnds:
    def test_what_the_application_raises(self) -> None:
        def app(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", TEXT)
            raise ZeroDivisionError("ours")

        async def main() -> Any:
            client = Client()
            with pytest.raises(ZeroDivisionError, match="ours") as caught:
                await WsgiAdapter(app)(http_scope(), client.receive, client.send)
            assert client.sent == []
            return caught

        # The traceback shows the application.
        assert run(main()).traceback[-1].name == "app"

    @pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
    def test_what_would_end_the_loop(self, kind: type[BaseException]) -> None:
        def app(environ: Any, start_response: Any) -> Any:
            raise kind

        with pytest.raises(ApplicationError, match=f"raised {kind.__name__}") as caught:
            run(ask(app))
        assert isinstance(caught.value.__cause__, kind)

    def test_an_unfinished_line_of_the_error_log(self, log: Callable[..., list[str]]) -> None:
        def app(environ: Any, start_response: Any) -> Any:
            environ["wsgi.errors"].write("no end")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            run(ask(app))
        assert log() == ["no end"]

    def test_cancelled_while_it_waits_for_a_thread(self) -> None:
        async def main() -> list[str]:
            gate, seen = threading.Event(), []

            def app(environ: Any, start_response: Any) -> Any:
                seen.append(environ["HTTP_X_NAME"])
                gate.wait(PATIENCE)
                return echo(environ, start_response)

            adapter = WsgiAdapter(app, 1)
            clients = [Client() for _ in range(3)]
            calls = [
                asyncio.ensure_future(adapter(http_scope((b"x-name", b"%d" % n)), client.receive, client.send))
                for n, client in enumerate(clients)
            ]
            await until(lambda: seen)
            calls[1].cancel()
            await asyncio.wait([calls[1]])
            assert calls[1].cancelled()
            gate.set()
            await asyncio.gather(calls[0], calls[2])
            return seen

        assert run(main()) == ["0", "2"]

    def test_cancelled_while_the_application_runs(self) -> None:
        async def main() -> Any:
            gate, ended, seen = threading.Event(), threading.Event(), []

            class Response:
                def __iter__(self) -> Any:
                    gate.wait(PATIENCE)
                    yield b"x"
                    seen.append("went on")

                def close(self) -> None:
                    seen.append("closed")
                    ended.set()

            def app(environ: Any, start_response: Any) -> Any:
                start_response("200 OK", TEXT)
                seen.append("called")
                return Response()

            client = Client()
            call = asyncio.ensure_future(WsgiAdapter(app)(http_scope(), client.receive, client.send))
            await until(lambda: seen)
            call.cancel()
            # At once: the thread is not waited for.
            await asyncio.wait([call])
            assert call.cancelled()
            gate.set()
            await until(ended.is_set)
            return seen, client.sent

        assert run(main()) == (["called", "closed"], [])

    def test_cancelled_while_the_thread_waits(self) -> None:
        async def main() -> Any:
            raised: list[BaseException] = []

            def app(environ: Any, start_response: Any) -> Any:
                try:
                    environ["wsgi.input"].read()
                except OSError as exc:
                    raised.append(exc)
                    raise

            client = Client(b"x", complete=False)
            call = asyncio.ensure_future(WsgiAdapter(app)(http_scope(sized(10**6)), client.receive, client.send))
            await until(lambda: client.received)
            call.cancel()
            await until(lambda: raised)
            return raised[0]

        assert isinstance(run(main()), ClientDisconnected)

    def test_a_loop_that_has_ended(self) -> None:
        gate, ended, seen = threading.Event(), threading.Event(), []

        def app(environ: Any, start_response: Any) -> Any:
            write = start_response("200 OK", TEXT)
            seen.append("called")
            gate.wait(PATIENCE)
            try:
                write(b"x")
            except OSError as exc:
                seen.append(type(exc).__name__)
            ended.set()
            return []

        adapter = WsgiAdapter(app, 1)

        async def main() -> None:
            client = Client()
            call = asyncio.ensure_future(adapter(http_scope(), client.receive, client.send))
            await until(lambda: seen)
            call.cancel()
            await asyncio.wait([call])

        run(main())
        gate.set()
        assert ended.wait(PATIENCE)
        assert seen == ["called", "ClientDisconnected"]


class TestHandshake:
    """Threads and loop wait for each other in every order, and nobody waits in vain."""

    def test_many_at_once(self) -> None:
        """Bodies that are asked for, more than a window of response, clients that leave at any moment."""
        size, count = 200_000, 40

        def app(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [])
            read = environ["wsgi.input"].read
            while block := read(20_000):
                yield block

        async def one(adapter: WsgiAdapter, number: int) -> int:
            client = Client(*[bytes(50_000)] * (size // 50_000))
            scope = http_scope((b"transfer-encoding", b"chunked"))
            request = asyncio.ensure_future(adapter(scope, client.receive, client.send))
            if number % 4 == 1:
                await until(lambda: len(client.sent) > number % 7)
                client.leave()
            elif number % 4 == 2:
                await asyncio.sleep(0)
                request.cancel()
            await asyncio.wait([request])
            if number % 4 in (0, 3):
                request.result()
                return len(client.reply.body)
            return size

        async def main() -> list[int]:
            adapter = WsgiAdapter(app, threads=4)
            return await asyncio.gather(*(one(adapter, number) for number in range(count)))

        assert run(main()) == [size] * count
