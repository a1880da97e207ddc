#!/usr/bin/env bash
# HAProxy 2.6: its HTTP/2 health check (`option httpchk`, `check-proto h2`) has neither :authority nor host.
# RFC 9113, 8.3.1 allows that where there is no authority to convey. A server that asks for one, as HTTP/1.1 has to and
# RFC 9114 does for HTTP/3, is down for HAProxy from its first check on; h2 4.3 is one, as it is by default.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages h2==4.3.0
HAPROXY=$(PATH=$PATH:/usr/sbin command -v haproxy) || { echo "haproxy is not installed" >&2; exit 1; }
"$HAPROXY" -v | head -n 1
"$PYTHON" - "$HAPROXY" <<'PY' | expect "OPTIONS /, authority: None, host: None; h2: Request header block does not have an :authority or Host header."
import socket
import subprocess
import sys

import h2.config
import h2.connection
import h2.events
import h2.exceptions

listener = socket.create_server(("127.0.0.1", 0))
listener.settimeout(20)
with open("haproxy.cfg", "w") as file:
    file.write(
        "defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n"
        "frontend web\n bind unix@front.sock\n default_backend app\n"
        "backend app\n option httpchk\n"
        f" server one 127.0.0.1:{listener.getsockname()[1]} proto h2 check check-proto h2\n"
    )
haproxy = subprocess.Popen([sys.argv[1], "-db", "-f", "haproxy.cfg"], stderr=subprocess.DEVNULL)
try:
    conn, _ = listener.accept()
    conn.settimeout(20)
    lenient, usual = (
        h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8", validate_inbound_headers=validate)
        )
        for validate in (False, True)
    )
    for side in (lenient, usual):
        side.initiate_connection()
    conn.sendall(lenient.data_to_send())
    seen = error = None
    while seen is None:
        data = conn.recv(65536)
        for event in lenient.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                seen = dict(event.headers)
        try:
            usual.receive_data(data)
        except h2.exceptions.ProtocolError as exc:
            error = exc
        conn.sendall(lenient.data_to_send())
    request = f"{seen[':method']} {seen[':path']}, authority: {seen.get(':authority')}, host: {seen.get('host')}"
    print(f"{request}; h2: {error}")
finally:
    haproxy.terminate()
    haproxy.wait()
PY
