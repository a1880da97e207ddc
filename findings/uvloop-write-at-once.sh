#!/usr/bin/env bash
# uvloop 0.22 gathers what is written in one turn of the loop, uvloop 0.23 writes at once.
# In 0.22 nothing has left when transport.write() returns, and several writes of a turn become one system call; with 0.23
# each is a call of its own, as with asyncio.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cat > seen.py <<'PY'
import asyncio
import socket

import uvloop


async def main():
    ours, peer = socket.socketpair()
    peer.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    transport.write(b"one")
    try:
        seen = peer.recv(100)
    except BlockingIOError:
        seen = b"nothing"
    print(f"uvloop {uvloop.__version__[:4]}: {seen.decode()}", end="; ")
    transport.abort()


loop = uvloop.new_event_loop()
loop.run_until_complete(main())
loop.close()
PY
for version in 0.22.1 0.23.0; do
    packages "uvloop==$version" >&2
    "$PYTHON" seen.py
done | expect "uvloop 0.22: nothing; uvloop 0.23: one"
