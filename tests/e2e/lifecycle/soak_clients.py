"""Streams that go on for minutes, by real clients and through real proxies, all at once: `make soak SOAK="--clients"`.

    python -m tests.e2e.lifecycle.soak --clients [--seconds 600]

grpcio sends small messages back and forth, directly and through nginx's grpc_pass; twelve listeners share HAProxy's
connections to event streams of small events; and a browser begins two hundred images, leaves them ten times, and then
waits for all of them, again and again. What is not installed is said and left out. Nothing may be cut: the exit code is
0 when every message came back, every event was read, and every image was drawn.
"""

from __future__ import annotations

import json
import queue
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from tests.certificates import Site
from tests.e2e.frontends import haproxy, nginx
from tests.e2e.harness import PATIENCE, Gunicorn
from tests.e2e.http2.conftest import APPS, H2C
from tests.e2e.http2.test_fronts import HAPROXY
from tests.e2e.http2.test_grpc import NGINX, channel
from tests.e2e.websocket.browser import find_chromium, open_page
from tests.programs import find

__all__ = ["run"]

LISTENERS = 12
# Milliseconds between two events: those of a model that writes quickly.
EVENT_PAUSE = 20


def ping_pong(target: str, seconds: float) -> str:
    """Messages of 50 bytes on one stream, each sent when the one before has come back."""
    end = time.monotonic() + seconds
    answers: queue.Queue[bytes] = queue.Queue()
    sent = back = 0

    def messages() -> Iterator[bytes]:
        nonlocal sent
        while time.monotonic() < end:
            sent += 1
            yield sent.to_bytes(5, "big") * 10
            assert answers.get(timeout=PATIENCE) == sent.to_bytes(5, "big") * 10

    with channel(target) as opened:
        for message in opened.stream_stream("/echo.Echo/Talk")(messages(), timeout=seconds + 3 * PATIENCE):
            back += 1
            answers.put(message)
    assert back == sent > 0, f"{back} of {sent} messages came back"
    return f"{back} messages there and back"


def listen(front: Path, seconds: float) -> str:
    """One of the event streams, to its end."""
    count = int(seconds * 1000 / EVENT_PAUSE)
    transport = httpx.HTTPTransport(uds=str(front))
    with (
        httpx.Client(transport=transport, timeout=PATIENCE) as client,
        client.stream("GET", f"http://localhost/tokens?{count},{EVENT_PAUSE}") as response,
    ):
        read = sum(line.startswith("data:") for line in response.iter_lines())
    assert read == count, f"{read} of {count} events were read"
    return f"{read} events"


def browse(url: str, seconds: float) -> str:
    """Two hundred images, begun and left ten times, then all of them."""
    end = time.monotonic() + seconds
    rounds = 0
    with open_page("--ignore-certificate-errors") as page:
        while time.monotonic() < end:
            for number in range(10):
                page.go(f"{url}/images?{rounds}-{number}")
                page.wait("document.images.length === 200")
            page.go(f"{url}/images?{rounds}")
            page.wait("document.images.length === 200 && [...document.images].every(image => image.complete)")
            widths = json.loads(page.run("JSON.stringify([...document.images].map(image => image.naturalWidth))"))
            assert widths == [9] * 200, f"{widths.count(9)} of 200 images were drawn"
            rounds += 1
    return f"{rounds} times 200 images, each after 10 times that they were left"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(seconds: float) -> int:
    """All of them for so long; the exit code."""
    begun: dict[str, Future[str]] = {}
    failed = False
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(LISTENERS + 3))

        def begin(name: str, client: Callable[..., str], *arguments: Any) -> None:
            begun[name] = pool.submit(client, *arguments, seconds)

        server = stack.enter_context(Gunicorn("h2_probe:app", "--pythonpath", APPS, worker=H2C))
        server.wait_started()
        servers = [server]
        begin("grpcio", ping_pong, f"127.0.0.1:{server.port}")
        for name, front, config in (("nginx", nginx, NGINX), ("haproxy", haproxy, HAPROXY)):
            if find(name) is None:
                say(f"{name} is not installed")
                continue
            folder = server.dir / name
            folder.mkdir()
            stack.enter_context(front(folder, config, port=server.port))
            if name == "nginx":
                begin("grpcio through nginx", ping_pong, f"unix:{folder}/front.sock")
            else:
                for number in range(LISTENERS):
                    begin(f"listener {number} behind HAProxy", listen, folder / "front.sock")
        if find_chromium() is None:
            say("Chromium is not installed")
        else:
            (server.dir / "site").mkdir()
            site = Site(server.dir / "site")
            files = ("--certfile", str(site.cert), "--keyfile", str(site.key))
            tls = stack.enter_context(Gunicorn("h2_probe:app", "--pythonpath", APPS, *files, worker=H2C))
            tls.wait_started()
            servers.append(tls)
            begin("Chromium", browse, f"https://localhost:{tls.port}")
        for name, client in begun.items():
            error = client.exception()
            failed = failed or error is not None
            say(f"{name}: {error!r}" if error is not None else f"{name}: {client.result()}")
        for one in servers:
            if any(word in one.log for word in ("ENHANCE_YOUR_CALM", "Traceback", "WORKER TIMEOUT")):
                failed = True
                say(one.log[-5000:])
    return int(failed)
