#!/usr/bin/env bash
# httpcore 1.0: it goes on with an upload over HTTP/2 whose stream the server has ended by RST_STREAM(NO_ERROR).
# RFC 9113, 8.1: with that, behind a complete response, a server asks the client to abort the upload. The client sends all of
# the body that there is a window for, and only then looks at what it was answered.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages httpx==0.28.1 httpcore==1.0.9 h2==4.3.0
"$PYTHON" - <<'PY' | expect "413 too large, chunks of the body made after the reset had arrived: 20"
import socket
import threading

import h2.config
import h2.connection
import h2.events
import h2.settings
import httpx

was_reset = threading.Event()


def serve(listener):
    sock, _ = listener.accept()
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.local_settings.initial_window_size = 1 << 24
    connection.initiate_connection()
    connection.increment_flow_control_window(1 << 24)
    sock.sendall(connection.data_to_send())
    while data := sock.recv(65536):
        if was_reset.is_set():
            continue
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                connection.send_headers(event.stream_id, [(":status", "413"), ("content-length", "9")])
                connection.send_data(event.stream_id, b"too large", end_stream=True)
                connection.reset_stream(event.stream_id, 0)
                sock.sendall(connection.data_to_send())
                was_reset.set()
        sock.sendall(connection.data_to_send())


made = 0


def body():
    global made
    yield b"x" * 1000
    was_reset.wait(20)
    for _ in range(20):
        made += 1
        yield b"x" * 1000


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
with httpx.Client(http1=False, http2=True, trust_env=False, timeout=20) as client:
    answer = client.post(f"http://127.0.0.1:{listener.getsockname()[1]}/", content=body())
print(f"{answer.status_code} {answer.text}, chunks of the body made after the reset had arrived: {made}")
PY
