"""The judge of scopes and events: asgiref's own types."""

from __future__ import annotations

import collections.abc
import sys
import types
import typing
from typing import Any

if sys.version_info >= (3, 11):
    from typing import get_type_hints
else:
    # asgiref takes NotRequired from there, which Python 3.10 does not know.
    from typing_extensions import get_type_hints

__all__ = ["conforms"]


def conforms(value: Any, kind: Any, where: str) -> None:
    """Fail where a value is not of the type; it has no key that the type does not know."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if typing.is_typeddict(kind):
        assert type(value) is dict, where
        known = get_type_hints(kind)
        # Only `state` may be left out, where a server does not know it.
        assert set(value) == set(known), f"{where}: {set(value) ^ set(known)}"
        for name, inner in known.items():
            conforms(value[name], inner, f"{where}.{name}")
    elif origin is typing.Literal:
        assert value in arguments, where
    elif origin in (typing.Union, types.UnionType):
        for each in arguments:
            try:
                conforms(value, each, where)
            except AssertionError:
                continue
            return
        raise AssertionError(f"{where} = {value!r} is none of {kind}")
    elif origin is tuple:
        assert isinstance(value, tuple), where
        assert len(value) == len(arguments), where
        for part, inner in zip(value, arguments, strict=True):
            conforms(part, inner, where)
    elif origin is dict:
        assert type(value) is dict, where
        for key, inner in value.items():
            conforms(key, arguments[0], where)
            conforms(inner, arguments[1], f"{where}[{key!r}]")
    elif origin is collections.abc.Iterable:
        for part in value:
            conforms(part, arguments[0], where)
    elif kind not in (Any, object):
        assert isinstance(value, type(None) if kind is None else kind), f"{where} = {value!r}"
