#!/usr/bin/env bash
# blockbuster 1.5: a recv() that MSG_DONTWAIT keeps from blocking is a blocking call to it: it looks at the timeout of the socket alone.
# A BlockingIOError is what the call would have raised. `langgraph dev` turns it on for the whole process, so that a server that
# reads by this flag, on sockets that it shares with others or has not set to non-blocking, can't read.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages blockbuster==1.5.29
"$PYTHON" - <<'PY' | expect "alone: BlockingIOError, watched: BlockingError, watched by the C class: BlockingIOError"
import asyncio
import socket

from blockbuster import blockbuster_ctx

ours, theirs = socket.socketpair()


def outcome(recv):
    try:
        return recv(1, socket.MSG_DONTWAIT)
    except Exception as exc:
        return type(exc).__name__


async def main():
    alone = outcome(ours.recv)
    with blockbuster_ctx():
        watched = outcome(ours.recv)
        by_class = outcome(lambda *arguments: socket.SocketType.recv(ours, *arguments))
    print(f"alone: {alone}, watched: {watched}, watched by the C class: {by_class}")


asyncio.run(main())
PY
