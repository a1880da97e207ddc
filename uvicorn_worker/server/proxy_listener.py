"""Accepts connections that begin with a header of the PROXY protocol."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from uvicorn_worker.runtime import Runtime
from uvicorn_worker.server.proxy_protocol import receive_endpoints
from uvicorn_worker.server.tls import handshake_options
from uvicorn_worker.server.trust import Trust

__all__ = ["ProxyListener"]

# How many connections are accepted in one turn of the loop.
_MOST_AT_ONCE = 100
# Seconds to wait where the system has no file descriptor left.
_PAUSE = 1.0


class ProxyListener:
    """Accepts from one listening socket, reads each connection's header, then makes its protocol."""

    def __init__(
        self,
        runtime: Runtime,
        sock: socket.socket,
        factory: Callable[..., asyncio.Protocol],
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self._runtime = runtime
        self._sock = sock
        self._factory = factory
        self._tls_options: dict[str, Any] = {}
        if ssl_context is not None:
            self._tls_options = {"ssl": ssl_context, **handshake_options(runtime.config, runtime.loop)}
        self._trust = Trust(runtime.config.proxy_allow_ips)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        sock.listen(runtime.config.backlog)
        self._listen()

    def close(self) -> None:
        """Accept no more; what was accepted goes on."""
        self._closed = True
        self._runtime.loop.remove_reader(self._sock)

    def _listen(self) -> None:
        if not self._closed:
            self._runtime.loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        loop = self._runtime.loop
        for _ in range(_MOST_AT_ONCE):
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                self._runtime.log.error("No connection can be accepted: %s", exc)
                loop.remove_reader(self._sock)
                loop.call_later(_PAUSE, self._listen)
                return
            sock.setblocking(False)
            task = loop.create_task(self._connect(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, sock: socket.socket) -> None:
        runtime = self._runtime
        endpoints = await receive_endpoints(runtime, sock, self._trust)
        if endpoints is None:
            return
        try:
            await runtime.loop.connect_accepted_socket(lambda: self._factory(endpoints), sock, **self._tls_options)
        except OSError as exc:
            # Also the errors of a TLS handshake.
            runtime.log.debug("Connection ended before its first request: %s", exc)
