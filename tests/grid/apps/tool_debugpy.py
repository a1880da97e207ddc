import debugpy
from common import event
from plain_grid import app as plain

listening = []


async def app(scope, receive, send):
    if not listening:
        listening.append(debugpy.listen(("127.0.0.1", 0)))
        event("debugpy", listening[0][1])
    await plain(scope, receive, send)
