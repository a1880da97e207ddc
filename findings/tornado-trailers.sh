#!/usr/bin/env bash
# Tornado 6.6: its own HTTP client can't read a response in chunks that has trailers behind it.
# RFC 9112, 7.1.2: a recipient that takes no interest in trailers may leave them out; the body before them is whole. Tornado
# wants the empty line right behind the last chunk, and fails the request. httpx and curl give the response.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages tornado==6.6.1 httpx==0.28.1
"$PYTHON" - <<'PY' 2> tornado.log | expect "httpx 200 'whole', tornado without trailers: 200 'whole', with them: HTTPStreamClosedError"
import asyncio
import socket
import threading

import httpx
from tornado.httpclient import AsyncHTTPClient

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nwhole\r\n0\r\n"


def serve(sock):
    with sock, sock.makefile("rb") as requests:
        path = requests.readline().split()[1]
        while requests.readline().strip():
            pass
        sock.sendall(HEAD + (b"X-Sum: 42\r\n" if path == b"/trailers" else b"") + b"\r\n")


def accept(listener):
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


async def ask(url):
    try:
        answer = await AsyncHTTPClient().fetch(url)
    except Exception as exc:
        return type(exc).__name__
    return f"{answer.code} '{answer.body.decode()}'"


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=accept, args=(listener,), daemon=True).start()
address = f"http://127.0.0.1:{listener.getsockname()[1]}"
with httpx.Client(trust_env=False) as client:
    answer = client.get(f"{address}/trailers")
print(
    f"httpx {answer.status_code} '{answer.text}', tornado without trailers: {asyncio.run(ask(f'{address}/plain'))}, "
    f"with them: {asyncio.run(ask(f'{address}/trailers'))}"
)
PY
