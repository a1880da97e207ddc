#!/usr/bin/env bash
# Python 3.11: `socket.dup()` of a socket without a timeout lets the socket block in all processes that share it, also where one of them does not want that.
# The duplicate gets the timeout of its original by settimeout(), and whether a socket blocks belongs to what duplicates and
# processes have in common. `socket.socket(fileno=os.dup(sock.fileno()))` leaves it as it is. An event loop that accepts then
# waits in accept() for one more client, with all that it serves.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages
cat > shares.py <<'PY'
import multiprocessing
import os
import socket


def serve(listener, ready, duplicated):
    """Accepts what there is, as an event loop does, and expects to be told when there is no more."""
    listener.setblocking(False)
    ready.set()
    duplicated.wait()
    print("blocks in the process that accepts:", os.get_blocking(listener.fileno()), "with the timeout", listener.gettimeout())


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    for name in ("sock.dup()", "os.dup()"):
        listener = socket.create_server(("127.0.0.1", 0))
        ready, duplicated = context.Event(), context.Event()
        process = context.Process(target=serve, args=(listener, ready, duplicated))
        process.start()
        ready.wait()
        print(name, end=" ", flush=True)
        if name == "sock.dup()":
            duplicate = listener.dup()
        else:
            duplicate = socket.socket(fileno=os.dup(listener.fileno()))
        duplicated.set()
        process.join()
PY
"$PYTHON" shares.py > seen.txt
expect "sock.dup() blocks in the process that accepts: True with the timeout 0.0" < seen.txt
expect "os.dup() blocks in the process that accepts: False with the timeout 0.0" < seen.txt
