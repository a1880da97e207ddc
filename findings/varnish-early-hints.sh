#!/usr/bin/env bash
# Varnish 7.1: where the backend sends 103 Early Hints before its response, the client is answered 503.
# RFC 9110, 15.2: a client must be able to parse one or more 1xx responses before the final one, and a proxy must forward
# them, or may discard them. Here any of them, 100 included, ends the fetch; VCL sees nothing of it, and cannot mend it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
VARNISH=$(PATH=$PATH:/usr/sbin command -v varnishd) || { echo "varnishd is not installed" >&2; exit 1; }
packages
"$VARNISH" -V 2>&1 | head -n 1
"$PYTHON" - "$VARNISH" <<'PY' | expect "without: 200; behind 100: 503; behind 103: 503"
import os
import socket
import subprocess
import sys
import threading
import time

INTERIM = {"/without": b"", "/100": b"HTTP/1.1 100 Continue\r\n\r\n", "/103": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"}
listener = socket.create_server(("127.0.0.1", 0))


def serve():
    while True:
        sock, _ = listener.accept()
        with sock:
            path = sock.recv(65536).split()[1].decode()
            sock.sendall(INTERIM[path] + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


threading.Thread(target=serve, daemon=True).start()
front, name = os.path.abspath("front.sock"), os.path.abspath("varnish")
command = [sys.argv[1], "-j", "none", "-F", "-n", name, "-a", front, "-b", f"127.0.0.1:{listener.getsockname()[1]}", "-s", "malloc,16m"]
varnish = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ask(path):
    end = time.monotonic() + 20
    while True:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        try:
            sock.connect(front)
            break
        except OSError:
            assert time.monotonic() < end, "varnishd does not listen"
            time.sleep(0.1)
    with sock, sock.makefile("rb") as answer:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        return answer.readline().split()[1].decode()


try:
    print(f"without: {ask('/without')}; behind 100: {ask('/100')}; behind 103: {ask('/103')}")
finally:
    varnish.terminate()
    varnish.wait()
PY
