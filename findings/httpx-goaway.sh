#!/usr/bin/env bash
# httpx 0.28 with httpcore 1.0: a GOAWAY(NO_ERROR) fails the request that it says will be completed.
# RFC 9113, 6.8: streams up to the last stream identifier of a GOAWAY are still answered. The client raises
# RemoteProtocolError as soon as it reads the frame, though the response follows on the same connection.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages httpx==0.28.1 httpcore==1.0.9 h2==4.3.0
"$PYTHON" - <<'PY' | expect "RemoteProtocolError <ConnectionTerminated error_code:0, last_stream_id:1"
import socket
import threading
import time

import h2.config
import h2.connection
import h2.events
import httpx
from hyperframe.frame import GoAwayFrame


def serve(listener):
    sock, _ = listener.accept()
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    sock.sendall(connection.data_to_send())
    while data := sock.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                goaway = GoAwayFrame(0, last_stream_id=event.stream_id, error_code=0)
                sock.sendall(connection.data_to_send() + goaway.serialize())
                time.sleep(0.2)
                connection.send_headers(event.stream_id, [(":status", "200"), ("content-length", "2")])
                connection.send_data(event.stream_id, b"ok", end_stream=True)
                try:
                    sock.sendall(connection.data_to_send())
                except OSError:
                    return


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
try:
    print(httpx.Client(http1=False, http2=True, trust_env=False).get(f"http://127.0.0.1:{listener.getsockname()[1]}/").text)
except httpx.HTTPError as exc:
    print(type(exc).__name__, exc)
PY
