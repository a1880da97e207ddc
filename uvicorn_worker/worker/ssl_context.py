"""Gunicorn's words for TLS that are more than a value: the ssl_context hook, and ssl_version."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn_worker.core.errors import ConfigError

if TYPE_CHECKING:
    from gunicorn.config import Config as GunicornConfig

__all__ = ["context_factory", "oldest_version"]

# Spellings of `--ssl-version`: the number of the ssl module's constant, its name, or the name without PROTOCOL_.
_NEGOTIATED = (ssl.PROTOCOL_TLS, ssl.PROTOCOL_TLS_SERVER, "TLS", "TLS_SERVER", "SSLv23")
_OLDEST = {ssl.PROTOCOL_TLSv1_2: "TLSv1.2", "TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}


def oldest_version(value: Any) -> str | None:
    """What `ssl_version` means as the oldest version that is spoken.

    It once named the only version, and Gunicorn has ignored it since 21.0. Raises `ConfigError` for versions that
    nobody should speak any more (RFC 8996).
    """
    word = value.strip().removeprefix("PROTOCOL_") if isinstance(value, str) else value
    if isinstance(word, str) and word.isdigit():
        word = int(word)
    if word in _NEGOTIATED:
        return None
    if word in _OLDEST:
        return _OLDEST[word]
    raise ConfigError(
        f"Gunicorn setting ssl_version = {value!r}: must be one of TLS, TLSv1_2, TLSv1_3, the oldest version that is "
        "spoken; for older ones set ssl_context"
    )


def context_factory(cfg: GunicornConfig) -> Callable[[Any, Callable[[], ssl.SSLContext]], ssl.SSLContext] | None:
    """The ssl_context hook as the option ssl_context_factory; None where there is none."""
    hook: Callable[[Any, Callable[[], ssl.SSLContext]], ssl.SSLContext] = cfg.ssl_context
    if hook is type(cfg.settings["ssl_context"]).default:
        return None
    # The hook knows Gunicorn's settings, not our options.
    return lambda config, default_factory: hook(cfg, default_factory)
