"""What was begun is ended: a start that fails on its way, a `serve()` that is cancelled, a block that raises."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

from tests.http1.apps import Recorder
from tests.scripted import get
from tests.server.running import App, hanging, until
from tests.sockets import Peer, Run
from uvicorn_worker import BindError, Config, Server
from uvicorn_worker.server.surroundings import Surroundings


def server_of(app: App, **options: Any) -> Server:
    return Server(Config(app, port=0, timeout_drain_idle=0, timeout_graceful_shutdown=5, **options))


class TestCancelled:
    def test_serving(self, run: Run) -> None:
        recorder = Recorder(hanging)
        app = App(recorder)

        async def main() -> None:
            server = server_of(app)
            task = asyncio.ensure_future(server.serve())
            await until(lambda: server.started)
            address = server.servers[0].sockets[0].getsockname()
            peer = await Peer.connect(server.servers[0].sockets[0])
            peer.send(get())
            await until(lambda: recorder.scopes)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(OSError, match=r"refused|Connect call failed"):
                await asyncio.open_connection(*address)
            assert not server.own_runtime.connections

        run(main())
        assert isinstance(recorder.raised[0], asyncio.CancelledError)
        assert app.events == ["startup", "shutdown"]

    def test_draining(self, run: Run) -> None:
        recorder = Recorder(hanging)
        app = App(recorder)

        async def main() -> None:
            server = server_of(app)
            task = asyncio.ensure_future(server.serve())
            await until(lambda: server.started)
            peer = await Peer.connect(server.servers[0].sockets[0])
            peer.send(get())
            await until(lambda: recorder.scopes)
            server.should_exit = True
            await until(lambda: server.own_runtime.draining)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(main())
        assert app.events == ["startup", "shutdown"]

    def test_starting(self, run: Run) -> None:
        events: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            events.append("starting")
            try:
                await asyncio.sleep(60)
            finally:
                events.append("cancelled")

        async def main() -> None:
            server = Server(Config(app, port=0))
            task = asyncio.ensure_future(server.serve())
            await until(lambda: events)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not server.started

        run(main())
        assert events == ["starting", "cancelled"]


class TestStartsThatFail:
    def test_after_the_lifespan_startup(self, run: Run) -> None:
        app = App()

        class Broken(Surroundings):
            def access(self, config: Any) -> Any:
                raise ZeroDivisionError

        async def main() -> None:
            server = server_of(app)
            server.own_surroundings = Broken()
            with pytest.raises(ZeroDivisionError):
                await server.serve()

        run(main())
        assert app.events == ["startup", "shutdown"]

    def test_a_socket_that_can_not_be_listened_on(self, run: Run) -> None:
        app = App()

        async def main() -> None:
            sock, other = socket.socketpair()
            with pytest.raises(BindError, match="can't be listened on"):
                await server_of(app).serve([sock])
            sock.close()
            other.close()

        run(main())
        assert app.events == ["startup", "shutdown"]


class TestBlock:
    def test_its_end_is_a_graceful_stop(self, run: Run) -> None:
        app = App()

        async def main() -> None:
            before = signal.getsignal(signal.SIGTERM)
            async with server_of(app) as server:
                assert server.started
                assert signal.getsignal(signal.SIGTERM) is before

        run(main())
        assert app.events == ["startup", "shutdown"]

    def test_an_exception_passes(self, run: Run) -> None:
        app = App()

        async def main() -> None:
            with pytest.raises(ZeroDivisionError):
                async with server_of(app):
                    raise ZeroDivisionError

        run(main())
        assert app.events == ["startup", "shutdown"]

    def test_a_cancelled_one_stops_at_once(self, run: Run) -> None:
        app = App()

        async def block() -> None:
            async with server_of(app):
                await asyncio.sleep(60)

        async def main() -> None:
            task = asyncio.ensure_future(block())
            await until(lambda: app.events)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(main())
        assert app.events == ["startup", "shutdown"]


def test_in_a_thread() -> None:
    app = App()
    server = server_of(app)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        threading.Event().wait(0.01)
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()
    assert app.events == ["startup", "shutdown"]


SCRIPT = """
import asyncio, os, signal, sys
from uvicorn_worker import Config, Server

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        os.kill(os.getpid(), int(sys.argv[1]))
        await receive()
        print("shutdown", flush=True)
        await send({"type": "lifespan.shutdown.complete"})

server = Server(Config(app, port=0, timeout_drain_idle=0))
if sys.argv[2] == "run":
    server.run()
else:
    asyncio.run(server.serve())
print("not reached")
"""


@pytest.mark.parametrize("how", ["run", "serve"])
@pytest.mark.parametrize(("sig", "codes"), [(signal.SIGTERM, [-15]), (signal.SIGINT, [-2, 130])])
def test_the_process_ends_by_the_signal(how: str, sig: signal.Signals, codes: list[int]) -> None:
    command = [sys.executable, "-c", SCRIPT, str(int(sig)), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in codes, done.stderr
    assert done.stdout.split() == ["shutdown"]
