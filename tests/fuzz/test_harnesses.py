"""The harnesses of the fuzzer with the same inputs each time: a moment of what `make fuzz` does for minutes."""

from __future__ import annotations

import gc

import pytest

from tests.fuzz.driver import search
from tests.fuzz.harnesses import HARNESSES
from tests.memory import held_after

SEED = 20_261_128
# What takes about two seconds each.
ROUNDS = {"http1-httptools": 1500, "http1-h11": 1000, "http2-native": 1500, "http2-h2": 700, "switching": 700}
OTHERS = 4000


@pytest.mark.parametrize("name", HARNESSES)
def test_only_documented_errors(name: str) -> None:
    rounds = ROUNDS.get(name, OTHERS)
    assert search(name, HARNESSES[name], SEED, rounds) == rounds


@pytest.mark.parametrize("name", HARNESSES)
def test_nothing_grows(name: str) -> None:
    """Memos of names and of fields are bounded: the first inputs may fill them."""
    fuzzed = HARNESSES[name]
    search(name, fuzzed, 1, 100)
    gc.collect()
    assert held_after(lambda: search(name, fuzzed, 1, 100)) < 100_000
