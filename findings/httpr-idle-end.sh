#!/usr/bin/env bash
# httpr 0.7: a GET fails on a connection that the server has ended, in order and long before, while it was idle.
# RFC 9112, 9.3.1 and 9.5: connections end at any time, and a client may send a GET again by itself. reqwest, which httpr is
# made of, sees such ends where it runs between requests, and takes another connection; here nothing runs between two calls.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages httpr==0.7.8 httpx==0.28.1
"$PYTHON" - <<'PY' | expect "httpr: 200, RequestError, 200; httpx: 200, 200, 200"
import socket
import threading
import time

import httpr
import httpx


def serve_one(sock):
    sock.settimeout(0.3)
    try:
        while sock.recv(65536):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except TimeoutError:
        pass
    sock.close()


def serve(listener):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve_one, args=(sock,), daemon=True).start()


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
url = f"http://127.0.0.1:{listener.getsockname()[1]}/"


def three_gets(client):
    seen = []
    for pause in (0, 2, 0):
        time.sleep(pause)
        try:
            seen.append(str(client.get(url).status_code))
        except Exception as exc:
            seen.append(type(exc).__name__)
    return ", ".join(seen)


print(f"httpr: {three_gets(httpr.Client(timeout=10))}; httpx: {three_gets(httpx.Client(trust_env=False, timeout=10))}")
PY
