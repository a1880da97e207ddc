"""A graceful stop: what is under way is finished, within its time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import pytest

from tests.http1.apps import Gate, Recorder, answer
from tests.scripted import get, post
from tests.server.running import App, Running, hanging, until
from tests.sockets import Run
from uvicorn_worker.core.asgi import Receive, Scope, Send

Log = Callable[..., list[str]]


class TestGraceful:
    def test_with_nothing_to_do_it_is_quick(self, run: Run) -> None:
        app = App()

        async def main() -> None:
            async with Running(app) as running:
                await running.stop()
                assert app.events == ["startup", "shutdown"]

        run(main())

    def test_a_request_that_runs_is_finished(self, run: Run, log: Log) -> None:
        gate = Gate()
        app = App(gate)

        async def main() -> None:
            async with Running(app) as running:
                peer = await running.ask()
                await until(lambda: gate.waiting)
                running.server.should_exit = True
                await until(lambda: running.server.own_runtime.draining)
                gate.open()
                response = await peer.response()
                assert (response.body, response.closes) == (b"Hello, world!", True)
                assert await peer.rest() == b""
                await running.stopped()

        run(main())
        assert app.events == ["startup", "shutdown"]
        begin, end = (line for line in log() if line.startswith("Drain"))
        assert begin == "Draining: 1 request, 0 WebSockets, 0 streams, 0 idle connections; no time limit."
        assert end.endswith("nothing was cut.")
        assert log(logging.WARNING) == []

    def test_pipelined_requests_are_finished(self, run: Run) -> None:
        gate = Gate()

        async def main() -> None:
            async with Running(App(gate)) as running:
                peer = await running.ask(get() * 3)
                await until(lambda: gate.waiting)
                running.server.should_exit = True
                await until(lambda: running.server.own_runtime.draining)
                responses = []
                for _ in range(3):
                    await until(lambda: gate.waiting)
                    gate.open()
                    responses.append(await peer.response())
                assert [response.closes for response in responses] == [False, False, True]
                await running.stopped()

        run(main())

    def test_an_idle_connection_is_served_until_its_time_is_over(self, run: Run) -> None:
        async def main() -> None:
            async with Running(App(), timeout_drain_idle=0.5) as running:
                used, unused = await running.ask(), await running.ask()
                await used.response()
                await unused.response()
                begun = time.monotonic()
                running.server.should_exit = True
                await until(lambda: running.server.own_runtime.draining)
                response = await used.ask(get())
                assert (response.status, response.closes) == (200, True)
                assert await unused.rest() == b""
                assert time.monotonic() - begun >= 0.5
                await running.stopped()

        run(main())

    def test_nothing_more_is_accepted(self, run: Run) -> None:
        gate = Gate()

        async def main() -> None:
            async with Running(App(gate)) as running:
                await running.ask()
                await until(lambda: gate.waiting)
                running.server.should_exit = True
                await until(lambda: running.server.own_runtime.draining)
                late = await running.ask()
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(late.reader.read(1), 0.2)
                assert len(gate.paths) == 1
                gate.open()
                await running.stopped()

        run(main())

    def test_an_upload_that_goes_on_is_finished(self, run: Run) -> None:
        async def upload(scope: Scope, receive: Receive, send: Send) -> None:
            size = 0
            while True:
                event = await receive()
                size += len(event["body"])
                if not event["more_body"]:
                    break
            await answer(send, b"%d" % size)

        async def main() -> None:
            async with Running(App(upload)) as running:
                request = post(bytes(100_000))
                peer = await running.ask(request[:50_000])
                await until(lambda: running.server.own_runtime.cycles)
                running.server.should_exit = True
                await until(lambda: running.server.own_runtime.draining)
                assert (await peer.ask(request[50_000:])).body == b"100000"
                await running.stopped()

        run(main())

    def test_the_rest_of_a_body_that_nobody_reads_is_not_waited_for(self, run: Run) -> None:
        async def main() -> None:
            async with Running(App(), timeout_graceful_shutdown=60, timeout_keep_alive=0.5) as running:
                peer = await running.ask(post(bytes(1000))[:500])
                assert (await peer.response()).status == 200
                await running.stop()

        run(main())


class TestTime:
    def test_a_request_that_hangs_is_cancelled(self, run: Run, log: Log) -> None:
        recorder = Recorder(hanging)
        app = App(recorder)

        async def main() -> None:
            async with Running(app, timeout_graceful_shutdown=0.5) as running:
                peer = await running.ask()
                await until(lambda: recorder.scopes)
                assert await running.stop() >= 0.2
                assert (await peer.response()).status == 503
                assert await peer.rest() == b""

        run(main())
        assert isinstance(recorder.raised[0], asyncio.CancelledError)
        assert app.events == ["startup", "shutdown"]
        (line,) = log(logging.ERROR)
        assert line.startswith("Cutting what is left after 0.")
        assert "1 request, 0 WebSockets" in line
        assert "\n  GET / for 0." in line

    def test_an_application_is_told_before(self, run: Run, log: Log) -> None:
        async def patient(scope: Scope, receive: Receive, send: Send) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            await answer(send, b"in the end")

        async def main() -> None:
            async with Running(App(patient), timeout_graceful_shutdown=0.5) as running:
                peer = await running.ask()
                await until(lambda: running.server.own_runtime.cycles)
                await running.stop()
                assert (await peer.response()).body == b"in the end"

        run(main())
        assert log(logging.ERROR) == []

    def test_a_stream_that_does_not_end_is_cut(self, run: Run) -> None:
        async def endless(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            while True:
                await send({"type": "http.response.body", "body": b"tick", "more_body": True})
                await asyncio.sleep(0.02)

        async def main() -> None:
            async with Running(App(endless), timeout_graceful_shutdown=0.5) as running:
                peer = await running.ask()
                await peer.reader.readuntil(b"tick")
                await running.stop()
                assert not (await peer.rest()).endswith(b"0\r\n\r\n")

        run(main())

    def test_a_client_that_sends_half_a_request_does_not_hold_it_up(self, run: Run) -> None:
        async def main() -> None:
            async with Running(App(), timeout_graceful_shutdown=0.5) as running:
                peer = await running.ask(get()[:10])
                await until(lambda: running.server.own_runtime.connections)
                await running.stop()
                assert await peer.rest() == b""

        run(main())

    def test_a_lifespan_that_hangs_does_not_hold_it_up(self, run: Run, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await hanging(scope, receive, send)

        async def main() -> None:
            async with Running(app, timeout_graceful_shutdown=0.3) as running:
                await running.stop()

        run(main())
        assert log(logging.ERROR) == ["Application shutdown did not complete in time."]

    def test_a_request_that_refuses_to_be_cancelled_does_not_hold_it_up(self, run: Run) -> None:
        async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
            for _ in range(2):
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    pass

        async def main() -> None:
            async with Running(App(stubborn), timeout_graceful_shutdown=0.3) as running:
                peer = await running.ask()
                await until(lambda: running.server.own_runtime.cycles)
                await running.stop()
                assert (await peer.response()).status == 503

        run(main())
