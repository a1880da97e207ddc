"""Streams that go on for minutes, by real clients and through real proxies, all at once: `make soak SOAK="--clients"`.

    python -m tests.e2e.lifecycle.soak --clients [--seconds 600]

grpcio sends small messages back and forth, directly and through nginx's grpc_pass; twelve listeners share HAProxy's
connections to event streams of small events; and a browser begins images, leaves them, waits for all of
them, and does the same with fetches, again and again, while the workers that answer it are reloaded (HUP) and recycled
(max_requests). What is not installed is said and left out. Nothing may be cut: the exit code is 0 when every message
came back, every event was read, every image was drawn, and every fetch was answered, but for what Chromium has not sent
(tests/e2e/http2/reloading.py).
"""

from __future__ import annotations

import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.certificates import Site
from tests.e2e.frontends import haproxy, nginx
from tests.e2e.harness import PATIENCE, Gunicorn, until
from tests.e2e.http2.conftest import APPS, H2C
from tests.e2e.http2.reloading import AT_ONCE, reload_fetches, reload_images
from tests.e2e.http2.test_fronts import HAPROXY
from tests.e2e.http2.test_grpc import NGINX, channel
from tests.e2e.websocket.browser import find_chromium, open_page
from tests.programs import find

__all__ = ["run"]

LISTENERS = 12
# Milliseconds between two events: those of a model that writes quickly.
EVENT_PAUSE = 20
# How often the browser leaves what it has begun before it waits for all of it.
LEFT = 3
# After how many rounds the workers are reloaded.
RELOAD_EACH = 4
# The workers that answer the browser, and what recycles them: each after a few rounds.
WORKERS = 2
RECYCLED = ("--max-requests", "600", "--max-requests-jitter", "600", "--graceful-timeout", "20", "--keep-alive", "75")


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


def gone(server: Gunicorn, workers: set[int]) -> bool:
    return workers.isdisjoint(server.workers())


def browse(server: Gunicorn, seconds: float) -> str:
    """Images, and as many fetches, begun and left and waited for, from workers that are replaced."""
    end = time.monotonic() + seconds
    url = f"https://localhost:{server.port}"
    rounds = images = fetches = reloads = 0
    with open_page("--ignore-certificate-errors") as page:
        page.watch_failures()
        while time.monotonic() < end:
            images += reload_images(page, url, f"images-{rounds}", LEFT, AT_ONCE)
            # Each reload is over before the next, or there would be more and more workers that end.
            old = set(server.workers()) if rounds % RELOAD_EACH == 1 else set[int]()
            if old:
                server.signal(signal.SIGHUP)
                reloads += 1
            fetches += reload_fetches(page, f"fetches-{rounds}", LEFT, AT_ONCE)
            until(partial(gone, server, old), "the end of the old workers", 3 * PATIENCE)
            rounds += 1
    workers = len({event.pid for event in server.events("startup")})
    # The first are no replacement, nor are those of a reload.
    recycled = workers - WORKERS * (1 + reloads)
    return (
        f"{rounds} rounds, {images} images and {fetches} fetches, {reloads} reloads, {recycled} workers recycled; "
        f"none failed that was sent, {len(page.failures)} were not"
    )


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
        # Its limit on bodies is one on streams, too.
        endless = NGINX.replace("location / {{", "client_max_body_size 0;\n    location / {{")
        for name, front, config in (("nginx", nginx, endless), ("haproxy", haproxy, HAPROXY)):
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
            options = ("--pythonpath", APPS, *files, *RECYCLED)
            tls = stack.enter_context(Gunicorn("h2_probe:app", *options, worker=H2C, workers=WORKERS))
            tls.wait_started(WORKERS)
            servers.append(tls)
            begin("Chromium", browse, tls)
        for name, client in begun.items():
            error = client.exception()
            failed = failed or error is not None
            say(f"{name}: {error!r}" if error is not None else f"{name}: {client.result()}")
        for one in servers:
            if any(word in one.log for word in ("ENHANCE_YOUR_CALM", "Traceback", "WORKER TIMEOUT")):
                failed = True
                say(one.log[-5000:])
    return int(failed)
