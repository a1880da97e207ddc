"""What subclasses of uvicorn's Server write anew of a stop: signals, what it waits for, and all of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.http2.wire import Client
from tests.scripted import get
from tests.server.running import App, Running, until
from tests.sockets import PATIENCE, Peer, Run, listen
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send
from uvicorn_worker.server import Config, Server
from uvicorn_worker.server import lifespan as lifespans
from uvicorn_worker.server.own_lifespan import LifespanOn
from uvicorn_worker.server.state import Connection

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Late:
    """A WebSocket that listens, and a request that is answered when it is time to."""

    def __init__(self) -> None:
        self.time = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass
            return
        if scope["path"] == "/late":
            await self.time.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


class Serving:
    """A server of this class, which serves until it stops."""

    def __init__(self, kind: type[Server], app: ASGIApp, **options: Any) -> None:
        self.sock = listen()
        self.port = self.sock.getsockname()[1]
        self.server = kind(Config(app, log_config=None, **{"timeout_drain_idle": 0, **options}))
        self.task: asyncio.Task[None]

    async def __aenter__(self) -> Serving:
        self.task = asyncio.ensure_future(self.server.serve([self.sock]))
        await until(lambda: self.server.started or self.task.done())
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.wait_for(self.task, PATIENCE)

    async def connect(self, data: bytes) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port))
        peer.send(data)
        return peer


class TestSignals:
    def test_one_that_is_taken_out_is_not_raised_again(self, run: Run) -> None:
        class Keeps(Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                with super().capture_signals():
                    yield
                    assert self._captured_signals == [signal.SIGTERM]
                    self._captured_signals.clear()

        async def main() -> None:
            async with Serving(Keeps, App()):
                os.kill(os.getpid(), signal.SIGTERM)

        run(main())

    def test_of_a_handler_of_its_own(self, run: Run) -> None:
        told: list[int] = []

        class Notes(Server):
            def handle_exit(self, sig: int, frame: Any) -> None:
                self._captured_signals.append(sig)
                self.should_exit = True

            async def _serve(self, sockets: Sequence[Any] | None = None) -> None:
                await super()._serve(sockets)
                told.extend(self._captured_signals)

        async def main() -> None:
            before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(-number))
            try:
                async with Serving(Notes, App()):
                    os.kill(os.getpid(), signal.SIGTERM)
            finally:
                signal.signal(signal.SIGTERM, before)

        run(main())
        assert told == [signal.SIGTERM, -signal.SIGTERM]


class TestWait:
    """`_wait_tasks_to_complete()`."""

    def test_what_is_done_around_it(self, run: Run) -> None:
        over = asyncio.Event()
        told: list[str] = []

        async def stream(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            await over.wait()
            await send({"type": "http.response.body", "body": b"z"})

        class Tells(Server):
            async def _wait_tasks_to_complete(self) -> None:
                over.set()
                told.append(f"{len(self.server_state.tasks)} before")
                await super()._wait_tasks_to_complete()
                told.append(f"{len(self.server_state.tasks)} after")

        async def main() -> None:
            app = App(stream)
            async with Serving(Tells, app) as serving:
                peer = await serving.connect(get("/events"))
                await until(lambda: serving.server.server_state.tasks)
                serving.server.should_exit = True
                assert (await peer.rest()).endswith(b"1\r\nz\r\n0\r\n\r\n")
            assert app.events == ["startup", "shutdown"]

        run(main())
        assert told == ["1 before", "0 after"]

    def test_one_that_looks_by_itself(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        async def look(self: Server) -> None:
            while self.server_state.connections and not self.force_exit:
                await asyncio.sleep(0.01)
            for server in self.servers:
                await server.wait_closed()

        monkeypatch.setattr(Server, "_wait_tasks_to_complete", look)

        async def main() -> None:
            late_app = Late()
            async with Serving(Server, App(late_app)) as serving:
                idle, late = await serving.connect(get("/")), await serving.connect(get("/late"))
                assert (await idle.response()).status == 200
                await until(lambda: serving.server.server_state.tasks)
                serving.server.should_exit = True
                assert await idle.rest() == b""
                late_app.time.set()
                assert (await late.response()).status == 200

        run(main())

    @pytest.mark.parametrize("forced", [False, True])
    def test_one_that_takes_too_long_is_cancelled(self, run: Run, forced: bool) -> None:
        ends: list[str] = []

        class Waits(Server):
            async def _wait_tasks_to_complete(self) -> None:
                try:
                    await super()._wait_tasks_to_complete()
                    await asyncio.sleep(PATIENCE)
                except asyncio.CancelledError:
                    ends.append("cancelled")
                    raise

        async def main() -> None:
            app = App(Late())
            async with Serving(Waits, app, timeout_graceful_shutdown=PATIENCE if forced else 0.5) as serving:
                serving.server.should_exit = True
                await asyncio.sleep(0.1)
                serving.server.force_exit = forced
            assert app.events == ["startup", "shutdown"]

        run(main())
        assert ends == ["cancelled"]

    @pytest.mark.parametrize("blocks", [0.0, 0.7])
    def test_requests_that_run_on_are_cancelled_behind_it(self, run: Run, blocks: float) -> None:
        """Also where the loop stands still until the time is over."""
        cancelled: list[object] = []

        class Waits(Server):
            async def _wait_tasks_to_complete(self) -> None:
                try:
                    await super()._wait_tasks_to_complete()
                except asyncio.CancelledError:
                    cancelled.append(len(self.server_state.tasks))
                    raise

        async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                cancelled.append("the request")
                raise

        async def main() -> None:
            async with Serving(Waits, App(hangs), timeout_graceful_shutdown=0.5) as serving:
                await serving.connect(get("/"))
                await until(lambda: serving.server.server_state.tasks)
                serving.server.should_exit = True
                await until(lambda: serving.server._own_draining)
                time.sleep(blocks)  # noqa: ASYNC251

        run(main())
        assert cancelled == [1, "the request"]

    def test_what_it_raises_is_raised(self, run: Run) -> None:
        class Raises(Server):
            async def _wait_tasks_to_complete(self) -> None:
                raise ZeroDivisionError

        async def main() -> None:
            async with Serving(Raises, App()) as serving:
                serving.server.should_exit = True

        with pytest.raises(ZeroDivisionError):
            run(main())


class Copies(Server):
    """With what uvicorn's `shutdown()` does, in other words."""

    async def shutdown(self, sockets: Sequence[Any] | None = None) -> None:
        for listening in self.servers:
            listening.close()
        for sock in sockets or ():
            sock.close()
        for connection in list(self.server_state.connections):
            assert connection.transport is not None
            connection.shutdown()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._wait_tasks_to_complete(), self.config.timeout_graceful_shutdown)
        if not self.force_exit:
            await self.lifespan.shutdown()


class TestShutdown:
    """A `shutdown()` of its own."""

    @pytest.mark.parametrize("http2", ["off", "on"])
    def test_it_ends_each_connection_as_it_is(self, run: Run, http2: Any) -> None:
        async def main() -> None:
            late_app = Late()
            app = App(late_app)
            async with Serving(Copies, app, http2=http2, timeout_graceful_shutdown=PATIENCE) as serving:
                idle, late = await serving.connect(get("/")), await serving.connect(get("/late"))
                socket, silent = await serving.connect(HANDSHAKE), await serving.connect(b"")
                assert (await idle.response()).status == 200
                await socket.reader.readuntil(b"\r\n\r\n")
                wire, streams = Client(), []
                if http2 == "on":
                    streams.append(await serving.connect(wire.preface() + wire.request(b"/late")))
                await until(lambda: len(serving.server.server_state.connections) == 4 + len(streams))
                await until(lambda: len(serving.server.server_state.tasks) == 2 + len(streams))
                scopes = [each.scope for each in serving.server.server_state.connections]
                assert sorted(scope["path"] for scope in scopes if scope) == ["/late"] * (1 + len(streams)) + ["/ws"]
                serving.server.should_exit = True
                assert await idle.rest() == b""
                late_app.time.set()
                assert (await late.response()).status == 200
                assert (await socket.reader.readexactly(4))[2:] == (1012).to_bytes(2, "big")
                socket.reset()
                assert b"200" not in await silent.rest()
                for stream in streams:
                    wire.receive(await stream.rest())
                    assert wire.streams[1].status == 200
            assert app.events == ["startup", "shutdown"]
            with pytest.raises(ConnectionRefusedError):
                await serving.connect(b"")

        run(main())

    def test_the_views_are_a_set(self, run: Run) -> None:
        async def main() -> None:
            async with Running(App(Late())) as running:
                connections = running.server.server_state.connections
                assert not connections
                (await running.ask()).reader  # noqa: B018 - it is open from now on
                await until(lambda: len(connections) == 1)
                (one,) = connections
                assert one in connections
                assert connections == running.server.server_state.connections
                assert connections | set() == {one}
                assert one != 1
                assert isinstance(one, Connection)

        run(main())
        assert not Server(Config(App())).server_state.connections


def test_of_the_limit_of_requests() -> None:
    assert Server(Config(App())).limit_max_requests is None
    server = Server(Config(App(), limit_max_requests=10, limit_max_requests_jitter=5))
    assert server.limit_max_requests in range(10, 16)
    assert server.limit_max_requests == server.limit_max_requests


class TestLifespan:
    """Whose `startup()` somebody has written anew."""

    def test_a_class_that_load_names(self) -> None:
        told: list[str] = []

        class Mine(LifespanOn):
            async def startup(self) -> None:
                told.append("before")
                await super().startup()
                told.append("after")

        class Names(Config):
            def load(self) -> None:
                super().load()
                self.lifespan_class = Mine

        self._serve(Names(App(), port=0, log_config=None))
        assert told == ["before", "after"]

    def test_one_that_was_put_in_its_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told: list[str] = []
        startup = LifespanOn.startup

        async def mine(self: LifespanOn) -> None:
            told.append("before")
            await startup(self)

        monkeypatch.setattr(LifespanOn, "startup", mine)
        self._serve(Config(App(), port=0, log_config=None))
        assert told == ["before"]

    @staticmethod
    def _serve(config: Config) -> None:
        class Ends(Server):
            async def main_loop(self) -> None:
                assert isinstance(self.lifespan, LifespanOn)
                assert isinstance(self.lifespan._own_lifespan, lifespans.Lifespan)

        Ends(config).run()
