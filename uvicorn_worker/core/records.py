"""`record`: a dataclass whose methods are not compiled at import.

`dataclass` writes the source of each method and compiles it whenever the class is defined; for `Config` alone that
takes a thirtieth of a worker's start. The methods here are the same for all classes and go through the fields. They
take several times as long, so that records are for what is made at the start, or for somebody to look at.
`dataclasses.fields`, `replace` and `asdict` take them as their own; a class may not have slots.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, fields
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

__all__ = ["record"]


class _Signature:
    """What `inspect.signature` tells of a record, made when it is asked for."""

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __get__(self, instance: object, owner: type) -> Any:
        if owner.__init__ is not self._cls.__init__:  # type: ignore[misc]
            # A subclass takes what it likes.
            raise AttributeError("__signature__")
        from inspect import Parameter, Signature

        parameters = []
        for item in fields(self._cls):
            default = item.default if item.default_factory is MISSING else item.default_factory()
            empty = default is MISSING
            parameters.append(
                Parameter(
                    item.name,
                    Parameter.POSITIONAL_OR_KEYWORD,
                    default=Parameter.empty if empty else default,
                    annotation=item.type,
                )
            )
        return Signature(parameters, return_annotation=None)


def _constructor(cls: Any, items: tuple[Field[Any], ...]) -> Any:
    names = tuple(item.name for item in items)
    known = frozenset(names)
    # A default is an attribute of the class already; as that, a function would be a method.
    others = [item for item in items if item.default is MISSING or hasattr(item.default, "__get__")]
    assign = object.__setattr__

    def construct(self: Any, *args: Any, **given: Any) -> None:
        if len(args) > len(names):
            raise TypeError(f"{cls.__name__} takes at most {len(names)} arguments, not {len(args)}")
        for name, value in zip(names, args, strict=False):
            if name in given:
                raise TypeError(f"{cls.__name__} got two values for {name!r}")
            assign(self, name, value)
        for name, value in given.items():
            if name not in known:
                raise TypeError(f"{cls.__name__} got an unexpected keyword argument {name!r}")
            assign(self, name, value)
        for item in others:
            if item.name not in given and item.name not in names[: len(args)]:
                if item.default is not MISSING:
                    assign(self, item.name, item.default)
                elif item.default_factory is not MISSING:
                    assign(self, item.name, item.default_factory())
                else:
                    raise TypeError(f"{cls.__name__} lacks the argument {item.name!r}")
        if hasattr(cls, "__post_init__"):
            # This class's own: a subclass that is a dataclass calls its own itself.
            cls.__post_init__(self)

    return construct


def _freeze(cls: Any, known: frozenset[str]) -> None:
    def refuse_assignment(self: Any, name: str, value: Any) -> None:
        if type(self) is cls or name in known:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def refuse_deletion(self: Any, name: str) -> None:
        if type(self) is cls or name in known:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    cls.__setattr__, cls.__delattr__ = refuse_assignment, refuse_deletion


def _compare(cls: Any, names: tuple[str, ...], *, frozen: bool) -> None:
    def values(one: Any) -> tuple[Any, ...]:
        return tuple(getattr(one, name) for name in names)

    def equals(self: Any, other: object) -> bool:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def hash_of(self: Any) -> int:
        return hash(values(self))

    cls.__eq__ = equals
    cls.__hash__ = hash_of if frozen else None


def _represent(cls: Any, names: tuple[str, ...]) -> None:
    @recursive_repr()
    def represent(self: Any) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{self.__class__.__qualname__}({values})"

    cls.__repr__ = represent


if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:

    def record(*, frozen: bool = False, eq: bool = True, repr: bool = True):  # noqa: A002 - dataclass's word
        """As `dataclasses.dataclass` with these options."""

        def make(cls):
            types = cls.__annotations__
            # Types as texts are searched for ClassVar and its like, which takes longer than all else.
            cls.__annotations__ = dict.fromkeys(types, object)
            cls = dataclass(init=False, eq=False, repr=False)(cls)
            cls.__annotations__ = types
            items = fields(cls)
            for item in items:
                item.type = types.get(item.name, item.type)
            cls.__init__ = _constructor(cls, items)
            cls.__signature__ = _Signature(cls)
            if frozen:
                _freeze(cls, frozenset(item.name for item in items))
            if eq:
                _compare(cls, tuple(item.name for item in items if item.compare), frozen=frozen)
            if repr:
                _represent(cls, tuple(item.name for item in items if item.repr))
            return cls

        return make
