#!/usr/bin/env bash
# Python's asyncio: over TLS, a BufferedProtocol whose get_buffer() gives a bytearray is told of bytes that are not in it.
# What a second record holds goes into a slice, which of a bytearray is a copy. The count is right and nothing is raised; a memoryview, and
# uvloop 0.23 with either, get what was sent, as plain connections do.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages trustme==1.2.1 uvloop==0.23.0
cat > read.py <<'PY'
import asyncio
import ssl

import trustme
import uvloop

SENT = bytes(range(1, 251)) * 200


class Reader(asyncio.BufferedProtocol):
    def __init__(self, buffer):
        self.buffer, self.got, self.ended = buffer, b"", asyncio.Event()

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        self.got += bytes(self.buffer[:nbytes])

    def connection_lost(self, exc):
        self.ended.set()


async def read(buffer, secure):
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    reader = Reader(buffer)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: reader, "127.0.0.1", 0, ssl=server if secure else None)
    to_tls = {"ssl": client, "server_hostname": "localhost"} if secure else {}
    _, writer = await asyncio.open_connection(*listening.sockets[0].getsockname(), **to_tls)
    writer.write(SENT)
    writer.close()
    await reader.ended.wait()
    listening.close()
    return f"all came: {len(reader.got) == len(SENT)}, as sent: {reader.got == SENT}"


for name, loop in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
    for kind, make in (("bytearray", bytearray), ("memoryview", lambda size: memoryview(bytearray(size)))):
        for secure in (False, True):
            running = loop()
            seen = running.run_until_complete(read(make(60000), secure))
            print(f"{name}, {'TLS' if secure else 'plain'}, {kind}: {seen};", end=" ")
PY
"$PYTHON" read.py | expect "asyncio, TLS, bytearray: all came: True, as sent: False;"
"$PYTHON" read.py | expect "asyncio, TLS, memoryview: all came: True, as sent: True; uvloop, plain, bytearray: all came: True, as sent: True; uvloop, TLS, bytearray: all came: True, as sent: True;"
