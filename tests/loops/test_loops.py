"""`uvicorn_worker.loops`: what makes event loops, by uvicorn's names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.loops import asyncio as of_asyncio
from uvicorn_worker.loops import auto, uvloop

FACTORIES = {
    "asyncio": of_asyncio.asyncio_loop_factory,
    "auto": auto.auto_loop_factory,
    "uvloop": uvloop.uvloop_loop_factory,
}
SETUPS = {"asyncio": of_asyncio.asyncio_setup, "auto": auto.auto_loop_setup, "uvloop": uvloop.uvloop_setup}


@pytest.mark.parametrize("kind", FACTORIES)
def test_a_factory_makes_one(kind: str) -> None:
    if kind == "uvloop":
        pytest.importorskip("uvloop")
    loop = FACTORIES[kind](use_subprocess=False)()
    try:
        assert kind == "auto" or type(loop).__module__.startswith(kind)
    finally:
        loop.close()


@pytest.mark.parametrize("kind", SETUPS)
def test_a_setup_says_it_to_asyncio(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvloop")
    said: list[str] = []
    for module in (auto, uvloop):
        monkeypatch.setattr(module, "set_loop_policy", lambda config: said.append(config.loop))
    SETUPS[kind](use_subprocess=True)
    assert said == ([] if kind == "asyncio" else [kind])


def test_without_uvloop_its_factory_is_none() -> None:
    code = (
        "import sys\nsys.modules['uvloop'] = None\n"
        "from uvicorn_worker.loops.uvloop import uvloop_loop_factory\nuvloop_loop_factory()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ConfigError.__name__ in ended.stderr
