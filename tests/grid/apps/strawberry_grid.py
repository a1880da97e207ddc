"""GraphQL: queries, and a subscription over a WebSocket, beside Starlette's routes."""

from __future__ import annotations

import typing

import strawberry
from common import event
from starlette_grid import app, go
from strawberry.asgi import GraphQL


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str) -> str:
        return f"hello {name}"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def gated(self) -> typing.AsyncGenerator[str, None]:
        try:
            yield "first"
            await go.wait()
            yield "last"
            while True:
                await go.wait()
        finally:
            event("subscription-left")


app.mount("/graphql", GraphQL(strawberry.Schema(Query, subscription=Subscription)))
