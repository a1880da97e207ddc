"""Large uploads: written to a file as they come, checked while they are, whatever their size."""

import hashlib
import os
import tempfile

import anyio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

FOLDER = os.environ.get("UPLOADS", tempfile.gettempdir())


async def upload(request: Request) -> Response:
    digest = hashlib.sha256()
    size = 0
    # Under another name until it is whole. The file is written by a thread, since disks block.
    path = anyio.Path(FOLDER, f"upload-{os.urandom(8).hex()}.part")
    try:
        async with await anyio.open_file(path, "wb") as file:
            # A client that sends faster than the disk writes is slowed down: memory stays flat.
            async for piece in request.stream():
                digest.update(piece)
                size += len(piece)
                await file.write(piece)
        whole = await path.rename(path.with_suffix(""))
    except BaseException as exc:
        await path.unlink(missing_ok=True)
        if isinstance(exc, ClientDisconnect):
            # Nobody is there to read it.
            return Response(status_code=400)
        raise
    return JSONResponse({"name": whole.name, "bytes": size, "sha256": digest.hexdigest()}, status_code=201)


app = Starlette(routes=[Route("/files", upload, methods=["POST", "PUT"])])
