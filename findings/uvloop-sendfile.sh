#!/usr/bin/env bash
# uvloop 0.23: loop.sendfile() raises NotImplementedError, with `fallback=True` too.
# asyncio's documentation has the fallback for loops and transports that can't: it reads and writes. The error of uvloop is
# the plain NotImplementedError, not asyncio's SendfileNotAvailableError, by which one could tell.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages uvloop==0.23.0
"$PYTHON" - <<'PY' | expect "asyncio: 5 bytes, uvloop: NotImplementedError"
import asyncio
import tempfile

import uvloop


async def send():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
    with tempfile.TemporaryFile() as file:
        file.write(b"hello")
        file.flush()
        try:
            return f"{await loop.sendfile(transport, file, 0, fallback=True)} bytes"
        except NotImplementedError as exc:
            return type(exc).__name__
        finally:
            transport.close()
            server.close()


print(f"asyncio: {asyncio.run(send())}, uvloop: {uvloop.run(send())}")
PY
