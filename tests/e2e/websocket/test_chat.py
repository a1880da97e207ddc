"""examples/chat: served as its readers serve it, and used in a real browser through nginx."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.frontends import nginx_user, running, temporary_paths
from tests.e2e.harness import PATIENCE, Gunicorn, alive, control_socket_option, until
from tests.e2e.websocket.browser import find_chromium, open_page
from tests.e2e.websocket.client import open_socket
from tests.sockets import free_port

Serve = Callable[..., Gunicorn]

CHAT = Path(__file__).parents[3] / "examples" / "chat"

pytestmark = pytest.mark.skipif(not CHAT.is_dir(), reason="examples/ is not here")


def start(serve: Serve, worker: str) -> Gunicorn:
    # The address of its gunicorn.conf.py may be taken here; the other worker serves it as well.
    override = " ".join(("--bind 127.0.0.1:0", "--worker-class", worker, *control_socket_option()))
    return serve(copy=CHAT, argv=["app:app"], env={"GUNICORN_CMD_ARGS": override})


def test_a_room(serve: Serve, worker: str) -> None:
    server = start(serve, worker)
    assert "new WebSocket(" in server.get().text
    with open_socket(server, "/chat") as one, open_socket(server, "/chat") as two:
        one.send("hello <b>")
        assert one.recv(PATIENCE) == two.recv(PATIENCE) == "hello <b>"
        two.close()
        one.send("alone")
        assert one.recv(PATIENCE) == "alone"
        assert len(server.workers()) == 1
        assert server.stop_gracefully() == 0
    assert until(lambda: server.out.count(" 101 "), "access lines") == 2
    assert "Traceback" not in server.log
    assert "[WARNING]" not in server.log


@contextmanager
def nginx(folder: Path, application: int) -> Iterator[int]:
    """nginx with the configuration of the example; gives its port."""
    port = free_port()
    text = (CHAT / "nginx.conf").read_text()
    for old, new in (
        ("127.0.0.1:8000", f"127.0.0.1:{application}"),
        ("127.0.0.1:8080", f"127.0.0.1:{port}"),
        ("http {", f"http {{ access_log off; {temporary_paths(folder)}"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(text)
    settings = f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr; {nginx_user()}"
    arguments = ["-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", settings]
    with running("nginx", arguments, folder) as process:
        until(lambda: process.poll() is not None or _listens(port), "nginx")
        yield port


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


def says(text: str) -> str:
    """JavaScript that writes a message and presses the button."""
    field = f"document.getElementById('text').value = {json.dumps(text)}"
    return f"{field}; document.querySelector('button').click()"


def shown(*texts: str) -> str:
    """JavaScript that is true when these messages are shown, and no others."""
    items = "Array.from(document.querySelectorAll('#messages li'), item => item.textContent)"
    # Escaped, as JSON.stringify does not.
    return f"JSON.stringify({items}) === JSON.stringify({json.dumps(list(texts))})"


def on_each_connection(script: str) -> str:
    """JavaScript that does this once on each connection of the page, when it is open."""
    is_new = "socket !== window.spoken && socket.readyState === WebSocket.OPEN"
    return f"(() => {{ if ({is_new}) {{ window.spoken = socket; {script}; }} }})()"


CONNECTED = "document.getElementById('status')?.textContent === 'connected'"


@pytest.mark.skipif(find_chromium() is None, reason="chromium is not installed")
def test_in_a_browser_through_nginx(serve: Serve, worker: str) -> None:
    server = start(serve, worker)
    with nginx(server.dir, server.port) as port, open_page() as page:
        page.go(f"http://127.0.0.1:{port}/")
        page.wait(CONNECTED)
        page.run(says("hello"))
        page.wait(shown("hello"))

        # Others in the room, with what would be markup.
        with open_socket(server, "/chat") as other:
            page.run(says("grüß dich 𝄞"))
            assert other.recv(PATIENCE) == "grüß dich 𝄞"
            other.send("<b>bold</b>")
            page.wait(shown("hello", "grüß dich 𝄞", "<b>bold</b>"))

        # A restart: the page is told, and comes back by itself.
        (before,) = server.workers()
        page.run("window.spoken = socket; null")
        server.signal(signal.SIGHUP)
        # Well within its graceful_timeout, since nothing holds it.
        until(lambda: not alive(before), "the end of the worker")
        # It may have come back to the one that leaves, and not have heard of the end yet: what it says there is lost.
        back = shown("hello", "grüß dich 𝄞", "<b>bold</b>", "back")
        page.wait(f"({on_each_connection(says('back'))}, {back})")
    assert "Traceback" not in server.log
