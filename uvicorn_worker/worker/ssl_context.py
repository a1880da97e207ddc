"""Gunicorn's words for TLS that are more than a value: the ssl_context hook, and ssl_version."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.core.spellings import oldest_tls_version

if TYPE_CHECKING:
    from gunicorn.config import Config as GunicornConfig

__all__ = ["context_factory", "oldest_version"]


def oldest_version(value: Any) -> str | None:
    """What `ssl_version` means as the oldest version that is spoken.

    It once named the only version, and Gunicorn has ignored it since 21.0. Raises `ConfigError` for versions that
    nobody should speak any more (RFC 8996).
    """
    version: Any = oldest_tls_version(value)
    if value is not None and version in (None, "TLSv1.2", "TLSv1.3"):
        return None if version is None else str(version)
    raise ConfigError(
        f"Gunicorn setting ssl_version = {value!r}: must be one of TLS, TLSv1_2, TLSv1_3, the oldest version that is "
        "spoken; for older ones set ssl_context"
    )


def context_factory(cfg: GunicornConfig) -> Callable[[Any, Callable[[], ssl.SSLContext]], ssl.SSLContext] | None:
    """The ssl_context hook as the option ssl_context_factory; None where there is none."""
    if "ssl_context" not in cfg.settings:  # Gunicorn 20
        return None
    hook: Callable[[Any, Callable[[], ssl.SSLContext]], ssl.SSLContext] = cfg.ssl_context
    if hook is type(cfg.settings["ssl_context"]).default:
        return None
    # The hook knows Gunicorn's settings, not our options.
    return lambda config, default_factory: hook(cfg, default_factory)
