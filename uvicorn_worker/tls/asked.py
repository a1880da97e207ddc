"""Whether the options ask for TLS: what those need to know who don't speak it."""

from __future__ import annotations

from typing import Any

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ConfigError

__all__ = ["HTTP1_ONLY", "PARTS", "tls_is_on"]

HTTP1_ONLY = ("http/1.1",)
"""The ALPN protocol names (RFC 7301) of a server that speaks no HTTP/2."""

# What of the options has a meaning only with a certificate, and its value when it was not set.
PARTS = {
    "ssl_keyfile": None,
    "ssl_keyfile_password": None,
    "ssl_version": None,
    "ssl_cert_reqs": 0,
    "ssl_ca_certs": None,
    "ssl_ciphers": None,
}
# What uvicorn has where nothing was said; programs hand it on.
_UVICORNS_CIPHERS = "TLSv1"


def tls_is_on(config: Config) -> bool:
    """Whether the options ask for TLS; raises `ConfigError` when they do so only by half."""
    if config.ssl_certfile or config.ssl_context_factory is not None:
        return True
    for name, unset in PARTS.items():
        value = getattr(config, name)
        if value not in (unset, "") and (name, value) != ("ssl_ciphers", _UVICORNS_CIPHERS):
            raise ConfigError(f"{_said(name, value)}: has no effect without ssl_certfile, which turns TLS on")
    return False


def _said(name: str, value: Any) -> str:
    # A password is not for the log.
    return f"option {name}" if name == "ssl_keyfile_password" else f"option {name} = {value!r}"
