"""Protocol classes of somebody's own: uvicorn's with a bound, or with a look at their client's certificate."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.certificates import Site, client_context
from tests.scripted import get
from tests.server.running import App, Running, until
from tests.sockets import Peer, Run
from tests.websocket.wire import handshake, parse_frames
from tests.websocket.wire import text as text_frame
from uvicorn_worker import Config, ConfigError
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.server import brought_protocols

H11Protocol: Any = pytest.importorskip("uvicorn.protocols.http.h11_impl").H11Protocol
HttpToolsProtocol: Any = pytest.importorskip("uvicorn.protocols.http.httptools_impl").HttpToolsProtocol
WSProtocol: Any = pytest.importorskip("uvicorn.protocols.websockets.wsproto_impl").WSProtocol
WebSocketProtocol: Any = pytest.importorskip("uvicorn.protocols.websockets.websockets_impl").WebSocketProtocol

# Those of the legacy module, which uvicorn itself asks for.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

Log = Callable[..., list[str]]


class _Marking:
    """What such classes do: they look at the transport, and put something around the application."""

    def connection_made(self: Any, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        inner, tls = self.app, transport.get_extra_info("ssl_object")

        async def marked(scope: Scope, receive: Receive, send: Send) -> None:
            await inner({**scope, "mark": f"over {tls.version()}" if tls else "in cleartext"}, receive, send)

        self.app = marked


class MarkingH11(_Marking, H11Protocol):
    pass


class MarkingTools(_Marking, HttpToolsProtocol):
    pass


class Bounded(H11Protocol):
    """A head has a fifth of a second."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.timer = self.loop.call_later(0.2, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.scope is not None:
            self.timer.cancel()


class OwnWebSocket(WSProtocol):
    async def run_asgi(self) -> None:
        self.scope["mark"] = "a WebSocket"
        await super().run_asgi()


class OwnLegacy(WebSocketProtocol):
    async def run_asgi(self) -> None:
        self.scope["mark"] = "a WebSocket"
        await super().run_asgi()


class Tells:
    """Answers with what the scope has; /slow takes a moment, /hang never ends."""

    def __init__(self) -> None:
        self.cancelled = False
        self.codes: list[int] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": f"{scope.get('mark')}: {message['text']}"})
            self.codes.append(message["code"])
            return
        if scope["path"] == "/slow":
            await asyncio.sleep(0.3)
        elif scope["path"] == "/hang":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        body = "{} {} {}".format(scope.get("mark"), scope["client"][0], scope["scheme"]).encode()
        head = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})


async def open_websocket(running: Running) -> Peer:
    peer = await running.ask(handshake())
    assert (await peer.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return peer


async def ask_websocket(peer: Peer, message: str) -> bytes:
    peer.send(text_frame(message))
    head = await peer.reader.readexactly(2)
    return await peer.reader.readexactly(head[1])


@pytest.mark.parametrize(
    ("options", "mark"),
    [
        ({"http": MarkingH11}, "in cleartext"),
        ({"http": MarkingTools}, "in cleartext"),
        ({"http": f"{__name__}:MarkingH11"}, "in cleartext"),
        ({"http": MarkingTools, "ws": "none"}, "in cleartext"),
        ({"ws": OwnWebSocket}, None),
        ({"ws": OwnLegacy, "http": "h11"}, None),
    ],
    ids=["h11", "httptools", "by name", "without WebSocket", "WebSocket", "legacy WebSocket"],
)
def test_it_serves(run: Run, log: Log, options: dict[str, Any], mark: str | None) -> None:
    async def main() -> None:
        async with Running(App(Tells()), **options) as running:
            peer = await running.ask()
            for fields, told in ([(), ("127.0.0.1", "http")], [("X-Forwarded-For: 192.0.2.7",), ("192.0.2.7", "http")]):
                if fields:
                    peer.send(get("/", *fields))
                response = await peer.response()
                assert response.body.decode().split()[-2:] == list(told)
                assert response.body.startswith(str(mark).encode())
                assert (response.status, response.get("server")) == (200, "uvicorn")
            assert running.server.server_state.total_requests == 2
            if options.get("ws") != "none":
                socket = await open_websocket(running)
                said = b"a WebSocket: hello" if "ws" in options else b"None: hello"
                assert await ask_websocket(socket, "hello") == said
                socket.writer.close()

    run(main())
    (line,) = [line for line in log(logging.WARNING) if "Connections are served by" in line]
    assert "Own" in line or "Marking" in line


def test_it_sees_the_transport_of_tls(run: Run, tmp_path: Path) -> None:
    site = Site(tmp_path)

    async def main() -> None:
        async with Running(App(Tells()), http=MarkingTools, **site.options) as running:
            peer = await Peer.connect(running.sock, client_context())
            response = await peer.ask(get())
            assert response.body == b"over TLSv1.3 127.0.0.1 https"
            await peer.close()

    run(main())


def test_its_own_deadline_holds(run: Run) -> None:
    async def main() -> None:
        async with Running(App(Tells()), http=Bounded) as running:
            peer = await running.ask(b"GET / HTTP/1.1\r\n")
            assert await peer.rest() == b""
            peer = await running.ask()
            assert (await peer.response()).status == 200

    run(main())


class TestStop:
    def test_what_runs_is_answered_and_websockets_are_told(self, run: Run) -> None:
        tells = Tells()

        async def main() -> None:
            async with Running(App(tells), http=MarkingH11, ws=OwnWebSocket) as running:
                idle = await running.ask()
                await idle.response()
                socket = await open_websocket(running)
                peer = await running.ask(get("/slow"))
                state = running.server.server_state
                await until(lambda: len(state.tasks) == 2)
                assert len(state.connections) == 3
                assert all(connection.transport is not None for connection in state.connections)
                running.server.should_exit = True
                assert await idle.rest() == b""
                assert (await peer.response()).status == 200
                frame = parse_frames(await socket.rest())[0]
                assert frame.payload[:2] == (1012).to_bytes(2, "big")
                socket.writer.close()
                await running.stopped()
                assert len(state.connections) == len(state.tasks) == 0

        run(main())
        assert tells.codes == [1012]

    def test_one_that_becomes_idle_is_closed(self, run: Run) -> None:
        class Deaf(MarkingH11):
            def shutdown(self) -> None:
                """It goes on as before."""

        async def main() -> None:
            async with Running(App(Tells()), http=Deaf) as running:
                peer = await running.ask()
                await peer.response()
                running.server.should_exit = True
                assert await peer.rest() == b""
                await running.stopped()

        run(main())

    def test_at_its_end_applications_are_cancelled(self, run: Run) -> None:
        tells = Tells()

        async def main() -> None:
            async with Running(App(tells), http=MarkingTools, timeout_graceful_shutdown=0.5) as running:
                peer = await running.ask(get("/hang"))
                await until(lambda: running.server.server_state.tasks)
                await running.stop()
                await peer.rest()

        run(main())
        assert tells.cancelled

    def test_an_application_that_outlives_its_client_is_waited_for(self, run: Run) -> None:
        ended: list[bool] = []

        async def works(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(0.3)
            ended.append(True)

        async def main() -> None:
            async with Running(App(works), http=MarkingTools) as running:
                peer = await running.ask()
                await until(lambda: running.server.server_state.tasks)
                peer.reset()
                await until(lambda: len(running.server.server_state.connections) == 0)
                await running.stop()
                assert ended == [True]

        run(main())

    def test_a_limit_of_requests(self, run: Run) -> None:
        async def main() -> None:
            async with Running(App(Tells()), http=MarkingH11, limit_max_requests=2) as running:
                peer = await running.ask()
                await peer.response()
                await peer.ask(get())
                await running.stopped()

        run(main())


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "taken"),
        [
            ({"http": H11Protocol}, ("h11", "auto")),
            ({"http": HttpToolsProtocol}, ("httptools", "auto")),
            ({"http": "uvicorn.protocols.http.auto:AutoHTTPProtocol"}, ("auto", "auto")),
            ({"ws": WSProtocol}, ("auto", "auto")),
            ({"ws": "uvicorn.protocols.websockets.websockets_impl:WebSocketProtocol"}, ("auto", "auto")),
            ({"http": MarkingH11, "ws": "none"}, (MarkingH11, "none")),
            ({"ws": " shop.sockets:Protocol "}, ("auto", " shop.sockets:Protocol ")),
        ],
    )
    def test_for_uvicorns_own_the_servers_stand_in(self, options: dict[str, Any], taken: tuple[Any, Any]) -> None:
        config = Config("main:app", log_config=None, **options)
        assert (config.http, config.ws) == taken

    def test_what_load_would_have_made_is_assigned(self) -> None:
        config: Any = Config("main:app", log_config=None)
        config.http_protocol_class, config.ws_protocol_class = MarkingTools, OwnWebSocket
        assert (config.http, config.ws) == (MarkingTools, OwnWebSocket)
        config.http_protocol_class = H11Protocol
        assert config.http == "h11"
        config.http_protocol_class = f"{__name__}:MarkingTools"
        assert config.http_protocol_class is MarkingTools
        config.http_protocol_class = None
        assert config.http == "auto"
        assert config.ws_protocol_class is OwnWebSocket
        config.ws_protocol_class = f"{__name__}:OwnLegacy"
        assert config.ws_protocol_class is OwnLegacy
        config.ws_protocol_class = None
        assert (config.ws, config.ws_protocol_class) == ("none", None)

    def test_what_serves_can_be_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """For a subclass of it, which is given as `http`; or to name it in a log."""
        config: Any = Config("main:app", log_config=None, http="h11")
        assert config.http_protocol_class is H11Protocol
        config.http_protocol_class = config.http_protocol_class
        assert config.http == "h11"
        config.http = MarkingTools
        assert config.http_protocol_class is MarkingTools
        monkeypatch.setitem(sys.modules, "uvicorn", None)
        monkeypatch.setattr(brought_protocols, "_UVICORNS", {("http", "auto"): "uvicorn.protocols.http.gone:Gone"})
        assert Config("main:app", log_config=None).http_protocol_class.__name__ == "Http1Protocol"

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"http": "nowhere:Protocol"}, "option http = 'nowhere:Protocol': there is no module 'nowhere'"),
            ({"ws": "asyncio:Protokoll"}, "option ws = 'asyncio:Protokoll': there is no 'Protokoll' in"),
            ({"http": MarkingH11, "http2": "on"}, "option http2 = 'on': must be off"),
            ({"http": MarkingH11, "proxy_protocol": "v1"}, "option proxy_protocol: must be off"),
        ],
        ids=["module", "class", "HTTP/2", "PROXY protocol"],
    )
    def test_what_cannot_be(self, options: dict[str, Any], says: str) -> None:
        with pytest.raises(ConfigError) as caught:
            brought_protocols.check_brought(Config("main:app", log_config=None, **options))
        assert says in str(caught.value)

    def test_without_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A class of HTTP serves by itself; one of WebSocket needs uvicorn's of HTTP."""
        monkeypatch.setattr(brought_protocols, "_UVICORNS", dict.fromkeys(brought_protocols._UVICORNS, "nowhere:it"))
        config = Config("main:app", log_config=None, http=MarkingH11)
        assert brought_protocols._classes(config) == (MarkingH11, None)
        with pytest.raises(ConfigError, match="option http = 'auto': beside a protocol class"):
            brought_protocols.check_brought(Config("main:app", log_config=None, ws=OwnWebSocket))

    def test_what_it_is_given(self, run: Run) -> None:
        """By uvicorn's names, and whatever else a `Config` has."""
        given: dict[str, Any] = {}

        class Asks(MarkingH11):
            def __init__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
                given.update(config=config, server_state=server_state, app_state=app_state, loop=_loop)
                config.load()
                super().__init__(config, server_state, app_state, _loop)

        async def main() -> None:
            async with Running(App(Tells()), http=Asks, timeout_keep_alive=7, proxy_headers=False) as running:
                peer = await running.ask(get("/", "X-Forwarded-For: 192.0.2.7"))
                assert b" 127.0.0.1 " in (await peer.response()).body
                config = given["config"]
                assert (config.timeout_keep_alive, config.asgi_version, config.is_ssl) == (7, "3.0", False)
                assert (config.http_protocol_class, config.backlog) == (Asks, 2048)
                assert given["loop"] is asyncio.get_running_loop()
                first = given["server_state"].default_headers
                assert dict(first)[b"server"] == b"uvicorn"
                assert given["server_state"].default_headers is first
                connections = given["server_state"].connections
                connections.remove(object())
                (connection,) = cast("Any", running.server.own_runtime.connections)
                assert connection.client == peer.writer.get_extra_info("sockname")
                peer.writer.close()

        run(main())
