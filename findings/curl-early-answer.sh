#!/usr/bin/env bash
# curl 7.88: an upload over HTTP/2 that is answered early ends with exit code 92, though the answer is whole.
# RFC 9113, 8.1: a server that needs no more of a request may answer it completely and then send RST_STREAM(NO_ERROR);
# a client must not discard the response for that. Seen with curl 7.88.1 (libnghttp2 1.52) of Debian 12; skipped elsewhere.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
if [[ $(curl --version 2>/dev/null | head -1) != "curl 7.88.1 "* ]]; then
    echo "skipped: needs curl 7.88.1, the package curl of Debian 12"
    exit 0
fi
packages h2==4.3.0
curl --version | head -1
head -c 3000000 /dev/zero > upload
cat > server.py <<'PY'
import socket

import h2.config
import h2.connection
import h2.events

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sock, _ = listener.accept()
connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
connection.initiate_connection()
sock.sendall(connection.data_to_send())
try:
    while data := sock.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                connection.send_headers(event.stream_id, [(":status", "413"), ("content-length", "9")])
                connection.send_data(event.stream_id, b"too large", end_stream=True)
                connection.reset_stream(event.stream_id, 0)
        sock.sendall(connection.data_to_send())
except OSError:
    pass
PY
"$PYTHON" server.py > port &
server=$!
until [[ -s port ]]; do sleep 0.05; done
code=0
answer=$(curl --silent --max-time 20 --http2-prior-knowledge --noproxy '*' --data-binary @upload "http://127.0.0.1:$(cat port)/") || code=$?
kill "$server" 2>/dev/null || true
echo "exit code $code, body '$answer'" | expect "exit code 92"
