"""What an object is taken for. Whatever can be an ASGI 3 application must be."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from tests.http1.apps import hello
from uvicorn_worker.interfaces import detect, needs_arguments


async def coroutine_function(scope: Any, receive: Any, send: Any) -> None:
    """The plain form."""


async def any_arguments(*args: Any) -> None:
    """A coroutine function that tells nothing more."""


def gives_awaitable(scope: Any, receive: Any, send: Any) -> Any:
    return hello(scope, receive, send)


def wsgi(environ: Any, start_response: Any) -> Any:
    return []


def asgi2(scope: Any) -> Any:
    return None


class Asgi3:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As Starlette and Django have it."""

    async def method(self, scope: Any, receive: Any, send: Any) -> None:
        """A bound method."""

    @staticmethod
    async def static(scope: Any, receive: Any, send: Any) -> None:
        """A static method."""

    @classmethod
    def plain(cls, scope: Any, receive: Any, send: Any) -> Any:
        """Not a coroutine function."""


class PlainAsgi3:
    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        return hello(scope, receive, send)


class SetPerInstance:
    """As Sentry's middleware: what is called is an attribute of the instance."""

    __slots__ = ("__call__",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self.__call__ = call


class Endpoint:
    """As Starlette's HTTPEndpoint: made with all three, then awaited."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        """Nothing to keep."""

    def __await__(self) -> Any:
        yield


class Asgi2:
    def __init__(self, scope: Any) -> None:
        """Nothing to keep."""

    async def __call__(self, receive: Any, send: Any) -> None:
        """The second call."""


class Asgi2Router:
    def __call__(self, scope: Any) -> Any:
        return Asgi2(scope)


class Wsgi:
    def __call__(self, environ: Any, start_response: Any) -> Any:
        return []


class WsgiClass:
    """The form with a class of PEP 3333."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        """Nothing to keep."""


class NoArguments:
    """Forgot to make an instance."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """What the instance would do."""


def hiding(wrapped: Any) -> Any:
    @functools.wraps(wrapped)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    return wrapper


def showing(wrapped: Any) -> Any:
    @functools.wraps(wrapped)
    def wrapper(scope: Any, receive: Any, send: Any) -> Any:
        return None

    return wrapper


def marked(app: Any) -> Any:
    """As asgiref marks a callable that returns a coroutine."""
    if sys.version_info >= (3, 12):
        import inspect

        return inspect.markcoroutinefunction(app)
    app._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # private, and used by many
    return app


class NoSignature:
    __signature__ = "none"

    def __call__(self, *args: Any) -> Any:
        return None


def with_defaults(scope: Any, receive: Any, send: Any = None, extra: Any = None) -> Any:
    return None


def bare_wrapper(app: Any) -> Any:
    def wrapper(*args: Any) -> Any:
        return app(*args)

    return wrapper


class TestDetect:
    @pytest.mark.parametrize(
        "app",
        [
            coroutine_function,
            any_arguments,
            gives_awaitable,
            Asgi3(),
            Asgi3().method,
            Asgi3.static,
            Asgi3.plain,
            PlainAsgi3(),
            SetPerInstance(Asgi3().method),
            Endpoint,
            with_defaults,
            lambda scope, receive, send: None,
            functools.partial(coroutine_function),
            functools.partial(lambda options, scope, receive, send: None, {}),
            hiding(gives_awaitable),
            hiding(Asgi3()),
            hiding(coroutine_function),
            # What they wrap looks like something else: that proves nothing.
            showing(wsgi),
            showing(asgi2),
            hiding(wsgi),
            hiding(hiding(hiding(wsgi))),
            marked(lambda *args: None),
            bare_wrapper(wsgi),
            NoSignature(),
            mock.AsyncMock(),
            mock.MagicMock(),
            print,
        ],
    )
    def test_asgi3(self, app: Any) -> None:
        assert detect(app) == "asgi3"

    @pytest.mark.parametrize("app", [Asgi2, asgi2, Asgi2Router(), Asgi2Router().__call__, hiding(asgi2)])
    def test_asgi2(self, app: Any) -> None:
        assert detect(app) == "asgi2"

    @pytest.mark.parametrize("app", [wsgi, Wsgi(), WsgiClass, Wsgi().__call__, functools.partial(wsgi)])
    def test_wsgi(self, app: Any) -> None:
        assert detect(app) == "wsgi"

    @pytest.mark.parametrize("app", [lambda: None, lambda config=None: None, NoArguments])
    def test_factory(self, app: Any) -> None:
        assert detect(app) == "factory"

    @pytest.mark.parametrize("app", [lambda a, b, c, d: None, lambda scope, receive, send, *, key: None])
    def test_none_of_them(self, app: Any) -> None:
        assert detect(app) is None

    def test_a_chain_of_wrappers_has_an_end(self) -> None:
        def endless(*args: Any) -> None:
            """Wraps itself."""

        endless.__wrapped__ = endless  # type: ignore[attr-defined]  # as functools.wraps sets it
        assert detect(endless) == "asgi3"


class TestFrameworks:
    def test_starlette(self) -> None:
        starlette = pytest.importorskip("starlette.applications")
        assert detect(starlette.Starlette()) == "asgi3"
        assert detect(starlette.Starlette) == "factory"

    def test_fastapi(self) -> None:
        assert detect(pytest.importorskip("fastapi").FastAPI()) == "asgi3"

    def test_django(self) -> None:
        handlers = pytest.importorskip("django.core.handlers.asgi")
        assert detect(handlers.ASGIHandler.__new__(handlers.ASGIHandler)) == "asgi3"
        handlers = pytest.importorskip("django.core.handlers.wsgi")
        assert detect(handlers.WSGIHandler.__new__(handlers.WSGIHandler)) == "wsgi"

    def test_channels(self) -> None:
        routing = pytest.importorskip("channels.routing")
        assert detect(routing.ProtocolTypeRouter({})) == "asgi3"

    def test_asgiref(self) -> None:
        compatibility = pytest.importorskip("asgiref.compatibility")
        assert detect(compatibility.double_to_single_callable(Asgi2)) == "asgi3"
        assert detect(pytest.importorskip("asgiref.wsgi").WsgiToAsgi(wsgi)) == "asgi3"


def test_needs_arguments() -> None:
    assert needs_arguments(hello)
    assert needs_arguments(Asgi2)
    assert not needs_arguments(lambda: None)
    assert not needs_arguments(lambda config=None: None)
    assert not needs_arguments(lambda *args: None)
    assert not needs_arguments(NoSignature())
