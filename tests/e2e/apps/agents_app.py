"""Applications under New Relic's agent in developer mode, which answer with the transaction that they see."""

from __future__ import annotations

from typing import Any

from newrelic import agent

agent.initialize()
agent.register_application(timeout=20.0)


async def function(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    transaction = agent.current_transaction()
    body = b"none" if transaction is None else f"{transaction.type} {transaction.path}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


class Instance:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await function(scope, receive, send)


wrapped = agent.ASGIApplicationWrapper(Instance())
