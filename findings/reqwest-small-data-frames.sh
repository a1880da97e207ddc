#!/usr/bin/env bash
# pyreqwest 0.15.1 (reqwest over Rust's h2 0.4.20): where a program begins to read a response a second after its head, and the
# server has sent its body in DATA frames of less than 256 bytes, the client ends the whole connection with GOAWAY
# ENHANCE_YOUR_CALM `too_many_data_frames`, though all of it is within the windows that it has opened. Three times as much in
# frames of 256 bytes is read. An event stream whose reader pauses is such a response.
# RFC 9113, 5.2: how much may be sent is what flow control says, in bytes; 6.1 sets no least size of a DATA frame, and 10.5 lets
# an endpoint end a connection whose peer makes it work too hard.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages pyreqwest==0.15.1 h2==4.3.0
"$PYTHON" - <<'PY' | expect "24000 frames of 24 bytes: GOAWAY 11 too_many_data_frames; 7000 frames of 256 bytes: 1792000 bytes read"
import asyncio
import contextlib
import os
import socket
import sys
import threading

import h2.config
import h2.connection
import h2.events
from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import ReadError


def serve(sock, size, count, told):
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    sock.sendall(connection.data_to_send())
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    connection.send_headers(event.stream_id, [(":status", "200"), ("content-type", "text/event-stream")])
                    for _ in range(count):
                        connection.send_data(event.stream_id, b"x" * size)
                    connection.end_stream(event.stream_id)
                elif isinstance(event, h2.events.ConnectionTerminated) and event.error_code:
                    told.append(f"GOAWAY {event.error_code} {(event.additional_data or b'').decode()}")
            # h2 itself holds the frames to the windows of the client.
            sock.sendall(connection.data_to_send())


async def ask(size, count):
    listener, told = socket.create_server(("127.0.0.1", 0)), []
    thread = threading.Thread(target=lambda: serve(listener.accept()[0], size, count, told), daemon=True)
    thread.start()
    seen = 0
    async with ClientBuilder().http2_prior_knowledge().build() as client:
        url = "http://127.0.0.1:%d/" % listener.getsockname()[1]
        try:
            async with client.get(url).build_streamed() as response:
                await asyncio.sleep(1)
                while piece := await response.body_reader.read(65536):
                    seen += len(piece)
        except ReadError:
            await asyncio.to_thread(thread.join, 5)
            return told[0] if told else "an error without a GOAWAY"
    return f"{seen} bytes read"


async def main():
    print(f"24000 frames of 24 bytes: {await ask(24, 24000)}; 7000 frames of 256 bytes: {await ask(256, 7000)}")


asyncio.run(main())
sys.stdout.flush()
# Its threads are not to be waited for.
os._exit(0)
PY
