"""Gunicorn's settings for HTTP/2, by their effect, on the workers that speak it only where they are told to."""

from __future__ import annotations

import socket
from collections.abc import Callable

from gunicorn.config import KNOWN_SETTINGS

from tests.e2e.harness import PATIENCE, Gunicorn
from tests.http2.wire import Client
from uvicorn_worker.http2.engine.codes import FrameType, Setting

Serve = Callable[..., Gunicorn]

KNOWN = {setting.name for setting in KNOWN_SETTINGS}

SETTINGS = {
    "http2_cleartext": "prior-knowledge",
    "http2_max_concurrent_streams": 7,
    "http2_initial_window_size": 70000,
    "http2_max_frame_size": 20000,
    "http2_max_header_list_size": 2000,
}


def ask(port: int, *fields: tuple[bytes, bytes]) -> Client:
    """One request on a connection of its own, and all that the server has sent by the end of its answer."""
    client = Client()
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(client.preface() + client.request(b"/", *fields))
        while 1 not in client.streams or not client.streams[1].ended:
            data = connection.recv(65536)
            assert data
            client.receive(data)
    return client


def test_settings_of_gunicorn(serve: Serve, worker: str) -> None:
    """Of Gunicorn 25 and newer; the same for older ones by the options' own names."""
    if {*SETTINGS, "http_protocols"} <= KNOWN:
        conf = "".join(f"{name} = {value!r}\n" for name, value in SETTINGS.items()) + "http_protocols = 'h2,h1'\n"
    else:
        given = {"http2": "on", **SETTINGS}
        conf = f"raw_env = {[f'UVICORN_{name.upper()}={value}' for name, value in given.items()]}\n"
    server = serve("probe:app", worker=worker, files={"gunicorn.conf.py": conf})
    client = ask(server.port)
    assert client.streams[1].body == b"Hello, world!"
    settings = client.of(FrameType.SETTINGS)[0].settings
    assert settings[Setting.MAX_CONCURRENT_STREAMS] == 7
    assert settings[Setting.INITIAL_WINDOW_SIZE] == 70000
    assert settings[Setting.MAX_FRAME_SIZE] == 20000
    assert settings[Setting.MAX_HEADER_LIST_SIZE] == 2000
    assert ask(server.port, (b"x", b"y" * 2000)).streams[1].status == 431
    with server.connect() as connection:
        # Not by an upgrade, as http2_cleartext says.
        fields = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n"
        connection.send(f"GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
        assert connection.response().status == 200


def test_an_option_that_can_not_be_used_stops_the_start(serve: Serve) -> None:
    env = {"UVICORN_HTTP2_PING_TIMEOUT": "soon"}
    server = serve("probe:app", worker="uvicorn_worker.UvicornH2CWorker", env=env)
    assert server.wait_exit() == 1
    assert "option http2_ping_timeout = 'soon'" in server.log
