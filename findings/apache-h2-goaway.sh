#!/usr/bin/env bash
# Apache httpd 2.4.71: where PING and GOAWAY of the server come along with an answer, mod_proxy_http2 keeps the connection, and
# answers 502 to the next request.
# RFC 9113, 6.8: a server that shuts down says GOAWAY(NO_ERROR) with the highest stream number first, and waits a round trip
# (which a PING tells) for requests that are on their way; a client opens no further streams there, and may connect again. The
# request that gets 502 is sent to nobody. Without the PING, and with `disablereuse=on`, it is served on a new connection.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
APACHE=$(PATH=$PATH:/usr/sbin command -v apache2) || { echo "apache2 is not installed" >&2; exit 1; }
packages h2==4.3.0
"$APACHE" -v | head -n 1
"$PYTHON" - "$APACHE" <<'PY' | expect "kept connections: 200, 200, 502, 1 connection, 2 requests; disablereuse=on: 200, 200, 200, 3 connections, 3 requests"
import http.client
import os
import socket
import subprocess
import sys
import threading
import time

import h2.config
import h2.connection
import h2.events

# Of each frame length, type, flags, and stream 0; the last stream is 2**31 - 1, the code NO_ERROR.
PING_AND_GOAWAY = bytes.fromhex("000008 06 00 00000000 0000000000000000 000008 07 00 00000000 7fffffff 00000000")
MODULES = "/usr/lib/apache2/modules"


class Server:
    """Answers each request, and with the second one of a connection says PING and GOAWAY; the connection stays open."""

    def __init__(self):
        self.connections = self.requests = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            sock, _ = self.listener.accept()
            self.connections += 1
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        sock.sendall(connection.data_to_send())
        while data := sock.recv(65536):
            goaway = b""
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self.requests += 1
                    connection.send_headers(event.stream_id, [(":status", "200"), ("content-length", "2")])
                    connection.send_data(event.stream_id, b"ok", end_stream=True)
                    goaway = PING_AND_GOAWAY if event.stream_id >= 3 else b""
            sock.sendall(connection.data_to_send() + goaway)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def run(option):
    server, port, folder = Server(), free_port(), os.getcwd()
    names = ["mpm_event", "authz_core", "unixd", "proxy", "proxy_http2"]
    lines = [f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in names if os.path.exists(f"{MODULES}/mod_{name}.so")]
    with open("httpd.conf", "w") as file:
        file.write("\n".join([
            f"ServerRoot {folder}", f"DefaultRuntimeDir {folder}", f"PidFile {folder}/pid", f"ErrorLog {folder}/error",
            f"Mutex file:{folder} default", "ServerName localhost", "User www-data", "Group www-data",
            # One process, so that there is one pool of connections.
            *lines, "StartServers 1", "ServerLimit 1", "ThreadsPerChild 4", "MaxRequestWorkers 4", f"Listen 127.0.0.1:{port}",
            f"ProxyPass / h2c://127.0.0.1:{server.listener.getsockname()[1]}/ {option}", "",
        ]))
    apache = subprocess.Popen([sys.argv[1], "-D", "FOREGROUND", "-f", f"{folder}/httpd.conf"], stderr=subprocess.DEVNULL)
    try:
        statuses = []
        while not statuses:
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                client.connect()
            except ConnectionRefusedError:
                time.sleep(0.05)
                continue
            for path in ("/a", "/b", "/c"):
                client.request("GET", path)
                answer = client.getresponse()
                answer.read()
                statuses.append(str(answer.status))
    finally:
        apache.terminate()
        apache.wait()
    many = lambda number, word: f"{number} {word}{'s' if number != 1 else ''}"
    return ", ".join([*statuses, many(server.connections, "connection"), many(server.requests, "request")])


print(f"kept connections: {run('')}; disablereuse=on: {run('disablereuse=on')}")
PY
