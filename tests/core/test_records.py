"""Records are dataclasses to all who look at them, whose methods are not compiled."""

from __future__ import annotations

import copy
import inspect
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any

import pytest

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.records import record


def double(value: int) -> int:
    return 2 * value


@record(frozen=True)
class Point:
    """A record with a default of each kind."""

    x: int
    y: int = 2
    marks: list[str] = field(default_factory=list)
    convert: Any = double
    secret: str = field(default="", repr=False)
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x")


@dataclass(frozen=True)
class Compiled:
    """What a dataclass makes of the same fields."""

    x: int
    y: int = 2
    marks: list[str] = field(default_factory=list)
    convert: Any = double
    secret: str = field(default="", repr=False)
    note: str = field(default="", compare=False)


@record()
class Heap:
    """One that can be changed."""

    items: tuple[int, ...] = ()
    own: Heap | None = None


@pytest.mark.parametrize(
    ("args", "given"),
    [
        ((1,), {}),
        ((), {"x": 1}),
        ((1, 3, ["a"]), {"secret": "s", "note": "n"}),
        ((), {"marks": ["b"], "x": 5, "y": 6, "convert": None}),
    ],
)
def test_it_is_made_as_a_dataclass_is(args: tuple[Any, ...], given: dict[str, Any]) -> None:
    made, other = Point(*args, **given), Compiled(*args, **given)
    assert asdict(made) == asdict(other)
    assert repr(made) == repr(other).replace("Compiled", "Point")
    assert [item.name for item in fields(made)] == [item.name for item in fields(other)]
    assert is_dataclass(Point)
    assert copy.deepcopy(made) == made


def test_a_default_function_is_no_method() -> None:
    assert Point(1).convert(4) == 8
    assert Point(1).marks is not Point(1).marks


@pytest.mark.parametrize(
    ("args", "given"), [((), {}), ((1,), {"x": 1}), ((1,), {"z": 1}), ((1, 2, [], double, "", "", 7), {})]
)
def test_arguments_that_it_does_not_take(args: tuple[Any, ...], given: dict[str, Any]) -> None:
    for cls in (Point, Compiled):
        with pytest.raises(TypeError):
            cls(*args, **given)


def test_comparison() -> None:
    made = Point(1, marks=[])
    assert made == Point(1, note="another")
    assert made != Point(1, secret="another")
    assert made != object()
    assert hash(replace(made, marks=())) == hash(replace(made, marks=(), note="another"))  # type: ignore[arg-type]
    assert Heap((1,)) == Heap((1,))
    with pytest.raises(TypeError):
        hash(Heap())


def test_what_is_frozen_and_what_is_not() -> None:
    made: Any = Point(1)
    with pytest.raises(FrozenInstanceError):
        made.x = 2
    with pytest.raises(FrozenInstanceError):
        made.another = 2
    with pytest.raises(FrozenInstanceError):
        del made.x
    assert replace(made, x=7).x == 7
    with pytest.raises(ValueError, match="x"):
        replace(made, x=-1)

    class More(Point):
        pass

    more: Any = More(1)
    more.another = 3
    del more.another
    with pytest.raises(FrozenInstanceError):
        more.x = 2
    with pytest.raises(FrozenInstanceError):
        del more.x
    heap = Heap()
    heap.items = (3,)
    heap.own = heap
    assert repr(heap) == "Heap(items=(3,), own=...)"


def test_its_signature() -> None:
    parameters = inspect.signature(Point).parameters
    assert list(parameters) == ["x", "y", "marks", "convert", "secret", "note"]
    assert parameters["x"].default is inspect.Parameter.empty
    assert (parameters["y"].default, parameters["marks"].default) == (2, [])
    assert {item.name for item in fields(Config)} == set(inspect.signature(Config).parameters)


def test_the_signature_of_a_subclass_is_its_own() -> None:
    class Named(Point):
        def __init__(self, name: str, *args: Any) -> None:
            super().__init__(*args)
            self.name = name

    assert list(inspect.signature(Named).parameters) == ["name", "args"]
