"""What a server listens on that is given no sockets: addresses, paths, descriptors."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.http1.apps import hello
from tests.scripted import get
from tests.server.running import App
from tests.sockets import Peer, Run
from uvicorn_worker import BindError, Config, ConfigError, Server
from uvicorn_worker.server.binding import bind, bind_path, urls_of


def config(**options: Any) -> Config:
    return Config(App(), **{"port": 0, "timeout_drain_idle": 0, "timeout_graceful_shutdown": 1, **options})


async def ask(server: Server) -> int:
    """The status of a request to each thing that is listened on, which must be the same."""
    statuses = set()
    for listening in server.servers:
        peer = await Peer.connect(listening.sockets[0])
        statuses.add((await peer.ask(get())).status)
        await peer.close()
    (status,) = statuses
    return int(status)


def refused(run: Run, server: Server, match: str) -> None:
    """It can't be bound; one that comes out of a task ends its loop."""

    async def main() -> None:
        with pytest.raises(BindError, match=match):
            await server.serve()

    run(main())


class TestAddresses:
    def test_port_0(self, run: Run) -> None:
        async def main() -> None:
            async with Server(config()) as server:
                assert server.servers[0].sockets[0].getsockname()[0] == "127.0.0.1"
                assert server.servers[0].is_serving()
                assert await ask(server) == 200
                assert server.server_state.total_requests == 1
                assert (b"server", b"uvicorn") in server.server_state.default_headers
            assert not server.servers[0].is_serving()

        run(main())

    def test_a_name_with_several_addresses_has_one_port(self, run: Run) -> None:
        async def main() -> None:
            async with Server(config(host="localhost")) as server:
                assert len({each.sockets[0].getsockname()[1] for each in server.servers}) == 1
                assert await ask(server) == 200

        run(main())

    @pytest.mark.parametrize("hosts", [["127.0.0.1", "127.0.0.2"], ("127.0.0.1", "127.0.0.2", "127.0.0.1")])
    def test_several_hosts(self, run: Run, hosts: Any) -> None:
        """As asyncio takes them, and so uvicorn does; each address once, and all with one port."""

        async def main() -> None:
            async with Server(config(host=hosts)) as server:
                names = [each.sockets[0].getsockname() for each in server.servers]
                assert [name[0] for name in names] == ["127.0.0.1", "127.0.0.2"]
                assert len({name[1] for name in names}) == 1
                assert await ask(server) == 200

        if sys.platform != "linux":
            pytest.skip("elsewhere 127.0.0.2 is nobody's")
        run(main())

    def test_all_addresses_of_both_families(self, run: Run) -> None:
        async def main() -> None:
            try:
                socket.create_server(("::1", 0), family=socket.AF_INET6).close()
            except OSError:
                pytest.skip("there is no IPv6 here")
            async with Server(config(host=["::", "0.0.0.0"])) as server:
                assert [each.sockets[0].getsockname()[0] for each in server.servers] == ["::", "0.0.0.0"]

        run(main())

    def test_one_of_several_hosts_that_is_none(self, run: Run) -> None:
        refused(run, Server(config(host=["127.0.0.1", "no-such-host.invalid"])), r"host 'no-such-host\.invalid' has no")

    @pytest.mark.parametrize("host", [[], [1], b"127.0.0.1", 127])
    def test_what_is_no_host(self, host: Any) -> None:
        with pytest.raises(ConfigError, match=r"option host = .*: must be None, a string, or a list of strings"):
            config(host=host)

    def test_ipv6(self, run: Run) -> None:
        async def main() -> None:
            try:
                socket.create_server(("::1", 0), family=socket.AF_INET6).close()
            except OSError:
                pytest.skip("there is no IPv6 here")
            async with Server(config(host="::1")) as server:
                assert await ask(server) == 200

        run(main())

    @pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no socket is for both families here")
    def test_all_addresses_of_ipv6_are_those_of_ipv4_too(self) -> None:
        """As with Gunicorn, and with uvicorn's `--workers` and `--reload`; but for IPv4 that somebody else serves.

        A server alone is on IPv6 alone, as uvicorn's is: another may be on `0.0.0.0` and the same port.
        """
        (sock,) = bind("::", 0, None, None).sockets
        with sock:
            sock.listen()
            port = sock.getsockname()[1]
            for address in ("127.0.0.1", "::1"):
                socket.create_connection((address, port), 5).close()
        with socket.create_server(("0.0.0.0", 0)) as others:
            (sock,) = bind("::", others.getsockname()[1], None, None).sockets
            with sock:
                assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)

    @pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 here")
    def test_a_server_alone_leaves_ipv4_to_another(self, run: Run) -> None:
        async def main() -> None:
            async with Server(config(host="::")) as first:
                port = first.servers[0].sockets[0].getsockname()[1]
                async with Server(config(host="0.0.0.0", port=port)) as second:
                    assert second.started

        run(main())

    def test_several_servers_in_one_loop(self, run: Run) -> None:
        async def main() -> None:
            async with Server(config()) as first, Server(config()) as second:
                assert await ask(first) == await ask(second) == 200

        run(main())

    def test_a_port_that_is_taken(self, run: Run) -> None:
        app = App()

        async def main() -> None:
            with socket.create_server(("127.0.0.1", 0)) as taken:
                port = taken.getsockname()[1]
                with pytest.raises(
                    BindError, match=rf"^127\.0\.0\.1:{port} can't be bound: process {os.getpid()} .* has it"
                ):
                    await Server(Config(app, port=port)).serve()

        run(main())
        # The application was not even started.
        assert app.events == []

    def test_a_host_that_is_none(self, run: Run) -> None:
        refused(run, Server(config(host="no-such-host.invalid")), r"host 'no-such-host\.invalid' has no address")


class TestWhereItIs:
    def test_a_name(self) -> None:
        """As with uvicorn: a login leads back to the name, not to one of its addresses."""
        bound = bind("localhost", 0, None, None)
        port = bound.sockets[0].getsockname()[1]
        try:
            assert urls_of([*bound.sockets, bound.sockets[0]], "localhost", secure=False) == [
                f"http://localhost:{port}"
            ]
        finally:
            bound.close()

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1", None, "", ["localhost", "127.0.0.1"]])
    def test_an_address(self, host: Any) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            assert urls_of([sock], host, secure=True) == [f"https://127.0.0.1:{sock.getsockname()[1]}"]


class TestPaths:
    def test_it_is_made_and_taken_away(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "app.sock"

        async def main() -> None:
            async with Server(config(uds=str(path))) as server:
                assert stat.S_IMODE(path.stat().st_mode) == 0o666
                assert await ask(server) == 200
            assert not path.exists()

        run(main())

    def test_a_stale_one_is_replaced_and_keeps_its_permissions(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "app.sock"
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(str(path))
        stale.close()
        path.chmod(0o660)

        async def main() -> None:
            async with Server(config(uds=path)) as server:
                assert stat.S_IMODE(path.stat().st_mode) == 0o660
                assert await ask(server) == 200

        run(main())

    def test_where_there_are_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # As in Python on Windows.
        with monkeypatch.context() as patch:
            patch.delattr(socket, "AF_UNIX")
            with pytest.raises(BindError, match=r"app\.sock: Python has no unix sockets on this system"):
                bind_path(str(tmp_path / "app.sock"))

    def test_one_that_is_listened_on_is_left_alone(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "app.sock"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
            sock.listen()
            refused(run, Server(config(uds=str(path))), "listens there")
        assert path.exists()

    def test_a_file_is_left_alone(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "app.sock"
        path.write_text("something")
        refused(run, Server(config(uds=str(path))), "something else that is no socket")
        assert path.read_text() == "something"


def test_a_descriptor(run: Run) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as inherited:
            async with Server(config(fd=inherited.fileno())) as server:
                assert server.servers[0].sockets[0].getsockname() == inherited.getsockname()
                assert await ask(server) == 200

    run(main())


def test_a_descriptor_that_is_none(run: Run) -> None:
    refused(run, Server(config(fd=9999)), "can't be served")


def test_bind_socket_is_for_serve(run: Run) -> None:
    async def main() -> None:
        sock = config().bind_socket()
        assert os.get_inheritable(sock.fileno())
        server = Server(config())
        task = asyncio.ensure_future(server.serve(sockets=[sock]))
        while not server.started:
            await asyncio.sleep(0.01)
        assert await ask(server) == 200
        server.should_exit = True
        await task
        assert sock.fileno() == -1

    run(main())


class TestConfig:
    def test_the_order_is_uvicorns(self) -> None:
        made = Config("main:app", "0.0.0.0", 80, None, None, "asyncio", "h11")
        assert (made.app, made.host, made.port, made.loop, made.http) == ("main:app", "0.0.0.0", 80, "asyncio", "h11")

    def test_it_is_that_of_the_installed_uvicorn(self) -> None:
        import inspect

        uvicorn = pytest.importorskip("uvicorn")
        for name, parameter in inspect.signature(uvicorn.Config).parameters.items():
            if name not in ("app", "ssl_context_factory", "callback_notify", "log_config", "ssl_version"):
                Config("main:app", **{name: parameter.default})

    def test_it_is_checked_when_it_is_assigned(self) -> None:
        made = Config(hello)
        made.__setattr__("lifespan", "OFF")
        assert made.lifespan == "off"
        with pytest.raises(ConfigError, match="option lifespan = 'maybe'"):
            made.__setattr__("lifespan", "maybe")
        with pytest.raises(ConfigError, match="option port = 70000"):
            made.port = 70000
        assert made.lifespan == "off"

    @pytest.mark.parametrize("options", [{"no_such": 1}, {"port": -1}, {"workers": -1}])
    def test_a_mistake(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            Config(hello, **options)

    def test_what_uvicorns_has_besides(self) -> None:
        made = Config("main:app", reload=True, workers=2, ssl_certfile="some.pem", interface="asgi2")
        assert (made.should_reload, made.use_subprocess, made.is_ssl, made.asgi_version) == (True, True, True, "2.0")
        assert not Config(hello, reload=True).should_reload
        made = Config(hello, proxy_headers=False)
        assert not made.loaded
        made.load()
        assert made.loaded_app is hello


class TestWhatIsThere:
    """Machines and users that can't have everything."""

    @staticmethod
    def refuse(monkeypatch: pytest.MonkeyPatch, number: int, family: socket.AddressFamily) -> None:
        """The system refuses to bind sockets of a family, with this errno."""
        bind_it = socket.socket.bind

        def refusing(sock: socket.socket, address: Any) -> None:
            if sock.family == family:
                raise OSError(number, os.strerror(number))
            bind_it(sock, address)

        monkeypatch.setattr(socket.socket, "bind", refusing)
        addresses = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: addresses)

    def test_an_address_of_a_family_that_is_not_spoken_is_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refuse(monkeypatch, errno.EADDRNOTAVAIL, socket.AF_INET6)
        (sock,) = bind("localhost", 0, None, None).sockets
        assert sock.family == socket.AF_INET
        sock.close()

    def test_what_is_bound_already_is_given_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refuse(monkeypatch, errno.EACCES, socket.AF_INET)
        with pytest.raises(BindError, match="localhost:80 can't be bound: ports below 1024 need a privilege"):
            bind("localhost", 80, None, None)

    def test_none_of_them_can_be_had(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refuse(monkeypatch, errno.EADDRNOTAVAIL, socket.AF_INET)

        def refusing(sock: socket.socket, address: Any) -> None:
            raise OSError(errno.EADDRNOTAVAIL, "Not here")

        monkeypatch.setattr(socket.socket, "bind", refusing)
        with pytest.raises(BindError, match="localhost:0 can't be bound: Not here"):
            bind("localhost", 0, None, None)

    def test_a_path_whose_folder_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(BindError, match="can't be bound: No such file"):
            bind(None, 0, str(tmp_path / "no" / "s"), None)

    def test_a_queue_that_is_full_is_somebodys(self, tmp_path: Path) -> None:
        path = str(tmp_path / "s")
        clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path)
            sock.listen(0)
            for client in clients:
                client.setblocking(False)
                client.connect_ex(path)
            with pytest.raises(BindError, match="listens there"):
                bind(None, 0, path, None)
        for client in clients:
            client.close()
