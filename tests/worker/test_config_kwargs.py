"""CONFIG_KWARGS in the shapes that subclasses give it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from uvicorn_worker import UvicornH11Worker, UvicornWorker
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.worker.config_kwargs import options_in_code


class Base:
    """Stands for a worker class, which can't be made without a master."""

    CONFIG_KWARGS: ClassVar[Any] = {"loop": "auto", "http": "auto"}


def test_that_of_uvicorns_worker_can_be_read_and_says_nothing() -> None:
    assert UvicornWorker.CONFIG_KWARGS["loop"] == "auto"
    assert options_in_code(UvicornWorker) == {}
    assert options_in_code(UvicornH11Worker) == {"loop": "asyncio", "http": "h11"}


def test_one_that_spreads_that_of_its_parent() -> None:
    class Own(UvicornH11Worker):
        CONFIG_KWARGS: ClassVar[dict[str, Any]] = {**UvicornH11Worker.CONFIG_KWARGS, "limit_concurrency": 5}

    class Plain(UvicornWorker):
        CONFIG_KWARGS: ClassVar[dict[str, Any]] = {**UvicornWorker.CONFIG_KWARGS, "limit_concurrency": 5}

    assert options_in_code(Own) == {"loop": "asyncio", "http": "h11", "limit_concurrency": 5}
    assert options_in_code(Plain) == {"limit_concurrency": 5}


def test_one_that_is_changed_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(UvicornWorker):
        """Fixes nothing of its own."""

    monkeypatch.setitem(UvicornWorker.CONFIG_KWARGS, "loop", "asyncio")
    assert options_in_code(Own) == {"loop": "asyncio"}


def test_a_property_is_asked_of_a_worker() -> None:
    class Own(Base):
        @property
        def CONFIG_KWARGS(self) -> dict[str, Any]:  # noqa: N802 - uvicorn's name
            return {**super().CONFIG_KWARGS, "root_path": self.path}

        path = "/own"

    assert options_in_code(Own) == {}
    assert options_in_code(Own, Own()) == {"root_path": "/own"}


def test_one_that_the_worker_sets_on_itself() -> None:
    class Own(Base):
        CONFIG_KWARGS: ClassVar[Any] = {"root_path": "/own", "ws": "none"}

        def __init__(self) -> None:
            self.CONFIG_KWARGS = {"root_path": "/self"}  # type: ignore[misc]  # as such subclasses do

    assert options_in_code(Own, Own()) == {"root_path": "/self", "ws": "none"}
    assert options_in_code(Own) == {"root_path": "/own", "ws": "none"}


def test_none_is_none_at_all() -> None:
    assert options_in_code(type("Own", (Base,), {"CONFIG_KWARGS": None})) == {}


def test_what_is_no_dictionary_is_an_error() -> None:
    with pytest.raises(ConfigError, match="CONFIG_KWARGS of Own is list: must be a dictionary"):
        options_in_code(type("Own", (Base,), {"CONFIG_KWARGS": ["loop"]}))
