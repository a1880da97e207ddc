"""A page in a real Chromium without a window, driven over its DevTools protocol."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.e2e.harness import PATIENCE, until

__all__ = ["Page", "PageError", "find_chromium", "open_page"]

# No sandbox, since tests may run as root; nothing that would call home.
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A page that is left is gone, not kept for "back".
    "--disable-features=BackForwardCache",
    "--remote-debugging-port=0",
)


def find_chromium() -> str | None:
    """The program; None where it is not installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


# A page of two hundred images takes its time on a loaded machine. Less than what ends a whole process of tests.
PAGE_PATIENCE = 2 * PATIENCE
# A question that meets the change from one page to the next may get no answer at all: then it is asked again.
ANSWER_PATIENCE = PATIENCE / 4


class PageError(Exception):
    """The browser could not do it; the argument is what it said."""


class Page:
    """A page that can be asked, and told, in JavaScript."""

    def __init__(self, devtools: ClientConnection) -> None:
        self._devtools = devtools
        self._numbers = itertools.count(1)
        # Why requests have failed, as net::ERR_..., once `watch_failures()` was called; those that were left have not.
        self.failures: list[str] = []

    def _call(self, method: str, patience: float = PAGE_PATIENCE, **params: Any) -> Any:
        number = next(self._numbers)
        self._devtools.send(json.dumps({"id": number, "method": method, "params": params}))
        deadline = time.monotonic() + patience
        while True:
            answer = json.loads(self._devtools.recv(max(0, deadline - time.monotonic())))
            if answer.get("id") == number:
                if "error" in answer:
                    raise PageError(answer["error"])
                return answer["result"]
            if answer.get("method") == "Network.loadingFailed" and not answer["params"].get("canceled"):
                self.failures.append(answer["params"]["errorText"])

    def watch_failures(self) -> None:
        """Note in `failures` what fails from now on; what is known of it when an answer comes is there."""
        self._call("Network.enable")

    def go(self, url: str) -> None:
        result = self._call("Page.navigate", url=url)
        if result.get("errorText"):
            raise PageError(result)

    def before_each_page(self, script: str) -> None:
        """Run a script in each page from now on, before its own ones."""
        self._call("Page.enable")
        self._call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def look(self, width: int, colours: str) -> None:
        """The width of the window in pixels, and the colours that its owner likes: `light` or `dark`."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": colours}])

    def run(self, script: str, patience: float = PAGE_PATIENCE, *, promised: bool = False) -> Any:
        """The value of an expression, or the one that it promises."""
        result = self._call("Runtime.evaluate", patience, expression=script, returnByValue=True, awaitPromise=promised)
        if "exceptionDetails" in result:
            raise PageError(result)
        return result["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until an expression is true; while the page is loaded, it may be an error."""

        def is_true() -> bool:
            with suppress(PageError, TimeoutError):
                return bool(self.run(script, ANSWER_PATIENCE))
            return False

        until(is_true, f"{script!r} in the page", PAGE_PATIENCE)


@contextmanager
def open_page(*options: str) -> Iterator[Page]:
    """A page of a browser of its own, started with these options beside the usual ones."""
    program = find_chromium()
    assert program is not None
    folder = Path(tempfile.mkdtemp(prefix="chromium-"))
    # The home too, since it writes to other folders there.
    env = {**os.environ, "HOME": str(folder)}
    command = [program, *OPTIONS, *options, f"--user-data-dir={folder}", "about:blank"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
    try:
        port = until(lambda: _port(folder, process), "Chromium")
        with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
            targets = client.get(f"http://127.0.0.1:{port}/json/list").json()
        (address,) = [target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"]
        # The socket is made here, so that proxies of the environment have no say.
        sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        sock.settimeout(None)
        with connect(address, sock=sock, max_size=None, compression=None) as devtools:
            yield Page(devtools)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _port(folder: Path, process: subprocess.Popen[bytes]) -> int | None:
    assert process.poll() is None, (folder / "log").read_text(errors="replace")[-2000:]
    try:
        first, *_ = (folder / "DevToolsActivePort").read_text().splitlines()
    except (OSError, ValueError):
        return None
    return int(first)
