"""One application of each framework that the agent knows, and of those that it does not."""

from common import event
from newrelic import agent

agent.initialize()
agent.register_application(timeout=20.0)

import blacksheep_grid  # noqa: E402
import falcon_grid  # noqa: E402
import fastapi_grid  # noqa: E402
import litestar_grid  # noqa: E402
import plain_grid  # noqa: E402
import quart_grid  # noqa: E402


def noting(app):
    """What is seen at the end of the answer, of the transaction around it."""

    async def noted(scope, receive, send):
        async def sending(message):
            if message["type"] == "http.response.start":
                transaction = agent.current_transaction()
                event("transaction", transaction.path if transaction else "none")
            await send(message)

        await app(scope, receive, sending)

    return noted


plain, litestar, quart, blacksheep, falcon, fastapi = (
    noting(module.app) for module in (plain_grid, litestar_grid, quart_grid, blacksheep_grid, falcon_grid, fastapi_grid)
)
