"""Config and Server where Linux's and Unix's own are missing, as on Windows: they import, and serve."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# A process of its own: what is taken away there would be missing in the other tests.
SCRIPT = """
import asyncio, os, signal, socket, sys

for name in ("fcntl", "termios", "grp", "pwd", "resource", "uvloop", "gunicorn"):
    sys.modules[name] = None
for name in ("SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGWINCH", "SIGTTIN", "SIGTTOU", "SIGALRM"):
    delattr(signal, name)
for name in ("fork", "register_at_fork", "geteuid", "getuid", "chown", "sched_getaffinity", "memfd_create", "sendfile"):
    if hasattr(os, name):
        delattr(os, name)
if hasattr(socket, "SO_REUSEPORT"):
    del socket.SO_REUSEPORT


class Loop(asyncio.SelectorEventLoop):
    '''Says of nothing when it can be read, and handles no signals.'''

    def add_reader(self, *args):
        raise NotImplementedError

    add_signal_handler = remove_signal_handler = add_writer = add_reader


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


async def ask(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    answer = await reader.read()
    writer.close()
    return answer.endswith(b"\\r\\n\\r\\nhi")


async def main():
    import uvicorn_worker

    server = uvicorn_worker.Server(uvicorn_worker.Config(app, port=0, lifespan="on", log_config=None))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.wait([serving], timeout=0.01)
        assert not serving.done(), await serving
    port = server.servers[0].sockets[0].getsockname()[1]
    print([await ask(port) for _ in range(3)], await asyncio.gather(*(ask(port) for _ in range(3))))
    server.should_exit = True
    await serving


loop = Loop()
loop.run_until_complete(main())
loop.close()
"""


def test_it_serves() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-X", "dev", "-c", SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[True, True, True] [True, True, True]\n", done.stderr
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
