"""Every line of the log is JSON: the application's, the server's, Gunicorn's, and the access log."""

import logging

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

log = logging.getLogger("shop")


async def buy(request: Request) -> JSONResponse:
    log.info("bought", extra={"item": request.path_params["item"]})
    return JSONResponse({"ok": True})


app = Starlette(routes=[Route("/buy/{item}", buy)])
