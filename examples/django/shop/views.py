"""A view of each kind."""

import asyncio
from collections.abc import AsyncIterator

from django.http import HttpRequest, JsonResponse, StreamingHttpResponse


def hello(request: HttpRequest) -> JsonResponse:
    """Not async: Django runs it in a thread, so it may block, for instance on the database."""
    return JsonResponse({"hello": request.GET.get("name", "world"), "secure": request.is_secure()})


async def ticks(request: HttpRequest) -> StreamingHttpResponse:
    async def events() -> AsyncIterator[str]:
        for number in range(5):
            yield f"data: {number}\n\n"
            # Where the client leaves, the generator is cancelled here.
            await asyncio.sleep(0.1)

    return StreamingHttpResponse(events(), content_type="text/event-stream")
