"""Names of uvicorn: each of its parameters and of its command's is known here."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import uvicorn

from uvicorn_worker.core.config import RULES, Config
from uvicorn_worker.core.uvicorn_names import ALIASES, MASTERS


async def app(scope: Any, receive: Any, send: Any) -> None:
    """An application to name."""


PARAMETERS = inspect.signature(uvicorn.Config).parameters
COMMAND = {str(parameter.name) for parameter in uvicorn.main.params}
# Names that the command line gives; `--header` is spelled `header` by those who copy it.
FLAGS = {flag.lstrip("-").replace("-", "_") for parameter in uvicorn.main.params for flag in parameter.opts}


@pytest.mark.parametrize("name", sorted({*PARAMETERS, *COMMAND, *FLAGS}))
def test_a_name_of_the_installed_uvicorn_is_known(name: str) -> None:
    name = ALIASES.get(name, name)
    assert (name in RULES) != (name in MASTERS)


@pytest.mark.parametrize("name", [name for name in PARAMETERS if name in RULES and name != "app"])
def test_its_default_is_a_value_of_ours(name: str) -> None:
    Config(app, **{name: PARAMETERS[name].default})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("loop", uvicorn.config.LOOP_FACTORIES),
        ("http", uvicorn.config.HTTP_PROTOCOLS),
        ("ws", uvicorn.config.WS_PROTOCOLS),
        ("lifespan", uvicorn.config.LIFESPAN),
        ("interface", uvicorn.config.INTERFACES),
        ("log_level", uvicorn.config.LOG_LEVELS),
    ],
)
def test_each_of_its_words_is_one_of_ours(name: str, values: Any) -> None:
    for value in values:
        Config(app, **{name: value})


def test_what_an_alias_stands_for_is_known() -> None:
    assert set(ALIASES.values()) <= {*RULES, *MASTERS}
