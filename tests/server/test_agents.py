"""Applications as monitoring agents are to see them."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from uvicorn_worker import Config
from uvicorn_worker.interfaces import Asgi2Adapter, WsgiAdapter
from uvicorn_worker.server.agents import seen_by_agents, without_wsgi_wrapper
from uvicorn_worker.server.loading import adapt


async def function(scope: Any, receive: Any, send: Any) -> None:
    """An application that is a coroutine function."""
    await send(scope)


class Instance:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send(scope)


class Returning:
    """Its `__call__` is no coroutine function, and returns a coroutine."""

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        return function(scope, receive, send)


class Awaitable:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self._sending = send(scope)

    def __await__(self) -> Any:
        return self._sending.__await__()


def asgi2(scope: Any) -> Any:
    async def run(receive: Any, send: Any) -> None:
        await send(scope)

    return run


class Watched:
    """What the agent makes of an application."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A `newrelic.agent` with as much of its interface as is used."""
    package, module = ModuleType("newrelic"), ModuleType("newrelic.agent")
    settings = SimpleNamespace(enabled=True)
    module.global_settings = lambda: settings  # type: ignore[attr-defined]
    module.ASGIApplicationWrapper = Watched  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "newrelic", package)
    monkeypatch.setitem(sys.modules, "newrelic.agent", module)
    return module


def wrapped_as_wsgi(app: Any) -> Any:
    """As the agent's hook on Gunicorn leaves what is no coroutine function."""

    def _nr_wsgi_application_wrapper_() -> None: ...

    class Wrapper:
        _self_wrapper = staticmethod(_nr_wsgi_application_wrapper_)
        __wrapped__ = app

        def __call__(self, *args: Any) -> Any:
            raise AssertionError("called as WSGI")

    return Wrapper()


@pytest.mark.parametrize("app", [function, Instance(), Asgi2Adapter(asgi2)])
def test_a_coroutine_function_is_handed_to_the_agent_as_it_is(agent: Any, app: Any) -> None:
    seen: Any = seen_by_agents(app)
    assert isinstance(seen, Watched)
    assert seen.wrapped is app


@pytest.mark.parametrize("app", [Returning(), Awaitable])
def test_what_the_agent_would_take_for_asgi_2_becomes_a_coroutine_function(agent: Any, app: Any) -> None:
    seen: Any = seen_by_agents(app)
    assert isinstance(seen, Watched)
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)

    assert inspect.iscoroutinefunction(seen.wrapped)
    with pytest.raises(StopIteration):
        seen.wrapped({"type": "http"}, None, send).send(None)
    assert sent == [{"type": "http"}]


def test_without_an_agent_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "newrelic", raising=False)
    assert seen_by_agents(function) is function


def test_an_agent_that_is_not_initialised_sees_nothing(agent: Any) -> None:
    agent.global_settings().enabled = False
    assert seen_by_agents(function) is function


def test_an_agent_of_another_version_is_no_reason_not_to_serve(agent: Any, caplog: pytest.LogCaptureFixture) -> None:
    del agent.ASGIApplicationWrapper
    assert seen_by_agents(function) is function
    assert "New Relic's agent sees no requests" in caplog.text


def test_what_the_agent_has_wrapped_as_wsgi_is_called_as_asgi(agent: Any) -> None:
    app = Instance()
    assert without_wsgi_wrapper(wrapped_as_wsgi(wrapped_as_wsgi(app))) is app
    seen: Any = adapt(wrapped_as_wsgi(app), Config(app=app))
    assert seen.wrapped is app


def test_wsgi_applications_are_left_to_the_agents_hook(agent: Any) -> None:
    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        return []

    assert isinstance(adapt(wsgi, Config(app=wsgi, interface="wsgi")), WsgiAdapter)
