"""What ends a server: force_exit, its limit of requests, a signal; and an exit before it has started."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.http1.apps import Recorder, hello
from tests.scripted import get
from tests.server.running import App, Running, hanging, until
from tests.sockets import Peer, Run, listen
from uvicorn_worker import Config, Server
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send
from uvicorn_worker.server.surroundings import Surroundings

Log = Callable[..., list[str]]


class TestAtOnce:
    def test_what_runs_is_cut(self, run: Run) -> None:
        recorder = Recorder(hanging)
        app = App(recorder)

        async def main() -> None:
            async with Running(app) as running:
                await running.ask()
                await until(lambda: recorder.scopes)
                running.server.force_exit = True
                assert running.server.should_exit
                await running.stopped()

        run(main())
        assert isinstance(recorder.raised[0], asyncio.CancelledError)
        assert app.events == ["startup", "shutdown"]

    def test_it_ends_a_graceful_stop(self, run: Run) -> None:
        recorder = Recorder(hanging)

        async def main() -> None:
            async with Running(App(recorder), timeout_graceful_shutdown=60) as running:
                await running.ask()
                await until(lambda: recorder.scopes)
                running.server.should_exit = True
                await until(lambda: running.server.own_runtime.draining)
                running.server.force_exit = True
                await running.stopped()

        run(main())

    def test_it_ends_a_lifespan_shutdown(self, run: Run) -> None:
        shutting_down = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            shutting_down.set()
            await hanging(scope, receive, send)

        async def main() -> None:
            async with Running(app) as running:
                running.server.should_exit = True
                await shutting_down.wait()
                running.server.force_exit = True
                await running.stopped()

        run(main())

    def test_before_the_start_it_says_how_the_stop_is_to_be(self, run: Run) -> None:
        """Launchers set it where Ctrl+C is to wait for nobody, and then serve."""
        recorder = Recorder(hanging)
        app = App(recorder)

        async def main() -> None:
            running = Running(app)
            running.server.force_exit = True
            assert not running.server.should_exit
            async with running:
                await running.ask()
                await until(lambda: recorder.scopes)
                running.server.should_exit = True
                await running.stopped()

        run(main())
        assert isinstance(recorder.raised[0], asyncio.CancelledError)
        assert app.events == ["startup", "shutdown"]


class TestLimit:
    def served(self, run: Run, **options: Any) -> int:
        """How many requests, one connection each, are answered before the server stops."""

        async def main() -> int:
            served = 0
            async with Running(App(), **options) as running:
                while not running.server.should_exit:
                    peer = await running.ask()
                    assert (await peer.response()).status == 200
                    served += 1
                    await asyncio.sleep(0)
                await running.stopped()
            return served

        return int(run(main()))

    def test_it_stops_after_that_many(self, run: Run, log: Log) -> None:
        assert self.served(run, limit_max_requests=3) == 3
        assert "Limit of 3 requests reached, stopping gracefully." in log()

    def test_jitter_is_added(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(random, "randint", lambda low, high: high)
        assert self.served(run, limit_max_requests=3, limit_max_requests_jitter=2) == 5

    def test_requests_of_one_connection_count_too(self, run: Run) -> None:
        async def main() -> None:
            async with Running(App(), limit_max_requests=3, timeout_drain_idle=5) as running:
                peer = await running.ask()
                closes = [(await peer.response()).closes]
                while not closes[-1]:
                    closes.append((await peer.ask(get())).closes)
                assert 3 <= len(closes) < 20
                await running.stopped()

        run(main())


class TestDuringStartup:
    def test_an_exit_cancels_the_lifespan(self, run: Run) -> None:
        starting, events = asyncio.Event(), []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            starting.set()
            try:
                await hanging(scope, receive, send)
            except asyncio.CancelledError:
                events.append("cancelled")
                raise

        async def main() -> None:
            sock = listen()
            server = Server(Config(app=app))
            task = asyncio.ensure_future(server.serve([sock]))
            await starting.wait()
            server.should_exit = True
            await task
            assert not server.started
            sock.close()

        run(main())
        assert events == ["cancelled"]

    def test_an_exit_before_it_starts_nothing(self, run: Run) -> None:
        async def main() -> None:
            sock = listen()
            server = Server(Config(app=App()))
            server.should_exit = True
            await server.serve([sock])
            assert not server.started
            sock.close()

        run(main())


class TestSignals:
    def serve(self, run: Run, app: ASGIApp, *signals: int, when: Callable[[], object] | None = None) -> Server:
        """Serve, and send signals to this process once `when` is true, each comes again afterwards."""
        self.again: list[int] = []

        def heard(number: int, frame: object) -> None:
            self.again.append(number)

        before = {sig: signal.signal(sig, heard) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            return self.serve_with(run, app, signals, when)
        finally:
            for sig, handler in before.items():
                assert signal.signal(sig, handler) is heard

    def serve_with(self, run: Run, app: ASGIApp, signals: tuple[int, ...], when: Callable[[], object] | None) -> Server:
        async def main() -> Server:
            sock = listen()
            server = Server(Config(app=app, timeout_graceful_shutdown=600, timeout_drain_idle=0))
            task = asyncio.ensure_future(server.serve([sock]))
            await until(lambda: server.started)
            assert signal.getsignal(signal.SIGTERM) == server.handle_exit
            if when is not None:
                (await Peer.connect(sock)).send(get())
                await until(when)
            for sig in signals:
                os.kill(os.getpid(), sig)
                await until(lambda: server.should_exit)
            await task
            sock.close()
            return server

        server: Server = run(main())
        assert self.again == list(reversed(signals))
        return server

    @pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
    def test_one_stops_gracefully(self, run: Run, sig: int) -> None:
        app = App()
        server = self.serve(run, app, sig)
        assert not server.force_exit
        assert app.events == ["startup", "shutdown"]

    def test_an_interrupt_after_it_stops_at_once(self, run: Run) -> None:
        recorder = Recorder(hanging)
        server = self.serve(run, App(recorder), signal.SIGTERM, signal.SIGINT, when=lambda: recorder.scopes)
        assert server.force_exit

    def test_the_handlers_come_back_when_the_startup_fails(self, run: Run) -> None:
        before = signal.getsignal(signal.SIGTERM)

        async def main() -> None:
            sock = listen()
            with pytest.raises(ZeroDivisionError):
                await Server(Config(app=lambda: 1 // 0, factory=True)).serve([sock])
            sock.close()

        run(main())
        assert signal.getsignal(signal.SIGTERM) is before

    @pytest.mark.parametrize("theirs", [(), (signal.SIGUSR1,)])
    def test_those_that_a_program_names_are_handled(
        self, run: Run, theirs: tuple[signal.Signals, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`uvicorn.server.HANDLED_SIGNALS = ()`, as programs have it that handle signals themselves."""
        monkeypatch.setattr("uvicorn_worker.server.HANDLED_SIGNALS", theirs)
        before = signal.getsignal(signal.SIGTERM)
        raised: list[int] = []
        monkeypatch.setattr(Surroundings, "raise_again", lambda its, sig: raised.append(sig))

        async def main() -> None:
            sock = listen()
            server = Server(Config(app=App(), timeout_drain_idle=0))
            task = asyncio.ensure_future(server.serve([sock]))
            await until(lambda: server.started)
            assert signal.getsignal(signal.SIGTERM) is before
            if theirs:
                os.kill(os.getpid(), signal.SIGUSR1)
                await until(lambda: server.should_exit)
            server.should_exit = True
            await task
            sock.close()

        run(main())
        assert raised == list(theirs)

    def test_in_another_thread_signals_are_left_alone(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        seen: list[Any] = []

        async def main() -> None:
            sock = listen()
            server = Server(Config(app=App(), timeout_drain_idle=0))
            task = asyncio.ensure_future(server.serve([sock]))
            await until(lambda: server.started)
            seen.append(signal.getsignal(signal.SIGTERM))
            server.should_exit = True
            await task
            sock.close()

        thread = threading.Thread(target=lambda: asyncio.run(main()))
        thread.start()
        thread.join()
        assert seen == [before]

    def test_the_handler_is_how_libraries_find_the_server(self) -> None:
        server = Server(Config(app=hello))
        handler: Any = server.handle_exit
        assert handler.__self__ is server
        assert server.should_exit is False
        handler(signal.SIGTERM, None)
        assert server.should_exit is True


def test_the_path_of_a_unix_socket_is_left_to_its_owner(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"

    async def main() -> None:
        sock = listen(path)
        for _ in range(2):
            server = Server(Config(app=App(), timeout_drain_idle=0))
            given = sock.dup()
            task = asyncio.ensure_future(server.serve([given]))
            await until(lambda: server.started)  # noqa: B023  # it is awaited at once
            peer = await Peer.connect(sock)
            assert (await peer.ask(get())).status == 200
            await peer.close()
            server.should_exit = True
            await task
            assert given.fileno() == -1
            assert path.exists()
        assert sock.fileno() >= 0
        sock.close()

    run(main())
