"""A server with a log_level: what it sets, and the messages that it logs at `trace`."""

from __future__ import annotations

import logging

from tests.http1.apps import hello
from tests.records import Records, records
from tests.scripted import get
from tests.server.conftest import serving
from tests.sockets import Peer, Run, listen
from uvicorn_worker import Config, Server
from uvicorn_worker.logs.levels import set_levels

__all__ = ["records"]


def test_a_server_logs_messages_at_trace_only(run: Run, records: Records) -> None:
    async def ask(log_level: str) -> list[str]:
        records.kept.clear()
        config = Config(app=hello, log_level=log_level, lifespan="off")
        set_levels(config)
        sock = listen()
        async with serving(hello, sock, log_level=log_level, lifespan="off"):
            await (await Peer.connect(sock)).ask(get())
        return [record.getMessage() for record in records.kept if record.name == "uvicorn.asgi"]

    assert run(ask("debug")) == []
    assert [line.split("] ")[1].split()[0] for line in run(ask("trace"))] == ["Started", "Send", "Send", "Completed"]


def test_serve_sets_the_levels(run: Run, records: Records) -> None:
    async def serve() -> None:
        sock = listen()
        server = Server(Config(app=hello, log_level="error", lifespan="off", timeout_drain_idle=0))
        server.should_exit = True
        await server.serve([sock])
        sock.close()

    run(serve())
    assert logging.getLogger("uvicorn.error").level == logging.ERROR
