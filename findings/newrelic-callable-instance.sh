#!/usr/bin/env bash
# New Relic 14.1: its ASGI wrapper makes no transaction for an application whose __call__ is no coroutine function.
# ASGI 3 asks for a callable that returns an awaitable. Such a one is taken for ASGI 2, and passed by in silence when it is
# called with three arguments; what the agent itself has wrapped already is such a callable, too.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages newrelic==14.1.0
export NEW_RELIC_DEVELOPER_MODE=true NEW_RELIC_APP_NAME=findings NEW_RELIC_LOG=agent.log
"$PYTHON" - <<'PY' | expect "coroutine function: WebTransaction/Uri/shop, returns an awaitable: none"
import asyncio

from newrelic import agent

agent.initialize()
agent.register_application(timeout=20.0)
SCOPE = {"type": "http", "method": "GET", "path": "/shop", "query_string": b"", "headers": [], "server": None}


async def function(scope, receive, send):
    transaction = agent.current_transaction()
    await send({"type": "seen", "seen": "none" if transaction is None else transaction.path})


class Returning:
    def __call__(self, scope, receive, send):
        return function(scope, receive, send)


async def call(app):
    seen = []

    async def send(message):
        seen.append(message["seen"])

    await agent.ASGIApplicationWrapper(app)(dict(SCOPE), None, send)
    return seen[0]


async def main():
    one, two = [await call(app) for app in (function, Returning())]
    print(f"coroutine function: {one}, returns an awaitable: {two}")


asyncio.run(main())
PY
