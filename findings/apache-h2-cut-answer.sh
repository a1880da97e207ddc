#!/usr/bin/env bash
# Apache httpd 2.4.71: where the server behind mod_proxy_http2 resets a stream in the midst of an answer without a length, the
# client gets what had come as a chunked body that ends as a whole one does, and can't see that the rest is missing. Behind
# mod_proxy_http, where the server ends its connection in the midst of a chunked body, the client sees it.
# RFC 9113, 8.1: what can't be completed is reset. RFC 9112, 7.1 and 8: a chunked body is whole with its last chunk.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
APACHE=$(PATH=$PATH:/usr/sbin command -v apache2) || { echo "apache2 is not installed" >&2; exit 1; }
packages h2==4.3.0
"$APACHE" -v | head -n 1
"$PYTHON" - "$APACHE" <<'PY' | expect "HTTP/2: 200, the first half, whole; HTTP/1.1: 200, the first half, cut"
import http.client
import os
import socket
import subprocess
import sys
import threading
import time

import h2.config
import h2.connection
import h2.errors
import h2.events

MODULES = "/usr/lib/apache2/modules"
HALF = b"half of it, "


def answer_http2(sock):
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    sock.sendall(connection.data_to_send())
    while data := sock.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                connection.send_headers(event.stream_id, [(":status", "200"), ("content-type", "text/plain")])
                connection.send_data(event.stream_id, HALF)
                sock.sendall(connection.data_to_send())
                time.sleep(0.5)
                connection.reset_stream(event.stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)
        try:
            sock.sendall(connection.data_to_send())
        except ConnectionError:
            return


def answer_http1(sock):
    while b"\r\n\r\n" not in sock.recv(65536):
        pass
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
    sock.sendall(head + b"%x\r\n%b\r\n" % (len(HALF), HALF))
    time.sleep(0.5)
    sock.close()


def serve(answer):
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def run(scheme, answer):
    port, folder = free_port(), os.getcwd()
    names = ["mpm_event", "authz_core", "unixd", "proxy", "proxy_http", "proxy_http2"]
    lines = [f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in names if os.path.exists(f"{MODULES}/mod_{name}.so")]
    with open("httpd.conf", "w") as file:
        file.write("\n".join([
            f"ServerRoot {folder}", f"DefaultRuntimeDir {folder}", f"PidFile {folder}/pid", f"ErrorLog {folder}/error",
            f"Mutex file:{folder} default", "ServerName localhost", "User www-data", "Group www-data",
            *lines, f"Listen 127.0.0.1:{port}", f"ProxyPass / {scheme}://127.0.0.1:{serve(answer)}/", "",
        ]))
    apache = subprocess.Popen([sys.argv[1], "-D", "FOREGROUND", "-f", f"{folder}/httpd.conf"], stderr=subprocess.DEVNULL)
    try:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        while client.sock is None:
            try:
                client.connect()
            except ConnectionRefusedError:
                time.sleep(0.05)
        client.request("GET", "/")
        response = client.getresponse()
        try:
            body, end = response.read(), "whole"
        except http.client.IncompleteRead as exc:
            body, end = exc.partial, "cut"
    finally:
        apache.terminate()
        apache.wait()
    return f"{response.status}, {'the first half' if body == HALF else body}, {end}"


print(f"HTTP/2: {run('h2c', answer_http2)}; HTTP/1.1: {run('http', answer_http1)}")
PY
