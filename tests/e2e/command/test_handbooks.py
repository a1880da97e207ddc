"""`import uvicorn_worker as uvicorn` with what handbooks of uvicorn, FastAPI and Starlette have people type.

Each is as somebody would write it, but for the port, which is a free one.
"""

from __future__ import annotations

import os
import signal
from typing import NamedTuple

import httpx
import pytest

from tests.certificates import new_authority
from tests.e2e.command.harness import Command
from tests.e2e.harness import PATIENCE, until

HELLO = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [[b"content-type", b"text/plain"]]})
    await send({"type": "http.response.body", "body": b"Hello, world!"})
"""
FACTORY = """
def create_app():
    from hello import app
    return app
"""
FASTAPI = """
from contextlib import asynccontextmanager
from fastapi import FastAPI

@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.greeting = "Hello, world!"
    yield

app = FastAPI(lifespan=lifespan)

@app.get("/")
def read_root():
    return {"message": app.state.greeting}
"""
STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

async def numbers():
    for word in ("Hello", ", ", "world!"):
        yield word

async def homepage(request):
    return StreamingResponse(numbers(), media_type="text/plain")

app = Starlette(debug=True, routes=[Route("/", homepage)])
"""
SERVED = {"hello.py": HELLO, "main.py": HELLO, "fact.py": FACTORY, "fast.py": FASTAPI, "star.py": STARLETTE}


class Example(NamedTuple):
    """What is in the file that is run, or on the command line; and what is seen of it."""

    text: str
    sees: str = "Hello, world!"


IMPORT = "import uvicorn_worker as uvicorn\n"
MAIN = "if __name__ == '__main__':\n"

SCRIPTS = {
    "run by name": Example(f"{MAIN}    uvicorn.run('main:app', port=0, log_level='info')"),
    "run an object": Example(f"{HELLO}\n{MAIN}    uvicorn.run(app, host='127.0.0.1', port=0)"),
    "run a factory": Example("uvicorn.run('fact:create_app', factory=True, port=0)"),
    "run with workers": Example(f"{MAIN}    uvicorn.run('main:app', port=0, workers=2)"),
    "run an object with workers": Example(f"{HELLO}\n{MAIN}    uvicorn.run(app, port=0, workers=2)"),
    "run with reload": Example(f"{MAIN}    uvicorn.run('main:app', host='127.0.0.1', port=0, reload=True)"),
    "run behind a proxy": Example(
        "uvicorn.run('main:app', port=0, proxy_headers=True, forwarded_allow_ips='*', root_path='/api')"
    ),
    "run FastAPI": Example(f"from fast import app\n{MAIN}    uvicorn.run(app, host='127.0.0.1', port=0)"),
    "run Starlette": Example(f"from star import app\n{MAIN}    uvicorn.run(app, port=0, access_log=False)"),
    "Config and Server": Example(
        f"{MAIN}    config = uvicorn.Config('main:app', port=0, log_level='info')\n"
        "    server = uvicorn.Server(config)\n    server.run()"
    ),
    "serve in a running loop": Example(
        "import asyncio\nasync def main():\n    config = uvicorn.Config('main:app', port=0, log_level='info')\n"
        f"    server = uvicorn.Server(config)\n    await server.serve()\n{MAIN}    asyncio.run(main())"
    ),
    "serve beside other tasks": Example(
        "import asyncio\nasync def other():\n    while True:\n        await asyncio.sleep(1)\n"
        "async def main():\n    server = uvicorn.Server(uvicorn.Config('main:app', port=0))\n"
        "    task = asyncio.create_task(other())\n    await server.serve()\n    task.cancel()\n"
        "asyncio.run(main())"
    ),
    "two servers in one loop": Example(
        "import asyncio\nasync def main():\n"
        "    first = uvicorn.Server(uvicorn.Config('main:app', port=0))\n"
        "    second = uvicorn.Server(uvicorn.Config('star:app', port=0))\n"
        "    await asyncio.gather(first.serve(), second.serve())\nasyncio.run(main())"
    ),
    "a socket of one's own": Example(
        "config = uvicorn.Config('main:app', port=0)\nserver = uvicorn.Server(config=config)\n"
        "sock = config.bind_socket()\nserver.run(sockets=[sock])"
    ),
    "lines of the log": Example(
        "from uvicorn_worker.config import LOGGING_CONFIG\n"
        "LOGGING_CONFIG['formatters']['default']['fmt'] = 'MINE %(asctime)s %(levelprefix)s %(message)s'\n"
        "LOGGING_CONFIG['formatters']['access']['fmt'] = 'MINE %(client_addr)s \"%(request_line)s\" %(status_code)s'\n"
        "uvicorn.run('main:app', port=0, log_config=LOGGING_CONFIG)"
    ),
    "middleware for proxies": Example(
        "from uvicorn_worker.middleware.proxy_headers import ProxyHeadersMiddleware\nfrom main import app\n"
        "app = ProxyHeadersMiddleware(app, trusted_hosts='*')\nuvicorn.run(app, port=0)"
    ),
    "middleware for WSGI": Example(
        "from uvicorn_worker.middleware.wsgi import WSGIMiddleware\n"
        "def wsgi(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'Hello, world!']\n"
        "uvicorn.run(WSGIMiddleware(wsgi), port=0)"
    ),
    "uvicorn.main": Example("uvicorn.main(['main:app', '--port', '0'])"),
}
LINES = {
    "a name": Example("main:app"),
    "a host": Example("main:app --host 127.0.0.1 --log-level info"),
    "a factory": Example("--factory fact:create_app"),
    "a folder": Example("--app-dir . main:app --no-access-log"),
    "workers": Example("main:app --workers 2 --host 127.0.0.1"),
    "a proxy": Example("main:app --proxy-headers --forwarded-allow-ips='*' --root-path /api/v1"),
    "loop and parsers": Example("main:app --loop asyncio --http h11 --ws websockets --lifespan off"),
    "limits": Example(
        "main:app --limit-concurrency 100 --limit-max-requests 1000 --timeout-keep-alive 5 --backlog 2048"
    ),
    "headers": Example("main:app --header X-Served-By:us --no-server-header --no-date-header"),
    "FastAPI": Example("fast:app --interface asgi3"),
}


WHO = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": scope["client"][0].encode()})
"""


def _first_answer(server: Command) -> httpx.Response | None:
    """None while it does not listen yet: `bind_socket()` has said the address before, as uvicorn's does."""
    try:
        return server.get()
    except httpx.ConnectError:
        return None


def look(server: Command, sees: str) -> None:
    until(lambda: server.url, "its address")
    assert sees in until(lambda: _first_answer(server), "its first answer").text
    server.signal(signal.SIGINT)
    # 0, or that of a server that was told by a signal and raises it again, as uvicorn's does.
    assert server.wait_exit() in (0, -signal.SIGINT, 130, 1)
    assert "ERROR" not in server.log


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script(name: str) -> None:
    example = SCRIPTS[name]
    files = {**SERVED, "script.py": IMPORT + example.text + "\n"}
    with Command(files=files, program=("script.py",)) as server:
        look(server, example.sees)
        if name == "lines of the log":
            assert "MINE 20" in server.log
            assert "MINE 127.0.0.1:" in server.out


def test_what_a_script_does_after_run_is_done_once() -> None:
    """With several processes, too, which are forked within it."""
    text = (
        f"{IMPORT}{MAIN}    import atexit, os\n    atexit.register(lambda: print('exits', flush=True))\n"
        "    try:\n        uvicorn.run('hello:app', host='127.0.0.1', port=0, workers=2, log_level='warning')\n"
        "        print('returned', flush=True)\n"
        "    except SystemExit:\n        print('raised', flush=True)\n"
        "    finally:\n        print('cleans up', flush=True)\n"
        "    raise SystemExit(5)\n"
    )
    hello = HELLO.replace(
        "    assert", "    if scope['type'] == 'lifespan':\n        print('starts', flush=True)\n    assert"
    )
    with Command(files={"hello.py": hello, "script.py": text}, program=("script.py",)) as server:
        until(lambda: server.out.count("starts") == 2, "both workers")
        server.signal(signal.SIGTERM)
        assert server.wait_exit() == 5
        assert [server.out.count(word) for word in ("returned", "raised", "cleans up", "exits")] == [1, 0, 1, 3]
        # The level is heeded by the master, and by its workers.
        assert "INFO" not in server.log


@pytest.mark.parametrize("name", LINES)
def test_a_line(name: str) -> None:
    example = LINES[name]
    with Command(*example.text.replace("'", "").split(), "--port", "0", files=SERVED) as server:
        look(server, example.sees)


def test_what_is_in_the_environment() -> None:
    env = {"UVICORN_HOST": "127.0.0.1", "UVICORN_PORT": "0", "UVICORN_LOG_LEVEL": "info"}
    with Command("main:app", files=SERVED, env=env) as server:
        look(server, "Hello, world!")


@pytest.mark.parametrize("line", [["main:app", "--env-file", "env", "--port", "0"], []])
def test_an_environment_file_says_who_is_believed_and_how_many_serve(line: list[str]) -> None:
    files = {
        "env": "FORWARDED_ALLOW_IPS=192.0.2.1\nWEB_CONCURRENCY=2\n",
        "main.py": WHO,
        "run.py": "import uvicorn_worker as uvicorn\nuvicorn.run('main:app', env_file='env', port=0)\n",
    }
    with Command(*line, files=files, program=("-m", "uvicorn_worker") if line else ("run.py",)) as server:
        assert "2 workers" in server.wait_log("Ready in .*")
        answer = httpx.get(server.url, headers={"x-forwarded-for": "192.0.2.9"}, timeout=PATIENCE, trust_env=False)
        assert answer.text == "127.0.0.1"


def test_a_certificate_and_a_unix_socket() -> None:
    certificate = new_authority().issue_cert("localhost")
    pems = {
        "key.pem": certificate.private_key_pem.bytes().decode(),
        "cert.pem": certificate.cert_chain_pems[0].bytes().decode(),
    }
    with Command(
        "main:app", "--port", "0", "--ssl-keyfile=./key.pem", "--ssl-certfile=./cert.pem", files={**SERVED, **pems}
    ) as server:
        port = server.wait_log(r"(?<=https://127\.0\.0\.1:)\d+")
        with httpx.Client(verify=False, timeout=PATIENCE, trust_env=False) as client:  # noqa: S501 - our own server
            assert client.get(f"https://127.0.0.1:{port}/").text == "Hello, world!"
    with Command("main:app", "--uds", "app.sock", files=SERVED) as server:
        server.wait_log("Ready in")
        transport = httpx.HTTPTransport(uds=os.fspath(server.dir / "app.sock"))
        with httpx.Client(transport=transport, timeout=PATIENCE) as client:
            assert client.get("http://a/").text == "Hello, world!"
