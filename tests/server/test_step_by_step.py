"""Code that starts and stops a server by itself, as that of uvicorn's users: by steps, again, socket by socket."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.http1.apps import hello
from tests.server.running import App, until
from uvicorn_worker import Config, Server
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.errors import LifespanError
from uvicorn_worker.server.own_lifespan import LifespanOff, LifespanOn

QUIET: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "log_config": None, "timeout_drain_idle": 0}


def port_of(server: Server) -> int:
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


async def ask(port: int, context: ssl.SSLContext | None = None) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


async def say_state(scope: Scope, receive: Receive, send: Send) -> None:
    """A lifespan with state, and requests that answer it."""
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["who"] = "its own"
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(dict(scope.get("state", {}))).encode()})


class TestSteps:
    def test_the_lifespan_is_made_by_hand(self) -> None:
        app = App()
        config = Config(app, **QUIET)
        server = Server(config)

        async def main() -> None:
            config.load()
            server.lifespan = config.lifespan_class(config)
            await server.startup()
            serving = asyncio.ensure_future(server.main_loop())
            assert (await ask(port_of(server))).startswith(b"HTTP/1.1 200")
            server.should_exit = True
            await serving
            await server.shutdown()

        asyncio.run(main())
        assert app.events == ["startup", "shutdown"]

    def test_without_signals(self) -> None:
        server = Server(Config(App(), **QUIET))

        async def main() -> None:
            serving = asyncio.ensure_future(server._serve())
            await until(lambda: server.started)
            assert (await ask(port_of(server))).startswith(b"HTTP/1.1 200")
            server.should_exit = True
            await serving

        asyncio.run(main())

    def test_an_override_of_startup_sees_the_state(self) -> None:
        seen = []

        class Sees(Server):
            async def startup(self, sockets: Any = None) -> None:
                await super().startup(sockets)
                seen.append((dict(self.lifespan.state), self.lifespan.should_exit))
                self.should_exit = True

        Sees(Config(say_state, **QUIET)).run()
        assert seen == [({"who": "its own"}, False)]

    def test_a_server_serves_again_in_another_loop(self) -> None:
        app = App()
        server = Server(Config(app, **QUIET))

        async def main() -> None:
            serving = asyncio.ensure_future(server.serve())
            await until(lambda: server.started)
            assert len(server.servers) == 1
            assert (await ask(port_of(server))).startswith(b"HTTP/1.1 200")
            server.should_exit = True
            await asyncio.wait_for(serving, 10)

        for _ in range(2):
            server.should_exit = server.started = False
            asyncio.run(main())
        assert app.events == ["startup", "shutdown"] * 2

    def test_a_server_is_started_again_while_it_serves(self) -> None:
        """As that of httpx's tests is: `serve()` goes on, and ends by `should_exit` as ever."""
        app = App()
        server = Server(Config(app, **QUIET))

        async def main() -> None:
            serving = asyncio.ensure_future(server.serve())
            await until(lambda: server.started)
            first = port_of(server)
            await server.shutdown()
            with pytest.raises(ConnectionRefusedError):
                await ask(first)
            await server.startup()
            assert server.started
            assert (await ask(port_of(server))).startswith(b"HTTP/1.1 200")
            assert not serving.done()
            server.should_exit = True
            await asyncio.wait_for(serving, 10)

        asyncio.run(main())
        assert app.events == ["startup", "shutdown"] * 2

    def test_one_socket_is_closed(self) -> None:
        server = Server(Config(App(), **QUIET))
        config = Config(App(), **QUIET)

        async def main() -> None:
            sockets = [config.bind_socket(), config.bind_socket()]
            await server.startup(sockets)
            first, second = server.servers
            port = port_of(server)
            (sock,) = second.sockets
            first.close()
            first.close()
            await first.wait_closed()
            assert (first.is_serving(), second.is_serving()) == (False, True)
            assert first.sockets == ()
            with pytest.raises(OSError, match=r"refused|reset|Connect"):
                await ask(port)
            assert (await ask(sock.getsockname()[1])).startswith(b"HTTP/1.1 200")
            await server.shutdown(sockets)

        asyncio.run(main())


class Brought(LifespanOn):
    """Uvicorn's lifespan with something around it."""

    events: list[str]

    async def startup(self) -> None:
        self.events = ["before"]
        await super().startup()
        self.state["more"] = 1

    async def shutdown(self) -> None:
        await super().shutdown()
        self.events.append("after")


class Fails:
    """One that has nothing in common with uvicorn's but the two methods."""

    def __init__(self, config: Any) -> None:
        self.should_exit = False

    async def startup(self) -> None:
        self.should_exit = True

    async def shutdown(self) -> None:
        raise AssertionError


class TestLifespans:
    def served(self, config: Config) -> tuple[Server, bytes]:
        server = Server(config)
        answers = []

        async def main() -> None:
            serving = asyncio.ensure_future(server.serve())
            await until(lambda: server.started or serving.done())
            if server.started:
                answers.append((await ask(port_of(server))).partition(b"\r\n\r\n")[2])
                server.should_exit = True
            await serving

        asyncio.run(main())
        return server, answers[0]

    def test_one_that_the_configuration_names(self) -> None:
        config = Config(say_state, **QUIET)
        config.lifespan_class = Brought
        server, answer = self.served(config)
        assert answer == b"{'who': 'its own', 'more': 1}"
        assert server.lifespan.events == ["before", "after"]

    def test_none(self) -> None:
        config = Config(say_state, **QUIET)
        config.lifespan_class = LifespanOff
        assert self.served(config)[1] == b"{}"

    def test_one_that_fails(self) -> None:
        config = Config(say_state, **QUIET)
        config.lifespan_class = Fails
        with pytest.raises(Exception, match="that was assigned says that its startup failed"):
            self.served(config)

    def test_one_that_does_not_end(self, caplog: pytest.LogCaptureFixture) -> None:
        class Hangs(LifespanOff):
            async def shutdown(self) -> None:
                await asyncio.sleep(60)

        config = Config(say_state, **QUIET, timeout_graceful_shutdown=0.1)
        config.lifespan_class = Hangs
        self.served(config)
        assert "Application shutdown did not complete in time." in caplog.messages

    @pytest.mark.parametrize("failing", ["startup", "shutdown"])
    @pytest.mark.parametrize("raises", [False, True])
    def test_that_of_the_server_tells_what_has_failed(self, failing: str, raises: bool) -> None:
        """Launchers look there for why a server has ended."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "lifespan":
                await say_state(scope, receive, send)
                return
            while (kind := (await receive())["type"]) != f"lifespan.{failing}":
                await send({"type": f"{kind}.complete"})
            if raises:
                raise RuntimeError("no database")
            await send({"type": f"{kind}.failed"})

        server = Server(Config(app, **QUIET, lifespan="on"))
        told: list[bool] = []

        async def main() -> None:
            def tell() -> None:
                told.extend((server.lifespan.startup_event.is_set(), server.lifespan.shutdown_event.is_set()))

            if failing == "startup":
                with pytest.raises(LifespanError):
                    await server.serve()
                tell()
                return
            serving = asyncio.ensure_future(server.serve())
            await until(lambda: server.started)
            tell()
            server.should_exit = True
            await serving

        asyncio.run(main())
        lifespan = server.lifespan
        assert told == [True, failing == "startup"]
        assert lifespan.error_occurred is raises
        assert lifespan.startup_failed is (failing == "startup")
        assert lifespan.shutdown_failed is (failing == "shutdown" and not raises)
        assert lifespan.should_exit is (lifespan.startup_failed or lifespan.shutdown_failed)

    def test_one_of_a_startup_that_takes_too_long(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(60)

        async def main() -> None:
            server = Server(Config(app, **QUIET, lifespan="on", timeout_lifespan_startup=0.01))
            with pytest.raises(LifespanError, match="took longer"):
                await server.serve()
            assert server.lifespan.startup_failed

        asyncio.run(main())

    def test_it_is_run_without_a_server(self, caplog: pytest.LogCaptureFixture) -> None:
        async def main() -> None:
            lifespan = LifespanOn(Config(say_state, log_config=None, lifespan="on"))
            await lifespan.shutdown()
            await lifespan.startup()
            assert (lifespan.state, lifespan.should_exit) == ({"who": "its own"}, False)
            await lifespan.shutdown()
            refusing = LifespanOn(Config(hello, log_config=None, lifespan="on"))
            await refusing.startup()
            assert refusing.should_exit

        with caplog.at_level(logging.ERROR):
            asyncio.run(main())
        assert "The application can't be started: the application raised in its lifespan startup" in caplog.messages


class TestTls:
    """`config.ssl`: uvicorn makes it in `load()`, and what is changed in it then, or assigned, is what clients see."""

    def handshakes(self, config: Config, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        async def main() -> None:
            server = Server(config)
            await server.startup()
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode, context.maximum_version = False, ssl.CERT_NONE, newest
            try:
                assert (await ask(port_of(server), context)).startswith(b"HTTP/1.1 200")
            finally:
                await server.shutdown()

        asyncio.run(main())

    def test_what_is_changed_in_it_counts(self, certificate: Path) -> None:
        config = Config(hello, **QUIET, ssl_certfile=certificate, lifespan="off")
        config.load()
        assert config.ssl is not None
        self.handshakes(config, ssl.TLSVersion.TLSv1_2)
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
        self.handshakes(config)
        with pytest.raises((ssl.SSLError, OSError)):
            self.handshakes(config, ssl.TLSVersion.TLSv1_2)

    def test_one_that_is_assigned_is_used(self, certificate: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        config = Config(hello, **QUIET, lifespan="off")
        assert config.ssl is None
        config.ssl = context
        assert config.ssl is context
        assert config.is_ssl
        self.handshakes(config)
        config.ssl = None
        assert (config.ssl, config.is_ssl) == (None, False)

    def test_a_certificate_that_has_changed_meanwhile(
        self, certificate: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = tmp_path / "cert.pem"
        file.write_bytes(certificate.read_bytes())
        config = Config(hello, **QUIET, ssl_certfile=file, lifespan="off")
        before = config.ssl
        other = tmp_path / "other.pem"
        other.write_bytes(certificate.read_bytes() + b"\n")
        other.replace(file)
        with caplog.at_level(logging.INFO):
            self.handshakes(config)
        assert "The TLS files have changed: new connections use them." in caplog.messages
        assert config.ssl is before


class TestOthers:
    def test_fields_as_they_are_sent(self) -> None:
        assert Config(hello).encoded_headers == [(b"server", b"uvicorn")]
        config = Config(hello, headers=[("X-A", "1"), (b"Server", b"mine")])
        assert config.encoded_headers == [(b"x-a", b"1"), (b"server", b"mine")]
        assert Config(hello, server_header=False).encoded_headers == []

    def test_an_event_loop_as_loop(self) -> None:
        """As the answers of Stack Overflow have it: the server runs in the loop that is there."""
        loop = asyncio.new_event_loop()
        server = Server(Config(App(), **QUIET, loop=loop))

        async def end() -> None:
            await until(lambda: server.started)
            server.should_exit = True

        ending = loop.create_task(end())
        loop.run_until_complete(server.serve())
        assert ending.done()
        loop.close()
        other = server.config.get_loop_factory()()  # type: ignore[attr-defined]
        assert other is not loop
        other.close()

    def test_spellings(self) -> None:
        assert Config(hello, workers=0).workers == 1
        assert Config(hello, headers={"x-a": "1"}.items()).headers == [("x-a", "1")]
