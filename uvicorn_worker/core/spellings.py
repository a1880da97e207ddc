"""Options whose values uvicorn's users spell in several ways: what each spelling means.

A name of something that uvicorn has and this server has not (`wsproto`, `zttp`, `zuvloop`) is taken where something
of ours stands in for it.
"""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import Mapping
from typing import Any

from uvicorn_worker.core.rules import FLAG, Rule, is_int, one_of
from uvicorn_worker.core.tables import HTTP_PROTOCOLS, LOOP_FACTORIES, WS_PROTOCOLS, Table

__all__ = ["HTTP", "LEVEL", "LOOP", "SWITCH", "TLS_VERSION", "WS", "is_protocol_class", "oldest_tls_version"]


def _spell_loop(value: Any) -> Any:
    """uvicorn's `none` is the loop that the policy of asyncio gives; zuvloop is no loop that is known here.

    Whoever gives an event loop, as uvicorn's examples once did, serves in it by himself.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and isinstance(value, asyncio.AbstractEventLoop):
        return "asyncio:new_event_loop"
    if not isinstance(value, str) or LOOP_FACTORIES.brought(value):
        return value
    return {"none": "asyncio:new_event_loop", "zuvloop": "auto"}.get(value, value)


def oldest_tls_version(value: Any) -> Any:
    """What a constant of the ssl module, by number or name, means as the oldest TLS version; None: TLS 1.2.

    What is no such constant, or one that nobody should speak any more (RFC 8996), is given back as it is.
    """
    word = value.strip().removeprefix("PROTOCOL_") if isinstance(value, str) else value
    if isinstance(word, str) and word.isdigit():
        word = int(word)
    if isinstance(word, bool) or not isinstance(word, (str, int)):
        return value
    if word in (ssl.PROTOCOL_TLS, ssl.PROTOCOL_TLS_SERVER, "TLS", "TLS_SERVER", "SSLv23"):
        return None
    return {ssl.PROTOCOL_TLSv1_2: "TLSv1.2", "TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}.get(word, value)


_LEVELS = ("critical", "error", "warning", "info", "debug", "trace")


def _spell_level(value: Any) -> Any:
    """A level by its name or number; of a number between two it is the higher, which lets the same lines through.

    logging.NOTSET says nothing: uvicorn's lines have the level of the logger above them then.
    """
    if isinstance(value, str):
        word = value.strip().lower()
        if not word.isdigit():
            return word
        value = int(word)
    if not is_int(value):
        return value
    if value == logging.NOTSET:
        return "info"
    numbers = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG, 5)
    return _LEVELS[sum(value <= number for number in numbers)]


def _spell_switch(value: Any) -> Any:
    """A flag where the words are on and off."""
    try:
        return ("off", "on")[FLAG.take(value)]
    except ValueError:
        return value


def is_protocol_class(value: Any) -> bool:
    """Whether `http` or `ws` is a class of somebody's own, or `module:Class`, and none of the words for ours."""
    if isinstance(value, type):
        return hasattr(value, "connection_made")
    return isinstance(value, str) and ":" in value


def _protocol(words: Rule, classes: Mapping[str, str], table: Table) -> Rule:
    """One of these words, or a protocol class: for uvicorn's own `classes` ours stand in, by what these are called.

    A word for which somebody has put a class into the `table` is that class.
    """

    def spell(value: Any) -> Any:
        value = table.brought(value) or value
        if not is_protocol_class(value):
            return words.spell(value)
        if isinstance(value, type):
            module, name = value.__module__, value.__qualname__
        else:
            module, _, name = value.strip().partition(":")
        return classes.get(name, value) if module.startswith("uvicorn.protocols.") else value

    return Rule(
        f"{words.allowed}, or a protocol class of your own",
        lambda value: words.check(value) or is_protocol_class(value),
        spell=spell,
        stand_ins=words.stand_ins,
    )


LOOP = Rule(
    "auto, uvloop, asyncio, none, or 'module:factory'",
    lambda value: (
        isinstance(value, str)
        and (value in ("auto", "uvloop", "asyncio") or ":" in value or bool(LOOP_FACTORIES.brought(value)))
    ),
    spell=_spell_loop,
    stand_ins={"zuvloop": "auto"},
)
TLS_VERSION = Rule(
    "a member of ssl.TLSVersion, or one of TLSv1.2, TLSv1.3",
    lambda value: value is None or isinstance(value, ssl.TLSVersion) or value in ("TLSv1.2", "TLSv1.3"),
    spell=oldest_tls_version,
)
LEVEL = Rule("one of " + ", ".join(_LEVELS), lambda value: value in _LEVELS, spell=_spell_level)
HTTP = _protocol(
    one_of("auto", "httptools", "h11", "h2", stand_ins={"zttp": "auto"}),
    {"AutoHTTPProtocol": "auto", "HttpToolsProtocol": "httptools", "H11Protocol": "h11", "ZttpProtocol": "auto"},
    HTTP_PROTOCOLS,
)
WS = _protocol(
    one_of("auto", "websockets", "none", stand_ins={"wsproto": "auto", "websockets-sansio": "auto"}),
    dict.fromkeys(("AutoWebSocketsProtocol", "WebSocketProtocol", "WebSocketsSansIOProtocol", "WSProtocol"), "auto"),
    WS_PROTOCOLS,
)
_switch = one_of("off", "on")
SWITCH = Rule(_switch.allowed, _switch.check, spell=_spell_switch)
_auto_switch = one_of("auto", "off", "on")
AUTO_SWITCH = Rule(
    _auto_switch.allowed, _auto_switch.check, spell=lambda value: _auto_switch.spell(_spell_switch(value))
)
