"""The errors of the package: whose fault each of them is."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from uvicorn_worker.core import errors
from uvicorn_worker.core.errors import (
    STARTUP_FAILURE,
    AppLoadError,
    BindError,
    ClientDisconnected,
    ConfigError,
    LifespanError,
    RequestRefused,
    UvicornWorkerError,
    as_exit,
    comes_from_disconnect,
)


def raised_from(cause: Exception | None, *, hidden: bool = False) -> Exception:
    try:
        try:
            raise cause or ValueError("no cause")
        except Exception as exc:  # noqa: BLE001 - it is what is raised above
            raise RuntimeError("outer") from (None if hidden else exc)
    except RuntimeError as exc:
        return exc


class Group(Exception):
    """As ExceptionGroup, which Python 3.10 has not."""

    def __init__(self, *exceptions: BaseException) -> None:
        super().__init__("group")
        self.exceptions = exceptions


def test_all_are_of_one_tree() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        # What ends the process is to be caught by nobody.
        assert not isinstance(kind, type) or issubclass(kind, (UvicornWorkerError, SystemExit))


@pytest.mark.parametrize("kind", [AppLoadError, BindError, LifespanError])
def test_a_start_that_has_failed_is_an_exit_too(kind: type[UvicornWorkerError]) -> None:
    cause = ZeroDivisionError()
    with pytest.raises(kind) as caught:
        raise kind("no database") from cause
    made = as_exit(caught.value)
    assert isinstance(made, kind)
    assert isinstance(made, SystemExit)
    assert (made.__cause__, made.__traceback__) == (cause, caught.value.__traceback__)
    assert as_exit(made) is made
    again: Any = pickle.loads(pickle.dumps(made))  # noqa: S301
    assert (type(again), again.args, again.code) == (type(made), ("no database",), STARTUP_FAILURE)


def test_other_errors_are_none() -> None:
    error = ConfigError("option workers")
    assert as_exit(error) is error


def test_a_refused_request_has_its_answer() -> None:
    error = RequestRefused(413, "too long")
    assert (error.status, error.reason, str(error)) == (413, "too long", "too long")


@pytest.mark.parametrize(
    ("exc", "comes"),
    [
        (None, False),
        (ValueError(), False),
        (ConnectionError(), False),
        (ClientDisconnected(), True),
        (raised_from(ClientDisconnected()), True),
        (raised_from(raised_from(ClientDisconnected())), True),
        # What is hidden for readers is still where it came from.
        (raised_from(ClientDisconnected(), hidden=True), True),
        (raised_from(None), False),
        (Group(ClientDisconnected(), raised_from(ClientDisconnected())), True),
        (Group(ClientDisconnected(), ValueError()), False),
        (Group(Group(ClientDisconnected())), True),
    ],
)
def test_whether_it_comes_from_a_client_that_left(exc: BaseException | None, comes: bool) -> None:
    assert comes_from_disconnect(exc) is comes


def test_a_chain_without_an_end_is_given_up() -> None:
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert not comes_from_disconnect(first)


class TestUvicornsDisconnect:
    """Applications that catch uvicorn's own `ClientDisconnected`, where the uvicorn package is installed."""

    @pytest.fixture(autouse=True)
    def as_it_was(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        before = ClientDisconnected.__bases__
        monkeypatch.delitem(sys.modules, "uvicorn.protocols.utils", raising=False)
        ClientDisconnected.__bases__ = (UvicornWorkerError, ConnectionError)
        yield
        ClientDisconnected.__bases__ = before

    def test_it_is_caught(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kind: Any = type("ClientDisconnected", (OSError,), {})
        theirs: Any = ModuleType("uvicorn.protocols.utils")
        theirs.ClientDisconnected = kind
        assert not isinstance(ClientDisconnected("the client left"), kind)
        monkeypatch.setitem(sys.modules, theirs.__name__, theirs)
        for _ in range(2):
            with pytest.raises(kind, match="the client left") as told:
                raise ClientDisconnected("the client left")
            assert isinstance(told.value, (UvicornWorkerError, ConnectionError))
            assert told.value.args == ("the client left",)
            assert comes_from_disconnect(told.value)

    @pytest.mark.parametrize("theirs", [None, "no class", ValueError, ClientDisconnected])
    def test_what_is_none_of_it(self, monkeypatch: pytest.MonkeyPatch, theirs: Any) -> None:
        module: Any = ModuleType("uvicorn.protocols.utils")
        module.ClientDisconnected = theirs
        monkeypatch.setitem(sys.modules, module.__name__, module)
        assert isinstance(ClientDisconnected(), ConnectionError)
        assert ClientDisconnected.__bases__ == (UvicornWorkerError, ConnectionError)
