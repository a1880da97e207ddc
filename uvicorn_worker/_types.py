"""The types of ASGI, where uvicorn has them: see `uvicorn_worker.types`. A message is a table, whichever it is."""

from types import TracebackType
from typing import Any

from uvicorn_worker.types import *  # noqa: F403

ASGIReceiveEvent = ASGISendEvent = WebSocketEvent = WebSocketReceiveEvent = WebSocketSendEvent = dict[str, Any]
HTTPRequestEvent = HTTPDisconnectEvent = HTTPResponseStartEvent = HTTPResponseBodyEvent = dict[str, Any]
WebSocketConnectEvent = WebSocketAcceptEvent = WebSocketCloseEvent = WebSocketDisconnectEvent = dict[str, Any]
LifespanStartupEvent = LifespanStartupCompleteEvent = LifespanStartupFailedEvent = dict[str, Any]
LifespanShutdownEvent = LifespanShutdownCompleteEvent = LifespanShutdownFailedEvent = dict[str, Any]
HTTPResponseDebugEvent = HTTPResponseEarlyHintEvent = HTTPResponseTrailersEvent = HTTPServerPushEvent = dict[str, Any]
WebSocketResponseStartEvent = WebSocketResponseBodyEvent = dict[str, Any]
Environ = dict[str, Any]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
