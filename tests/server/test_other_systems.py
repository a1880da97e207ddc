"""Config and Server where Linux's and Unix's own are missing, as on Windows, macOS and BSD: they import, and serve."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

# What is taken away in a process of its own, where it would be missing in the other tests. asyncio has been imported by
# then, since it is this system's.
WINDOWS = """
class Loop(asyncio.SelectorEventLoop):
    '''Says of nothing when it can be read, and handles no signals.'''

    def add_reader(self, *args):
        raise NotImplementedError

    add_signal_handler = remove_signal_handler = add_writer = add_reader


loop = Loop()
# How asyncio makes loops is settled when the first is made.
asyncio.new_event_loop().close()
# There it is made of two TCP sockets.
socket.socketpair = functools.partial(socket.socketpair, socket.AF_UNIX)
for name in ("fcntl", "termios", "tty", "pty", "grp", "pwd", "resource", "syslog", "uvloop", "gunicorn"):
    sys.modules[name] = None
for name in (
    *("SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGWINCH", "SIGTTIN", "SIGTTOU", "SIGALRM", "SIGKILL"),
    *("SIGPIPE", "pthread_sigmask", "setitimer", "siginterrupt"),
):
    delattr(signal, name)
for name in (
    *("fork", "register_at_fork", "geteuid", "getuid", "getegid", "getgid", "chown", "fchown", "killpg", "setsid"),
    *("sched_getaffinity", "memfd_create", "sendfile", "pread", "preadv", "posix_fadvise", "sysconf", "RWF_NOWAIT"),
    *("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_DIRECTORY", "O_NOFOLLOW", "WNOHANG", "mkfifo", "uname", "getloadavg"),
):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SO_REUSEPORT", "AF_UNIX", "SO_PEERCRED", "TCP_CORK", "TCP_USER_TIMEOUT", "TCP_DEFER_ACCEPT", "TCP_INFO"):
    if hasattr(socket, name):
        delattr(socket, name)
for name in ("MSG_DONTWAIT", "MSG_NOSIGNAL", "SO_DOMAIN", "SO_PROTOCOL", "SOCK_NONBLOCK", "SOCK_CLOEXEC"):
    if hasattr(socket, name):
        delattr(socket, name)
for name in ("writev", "readv", "pwrite", "pwritev", "pipe2", "get_blocking", "set_blocking", "waitid", "tcgetpgrp"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("poll", "epoll", "PIPE_BUF"):
    if hasattr(select, name):
        delattr(select, name)
# It counts by what is missing.
os.process_cpu_count = os.cpu_count
sys.platform = "win32"
"""

# None of Linux's calls and none of its options of sockets; the rest of Unix is there.
BSD = """
import termios

for name in ("memfd_create", "sched_getaffinity", "preadv", "posix_fadvise", "RWF_NOWAIT", "O_PATH", "pidfd_open"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SO_PEERCRED", "TCP_CORK", "TCP_USER_TIMEOUT", "TCP_DEFER_ACCEPT", "TCP_INFO", "TCP_QUICKACK", "SO_MARK"):
    if hasattr(socket, name):
        delattr(socket, name)
del termios.TIOCOUTQ, select.epoll
sys.platform = "darwin"

loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
"""

SCRIPT = """
import asyncio, functools, os, select, selectors, signal, socket, sys, tempfile

{system}

def not_in_proc(event, args):
    if event in ("open", "os.listdir", "os.scandir") and str(args[0]).startswith("/proc"):
        raise FileNotFoundError(2, "No such file or directory", args[0])


sys.addaudithook(not_in_proc)
FILE = tempfile.NamedTemporaryFile()
FILE.write(b"x" * 1_000_000)
FILE.flush()
told = []


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
    elif scope["type"] == "websocket":
        await receive()
        await send({{"type": "websocket.accept"}})
        await send({{"type": "websocket.send", "text": (await receive())["text"]}})
        await receive()
    elif scope["path"] == "/file":
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.pathsend", "path": FILE.name}})
    else:
        await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}})
        await send({{"type": "http.response.body", "body": b"hi"}})


def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"hi"]


async def ask(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {{path}} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\\r\\n\\r\\n")[2]


async def talk(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: upgrade\\r\\nUpgrade: websocket\\r\\n"
        b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n"
    )
    await reader.readuntil(b"\\r\\n\\r\\n")
    # A masked text, and a close; the mask is zero.
    writer.write(b"\\x81\\x85\\0\\0\\0\\0hello" + b"\\x88\\x82\\0\\0\\0\\0\\x03\\xe8")
    answer = await reader.read()
    writer.close()
    return answer


async def main():
    import uvicorn_worker

    parsers = ("httptools", "h11")
    for served, options in (*((app, {{"http": parser}}) for parser in parsers), (wsgi, {{"interface": "wsgi"}})):
        server = uvicorn_worker.Server(uvicorn_worker.Config(served, port=0, access_log=True, **options))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.wait([serving], timeout=0.01)
            assert not serving.done(), await serving
        port = server.servers[0].sockets[0].getsockname()[1]
        one_by_one = [await ask(port, "/") for _ in range(2)]
        told.append(one_by_one + await asyncio.gather(*(ask(port, "/") for _ in range(2))))
        if served is app:
            told.append((len(await ask(port, "/file")), await talk(port)))
        server.should_exit = True
        await serving


loop.run_until_complete(main())
loop.close()
print(*told, sep="\\n")
"""

HI = "[b'hi', b'hi', b'hi', b'hi']"
MORE = r"(1000000, b'\x81\x05hello\x88\x02\x03\xe8')"


@pytest.mark.parametrize("system", [WINDOWS, BSD], ids=["Windows", "BSD"])
def test_it_serves(system: str) -> None:
    pytest.importorskip("httptools")
    # What it prints itself comes when it ends, behind all access lines.
    own = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": ""}
    environment = {**os.environ, **own}
    command = [sys.executable, "-X", "dev", "-c", SCRIPT.format(system=system)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    *access, a, b, c, d, e = done.stdout.splitlines() or [""] * 5
    assert [a, b, c, d, e] == [HI, MORE, HI, MORE, HI], done.stderr
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in access if line.endswith('"GET / HTTP/1.1" 200 OK')]) == 12, access
