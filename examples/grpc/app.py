"""A gRPC service as a plain ASGI application: one call of each of the four kinds.

The messages are JSON, so that nothing has to be generated; a service with protobuf puts `SerializeToString()` and
`FromString()` in the place of `json.dumps()` and `json.loads()`. Trailers carry the status: HTTP/2 alone has what gRPC
needs of them, so the worker is UvicornH2CWorker.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Messages = AsyncIterator[Any]

OK, INVALID_ARGUMENT, UNIMPLEMENTED, INTERNAL = 0, 3, 12, 13
# One message is held in memory; what is longer ends the call.
LONGEST_MESSAGE = 4 * 1024 * 1024


class StatusError(Exception):
    """Ends a call with a status other than OK."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message


# The service: each method takes an iterator of messages, and gives one -----------------------------------


async def square(requests: Messages) -> Messages:
    """Unary: one number, and its square."""
    number = await anext_message(requests)
    if not isinstance(number, int):
        raise StatusError(INVALID_ARGUMENT, "not a whole number")
    yield number * number


async def count(requests: Messages) -> Messages:
    """Server stream: the numbers up to the one that is sent."""
    for number in range(await anext_message(requests)):
        yield number
        await asyncio.sleep(0)


async def total(requests: Messages) -> Messages:
    """Client stream: the sum of all that are sent."""
    result = 0
    async for number in requests:
        result += number
    yield result


async def talk(requests: Messages) -> Messages:
    """Bidirectional: each is answered as it comes."""
    async for text in requests:
        yield f"{text}, you say?"


METHODS = {"/example.Numbers/Square": square, "/example.Numbers/Count": count, "/example.Numbers/Total": total,
           "/example.Numbers/Talk": talk}  # fmt: skip


async def anext_message(requests: Messages) -> Any:
    async for message in requests:
        return message
    raise StatusError(INVALID_ARGUMENT, "there is no message")


# gRPC over ASGI ------------------------------------------------------------------------------------------


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    if not dict(scope["headers"]).get(b"content-type", b"").startswith(b"application/grpc"):
        await send({"type": "http.response.start", "status": 415})
        await send({"type": "http.response.body", "body": b"Call it with a gRPC client.\n"})
        return
    headers = [(b"content-type", b"application/grpc+json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
    status, text = OK, ""
    try:
        method = METHODS.get(scope["path"])
        if method is None:
            raise StatusError(UNIMPLEMENTED, f"no method {scope['path']}")
        async for message in method(read(receive)):
            data = json.dumps(message).encode()
            # Not compressed, the length, the message. send() waits while the client does not read.
            frame = b"\0" + len(data).to_bytes(4, "big") + data
            await send({"type": "http.response.body", "body": frame, "more_body": True})
    except StatusError as exc:
        status, text = exc.status, exc.message
    await send({"type": "http.response.body"})
    trailers = [(b"grpc-status", b"%d" % status), (b"grpc-message", text.encode("ascii", "replace"))]
    await send({"type": "http.response.trailers", "headers": trailers})


async def read(receive: Receive) -> Messages:
    """The client's messages, each as soon as it is whole."""
    held = bytearray()
    more = True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            # Cancelled by the client, or its deadline is over.
            return
        held += event.get("body", b"")
        more = event.get("more_body", False)
        while len(held) >= 5:
            size = int.from_bytes(held[1:5], "big")
            if held[0]:
                raise StatusError(UNIMPLEMENTED, "messages are not to be compressed")
            if size > LONGEST_MESSAGE:
                raise StatusError(INVALID_ARGUMENT, "the message is too long")
            if len(held) < 5 + size:
                break
            message = bytes(held[5 : 5 + size])
            del held[: 5 + size]
            try:
                yield json.loads(message)
            except ValueError:
                raise StatusError(INVALID_ARGUMENT, "the message is no JSON") from None
