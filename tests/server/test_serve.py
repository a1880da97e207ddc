"""A server on real sockets: what it listens on, how it starts, and what its requests see."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from tests.http1.apps import Recorder, answer, echo, hello, read_body
from tests.scripted import PARSERS, get, post
from tests.server.conftest import serving
from tests.sockets import Peer, Run, listen
from uvicorn_worker import Config, Server
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send
from uvicorn_worker.core.errors import AppLoadError, ConfigError, LifespanError
from uvicorn_worker.server.binding import url_of

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def no_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await hello(scope, receive, send)


def http_only(app: ASGIApp) -> ASGIApp:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await app(scope, receive, send)

    return application


class TestSockets:
    def test_tcp(self, run: Run) -> None:
        app = Recorder()

        async def main() -> None:
            sock = listen()
            async with serving(http_only(app), sock):
                peer = await Peer.connect(sock)
                assert (await peer.ask(get())).body == b"Hello, world!"
                assert app.scope["server"] == sock.getsockname()
                assert app.scope["client"] == peer.writer.get_extra_info("sockname")

        run(main())

    def test_ipv6(self, run: Run) -> None:
        app = Recorder()

        async def main() -> None:
            try:
                sock = listen("::1")
            except OSError:
                pytest.skip("there is no IPv6 here")
            async with serving(http_only(app), sock):
                assert (await (await Peer.connect(sock)).ask(get())).status == 200
                assert app.scope["server"] == ("::1", sock.getsockname()[1])
                assert len(app.scope["client"]) == 2

        run(main())

    def test_unix(self, run: Run, tmp_path: Path) -> None:
        app = Recorder()
        path = tmp_path / "app.sock"

        async def main() -> None:
            sock = listen(path)
            async with serving(http_only(app), sock):
                assert (await (await Peer.connect(sock)).ask(get())).status == 200
                assert app.scope["server"] == (str(path), None)
                assert app.scope["client"] is None

        run(main())
        assert path.exists()

    def test_one_that_was_taken_for_a_unix_socket(self, run: Run) -> None:
        """As Gunicorn and uvicorn take those that systemd has passed on; the kernel knows better."""
        app = Recorder()

        async def main() -> None:
            sock = listen()
            taken = socket.fromfd(sock.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)
            async with serving(http_only(app), taken) as server:
                peer = await Peer.connect(sock)
                assert (await peer.ask(get())).status == 200
                assert app.scope["server"] == sock.getsockname()
                assert app.scope["client"] == peer.writer.get_extra_info("sockname")
                assert {listener.family for listener in server.own_acceptor.listeners} == {socket.AF_INET}
                [listening] = server.servers
                assert url_of(listening.sockets[0], secure=False) == "http://{}:{}".format(*sock.getsockname())
            sock.close()

        run(main())

    def test_several(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            sockets = [listen(), listen(tmp_path / "app.sock"), listen()]
            async with serving(no_lifespan, *sockets):
                for sock in sockets:
                    assert (await (await Peer.connect(sock)).ask(get())).status == 200

        run(main())

    def test_there_must_be_one(self, run: Run) -> None:
        with pytest.raises(ConfigError, match="sockets"):
            run(Server(Config(app=hello)).serve(sockets=[]))

    # Python 3.10 does not mark the transport as closed where the client said close_notify first.
    @pytest.mark.filterwarnings("ignore:unclosed transport <asyncio.sslproto:ResourceWarning")
    def test_tls(self, run: Run, certificate: Path) -> None:
        app = Recorder(echo)
        server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server_side.load_cert_chain(certificate)
        client_side = ssl.create_default_context(cafile=certificate)

        async def main() -> None:
            sock = listen()
            async with serving(http_only(app), sock, ssl_context_factory=lambda config, default: server_side):
                peer = await Peer.connect(sock, client_side)
                assert (await peer.ask(post(b"x" * 300_000))).body == b"POST / " + b"x" * 300_000
                assert app.scope["scheme"] == "https"
                assert (await peer.ask(get("*"))).status == 400

        run(main())
        gc.collect()


class TestRequests:
    def test_many_at_once(self, run: Run) -> None:
        async def main() -> None:
            sock = listen()
            async with serving(http_only(echo), sock):
                peers = [await Peer.connect(sock) for _ in range(50)]
                for _ in range(3):
                    answers = await asyncio.gather(*(peer.ask(post(b"%d" % at)) for at, peer in enumerate(peers)))
                    assert [each.body for each in answers] == [b"POST / %d" % at for at in range(50)]

        run(main())

    def test_a_large_upload_and_download(self, run: Run) -> None:
        data = bytes(range(256)) * 20_000

        async def main() -> None:
            sock = listen()
            async with serving(http_only(echo), sock):
                peer = await Peer.connect(sock)
                assert (await peer.ask(post(data))).body == b"POST / " + data

        run(main())

    def test_a_client_that_resets(self, run: Run) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await read_body(receive)
            assert await receive() == {"type": "http.disconnect"}
            with pytest.raises(OSError, match="client left"):
                await answer(send)

        recorder = Recorder(app)

        async def main() -> None:
            sock = listen()
            async with serving(http_only(recorder), sock) as server:
                peer = await Peer.connect(sock)
                peer.send(get())
                while not recorder.scopes:
                    await asyncio.sleep(0.01)
                peer.reset()
                while server.own_runtime.cycles:
                    await asyncio.sleep(0.01)

        run(main())
        assert recorder.raised == []

    def test_a_client_that_goes_away_in_a_stream(self, run: Run) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            while True:
                await send({"type": "http.response.body", "body": b"tick", "more_body": True})
                await asyncio.sleep(0.01)

        recorder = Recorder(app)

        async def main() -> None:
            sock = listen()
            async with serving(http_only(recorder), sock) as server:
                peer = await Peer.connect(sock)
                peer.send(get())
                await peer.reader.readuntil(b"tick")
                await peer.close()
                while server.own_runtime.cycles:
                    await asyncio.sleep(0.01)

        run(main())
        assert isinstance(recorder.raised[0], OSError)

    def test_an_http10_client_sees_a_broken_stream_by_a_reset(self, run: Run) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            await asyncio.sleep(0.05)
            raise ValueError("a mistake")

        async def main() -> None:
            sock = listen()
            async with serving(http_only(app), sock):
                peer = await Peer.connect(sock)
                peer.send(get(version="1.0"))
                with pytest.raises(ConnectionResetError):
                    await peer.reader.read()

        run(main())

    def test_a_refusal_reaches_a_client_that_goes_on_sending(self, run: Run) -> None:
        async def main() -> None:
            sock = listen()
            async with serving(no_lifespan, sock):
                peer = await Peer.connect(sock)
                peer.send(get("*") + bytes(500_000))
                assert (await peer.response()).status == 400
                assert await peer.rest() == b""

        run(main())

    def test_an_idle_connection_is_closed_in_time(self, run: Run) -> None:
        async def main() -> None:
            sock = listen()
            async with serving(no_lifespan, sock, timeout_keep_alive=0.5):
                peer = await Peer.connect(sock)
                # From before the answer: it is complete before it is read here, by as much as this process had to wait.
                begun = time.monotonic()
                await peer.ask(get())
                assert await peer.rest() == b""
                assert time.monotonic() - begun >= 0.5

        run(main())


class TestStart:
    def test_nothing_is_read_before_the_startup_is_complete(self, run: Run) -> None:
        async def main() -> None:
            started, order = asyncio.Event(), []

            async def app(scope: Scope, receive: Receive, send: Send) -> None:
                if scope["type"] == "lifespan":
                    await receive()
                    await started.wait()
                    order.append("startup")
                    await send({"type": "lifespan.startup.complete"})
                    await receive()
                    await send({"type": "lifespan.shutdown.complete"})
                else:
                    order.append("request")
                    await hello(scope, receive, send)

            sock = listen()
            sock.listen()
            server = Server(Config(app=app, timeout_drain_idle=0))
            serving = asyncio.ensure_future(server.serve([sock]))
            peer = await Peer.connect(sock)
            asking = asyncio.ensure_future(peer.ask(get()))
            await asyncio.wait([asking], timeout=0.1)
            assert not asking.done()
            assert not server.started
            started.set()
            assert (await asking).status == 200
            assert order == ["startup", "request"]
            assert server.started
            server.should_exit = True
            await serving
            sock.close()

        run(main())

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, "of the server"),
            ({"lifespan_contextvars": True}, "of the lifespan"),
            ({"reset_contextvars": True}, "unset"),
        ],
    )
    def test_requests_have_the_state_of_the_lifespan_and_a_context(
        self, run: Run, options: dict[str, Any], expected: str
    ) -> None:
        seen: list[Any] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await receive()
                scope["state"]["key"] = ["value"]
                variable.set("of the lifespan")
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
            else:
                seen.append((variable.get(), dict(scope["state"])))
                variable.set("of a request")
                scope["state"]["other"] = 1
                await hello(scope, receive, send)

        async def main() -> None:
            sock = listen()
            variable.set("of the server")
            async with serving(app, sock, **options):
                peer = await Peer.connect(sock)
                await peer.ask(get())
                await peer.ask(get())

        run(main())
        assert seen == [(expected, {"key": ["value"]})] * 2

    def test_a_startup_that_fails_fails_the_server(self, run: Run) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})

        async def main() -> None:
            sock = listen()
            server = Server(Config(app=app))
            with pytest.raises(LifespanError):
                await server.serve([sock])
            assert not server.started
            assert sock.fileno() >= 0
            sock.close()

        run(main())

    def test_an_app_by_name(self, run: Run) -> None:
        async def main() -> None:
            sock = listen()
            server = Server(Config(app="tests.http1.apps:nothing"))
            with pytest.raises(AppLoadError, match="there is no 'nothing'"):
                await server.serve([sock])
            sock.close()

        run(main())

    def test_the_parser_is_chosen(self, run: Run) -> None:
        async def main() -> None:
            for parser in ("auto", *PARSERS):
                sock = listen()
                async with serving(no_lifespan, sock, http=parser):
                    assert (await (await Peer.connect(sock)).ask(get())).status == 200

        run(main())


class TestAccessLog:
    def lines(self, run: Run, caplog: pytest.LogCaptureFixture, *requests: bytes, **options: Any) -> list[str]:
        where = options.pop("where", "127.0.0.1")
        ports: list[int] = []

        async def main() -> None:
            sock = listen(where)
            async with serving(no_lifespan, sock, **options):
                peer = await Peer.connect(sock)
                if not isinstance(where, Path):
                    ports.append(peer.writer.get_extra_info("sockname")[1])
                for request in requests:
                    assert (await peer.ask(request)).status == 200

        run(main())
        lines = [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"]
        return [line.replace(str(ports[0]), "PORT") if ports else line for line in lines]

    def test_its_lines(self, run: Run, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "uvicorn.access")
        lines = self.lines(run, caplog, get("/a%20b?c=d"), post(b"12345"))
        assert lines == ['127.0.0.1:PORT - "GET /a%20b?c=d HTTP/1.1" 200', '127.0.0.1:PORT - "POST / HTTP/1.1" 200']

    def test_of_a_unix_socket(self, run: Run, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
        caplog.set_level(logging.INFO, "uvicorn.access")
        assert self.lines(run, caplog, get(), where=tmp_path / "s") == [' - "GET / HTTP/1.1" 200']

    def test_with_a_root_path(self, run: Run, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "uvicorn.access")
        (line,) = self.lines(run, caplog, get("/x"), root_path="/\xe9")
        assert line.endswith(' HTTP/1.1" 200')

    @pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
    def test_it_can_be_switched_off(self, run: Run, caplog: pytest.LogCaptureFixture, level: int) -> None:
        caplog.set_level(level, "uvicorn.access")
        assert self.lines(run, caplog, get(), access_log=level == logging.WARNING) == []


def test_the_fields_that_uvicorns_formatter_reads(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    # uvicorn.logging.AccessFormatter takes client, method, path, version and status from the record's args.
    caplog.set_level(logging.INFO, "uvicorn.access")

    async def main() -> None:
        sock = listen()
        async with serving(no_lifespan, sock):
            await (await Peer.connect(sock)).ask(get("/x?y"))

    run(main())
    (record,) = [record for record in caplog.records if record.name == "uvicorn.access"]
    assert isinstance(record.args, tuple)
    assert record.args[1:] == ("GET", "/x?y", "1.1", 200)
