"""Which requests are in the application, in words: for the log of a worker that is stopped in the middle of them."""

from __future__ import annotations

from collections.abc import Iterable

from uvicorn_worker.runtime import Exchange

__all__ = ["describe_exchanges"]


def describe_exchanges(exchanges: Iterable[Exchange], now: float) -> list[str]:
    """A line for each request in the application, the oldest first: method, target, age and client.

    `now` is of time.monotonic(). Made of what does not change, so that it can be called from a signal handler.
    """
    running = sorted(exchanges, key=lambda exchange: exchange.started)
    return [_describe(exchange, now) for exchange in running]


def _describe(exchange: Exchange, now: float) -> str:
    scope = exchange.scope
    client = scope["client"]
    # The status of a WebSocket that was accepted; that of any other is not known before it is answered.
    kind = "WebSocket" if getattr(exchange, "status", 0) == 101 else scope["method"]
    target = exchange.target.decode("latin-1")
    peer = "{}:{}".format(*client) if client else "a unix socket"
    return f"{kind} {target} for {max(now - exchange.started, 0.0):.1f} s, from {peer}"
