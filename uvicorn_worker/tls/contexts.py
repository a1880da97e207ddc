"""TLS: the context of new connections, and its replacement when its files change.

    Config.ssl_* ─► make_context() ─► TlsContexts.context ─► new connections
                         ▲                    │
                         └── files changed ◄──┘ every few seconds, in a thread of its own

A context has the keys of the session tickets that it gives (RFC 5077; RFC 8446, 4.6.1). One that is made before the
fork (`share_context`) gives tickets that any of the processes takes, so that a client that comes back resumes its
session whichever answers. So it stays the same one when its certificate changes.

A mistake of the operator is a `ConfigError` of one line. At the start it ends the server, which so never speaks
plain text where TLS was asked for; later it is logged, and the context that works stays.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn
from weakref import WeakKeyDictionary

from uvicorn_worker.core.clock import TICK
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.core.kernel import is_uvloop
from uvicorn_worker.core.log import OwnLog
from uvicorn_worker.tls.asked import HTTP1_ONLY, PARTS, tls_is_on
from uvicorn_worker.tls.distinguished_name import key_algorithm

__all__ = [
    "TlsContexts",
    "check_tls",
    "handshake_options",
    "make_context",
    "server_certificates",
    "set_alpn",
    "share_context",
]

# From one look at the files to the next. A change is acted upon when two looks have seen it, so that files that are
# replaced one after the other, or are being written, come as one change.
LOOK_SECONDS = 2.0
LOOK_TICKS = int(LOOK_SECONDS / TICK)

# From close() on, for what was written to leave and for the client to answer close_notify. The loop cuts the connection
# then even if the client is still taking bytes, so this is long; a client that takes none is cut by the connection's
# own deadline within seconds.
SHUTDOWN_SECONDS = 600.0

_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")

# Device, inode, time of the last change and size of a file; None where there is none.
_FileState = tuple[int, int, int, int] | None

# The certificate (PEM) that the connections of a context show, where it is known: a context can't be asked for it.
server_certificates: WeakKeyDictionary[ssl.SSLContext, str] = WeakKeyDictionary()
# What the files were that a context was made of.
_states: WeakKeyDictionary[ssl.SSLContext, list[_FileState]] = WeakKeyDictionary()


# Checks ------------------------------------------------------------------------------------------------------


def check_tls(config: Config) -> None:
    """Raise `ConfigError` for TLS options that can't be used, files and password included.

    With an ssl_context_factory nothing is read: it alone knows whether it will use the files.
    """
    if tls_is_on(config) and config.ssl_context_factory is None:
        _usual_context(config, HTTP1_ONLY)


# Making a context --------------------------------------------------------------------------------------------


def make_context(config: Config, protocols: Sequence[str] = HTTP1_ONLY) -> ssl.SSLContext:
    """The context that the options ask for, by way of ssl_context_factory where there is one.

    `protocols` are the ALPN names that are offered, the preferred one first. Raises `ConfigError`; its cause is what
    a factory raised.
    """
    factory = config.ssl_context_factory
    if factory is None:
        state = _state_of(_paths_of(config))
        context = _usual_context(config, protocols)
        _states[context] = state
        certificate = _first_certificate(config.ssl_certfile)
        if certificate is not None:
            server_certificates[context] = certificate
        return context
    try:
        made: Any = factory(config, lambda: _usual_context(config, protocols))
    except ConfigError:
        raise
    except (Exception, SystemExit) as exc:
        message = f"The hook that makes the TLS context (ssl_context, ssl_context_factory) raised {exc!r}"
        raise ConfigError(message) from exc
    if not isinstance(made, ssl.SSLContext):
        raise ConfigError(
            "The hook that makes the TLS context (ssl_context, ssl_context_factory) must return an ssl.SSLContext, "
            f"and it returned {made!r}"
        )
    if made.protocol is ssl.PROTOCOL_TLS_CLIENT:
        raise ConfigError(
            "The hook that makes the TLS context (ssl_context, ssl_context_factory) returned one for clients: "
            "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) makes one for servers"
        )
    return made


def set_alpn(context: ssl.SSLContext, protocols: Sequence[str]) -> None:
    """Offer these protocols by ALPN (RFC 7301), the preferred one first."""
    context.set_alpn_protocols(list(protocols))


def _usual_context(config: Config, protocols: Sequence[str]) -> ssl.SSLContext:
    # Python's own choice for servers; it also honours SSLKEYLOGFILE.
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _set_version(context, config.ssl_version)
    # In TLS 1.2 a client could ask for handshake after handshake, each of which costs us more than it costs the client.
    context.options |= ssl.OP_NO_RENEGOTIATION
    if config.ssl_ciphers:
        try:
            context.set_ciphers(config.ssl_ciphers)
        except ssl.SSLError as exc:
            raise ConfigError(f"option ssl_ciphers = {config.ssl_ciphers!r}: OpenSSL says {_reason(exc)}") from None
    _load_authorities(context, config)
    _load_certificate(context, config)
    set_alpn(context, protocols)
    return context


def _set_version(context: ssl.SSLContext, version: ssl.TLSVersion | str | None) -> None:
    if version is None:
        oldest = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    else:
        oldest = _VERSIONS[version] if isinstance(version, str) else version
    try:
        context.minimum_version = oldest
    except ValueError:
        raise ConfigError(f"option ssl_version = {version!r}: this OpenSSL does not speak it") from None


def _load_authorities(context: ssl.SSLContext, config: Config) -> None:
    path, cert_reqs = config.ssl_ca_certs, int(config.ssl_cert_reqs)
    if path:
        _check_readable("ssl_ca_certs", path)
        try:
            context.load_verify_locations(path)
        except (ssl.SSLError, OSError) as exc:
            raise ConfigError(
                f"option ssl_ca_certs = {path!r}: holds no certificates (PEM): OpenSSL says {_reason(exc)}"
            ) from None
    elif cert_reqs:
        raise ConfigError(
            f"option ssl_cert_reqs = {cert_reqs!r}: needs ssl_ca_certs, the authorities that sign client certificates"
        )
    context.verify_mode = ssl.VerifyMode(cert_reqs)


def _load_certificate(context: ssl.SSLContext, config: Config) -> None:
    certfile, keyfile = config.ssl_certfile, config.ssl_keyfile or None
    if not certfile:
        raise ConfigError("option ssl_certfile: is not set, and the usual TLS context can't be made without it")
    _check_readable("ssl_certfile", certfile)
    if keyfile:
        _check_readable("ssl_keyfile", keyfile)
    asked = False

    def give_password() -> str:
        # Without this OpenSSL would ask on the terminal.
        nonlocal asked
        asked = True
        return config.ssl_keyfile_password or ""

    try:
        context.load_cert_chain(certfile, keyfile, give_password)
    except (ssl.SSLError, OSError, ValueError) as exc:
        _refuse_certificate(config, exc, asked)


def _refuse_certificate(config: Config, exc: Exception, asked: bool) -> NoReturn:
    """Say which of the options is to blame for a certificate and key that can't be loaded."""
    certfile, keyfile = config.ssl_certfile, config.ssl_keyfile or None
    key = f"option ssl_keyfile = {keyfile!r}" if keyfile else f"option ssl_certfile = {certfile!r}"
    if getattr(exc, "reason", None) in _MISMATCHES:
        raise ConfigError(f"{key}: the private key is not that of the certificate in {certfile!r}") from None
    if asked and config.ssl_keyfile_password is None:
        raise ConfigError(f"{key}: the private key is encrypted, and ssl_keyfile_password is not set") from None
    if asked:
        raise ConfigError(f"option ssl_keyfile_password: is not that of the key in {keyfile or certfile!r}") from None
    if not _holds_certificate(certfile):
        raise ConfigError(f"option ssl_certfile = {certfile!r}: holds no certificate (PEM)") from None
    reason = getattr(exc, "reason", None)
    if reason:
        raise ConfigError(f"option ssl_certfile = {certfile!r}: OpenSSL says {_reason(exc)}") from None
    hint = "" if keyfile else ", and ssl_keyfile is not set"
    raise ConfigError(f"{key}: holds no private key (PEM){hint}") from None


def _holds_certificate(path: str | None) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except (ssl.SSLError, OSError):
        return False
    return True


def _check_readable(name: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except (OSError, ValueError) as exc:
        raise ConfigError(f"option {name} = {path!r}: can't be read: {_reason(exc)}") from None


def _reason(exc: Exception) -> str:
    reason: str | None = getattr(exc, "reason", None)
    if reason:
        return reason.replace("_", " ").lower()
    return str(getattr(exc, "strerror", None) or exc.args[-1]).rstrip(".")


def _first_certificate(path: str | None) -> str | None:
    """The first certificate of a PEM file, which is the server's own."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    try:
        with open(path or "", encoding="ascii", errors="replace") as file:
            text = file.read()
        at = text.index(begin)
        block = text[at : text.index(end, at) + len(end)]
        return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(block))
    except (OSError, ValueError):
        return None


# Before the fork ---------------------------------------------------------------------------------------------


class _Shared(NamedTuple):
    """A context that the processes of one generation have in common, and the state of its files when it was made."""

    generation: object
    key: tuple[Any, ...]
    context: ssl.SSLContext
    state: list[_FileState]


_shared: _Shared | None = None


def share_context(config: Config, protocols: Sequence[str], generation: object) -> None:
    """Make the context that the processes take that are forked from this one; called before each fork.

    It is made once for each `generation` (any object), so that HUP brings new ticket keys. A context that a function of
    the operator's makes is left to be made in each process, as it always was. Raises `ConfigError`.
    """
    global _shared  # noqa: PLW0603 - what is forked is the module
    if config.ssl_context_factory is not None:
        _shared = None
        return
    key = _key_of(config, protocols)
    if _shared is not None and _shared.generation is generation and _shared.key == key:
        return
    state = _state_of(_paths_of(config))
    _shared = _Shared(generation, key, make_context(config, protocols), state)


def _key_of(config: Config, protocols: Sequence[str]) -> tuple[Any, ...]:
    return (tuple(protocols), config.ssl_certfile, *(getattr(config, name) for name in PARTS))


def _paths_of(config: Config) -> list[str]:
    return [path for path in (config.ssl_certfile, config.ssl_keyfile, config.ssl_ca_certs) if path]


def _state_of(paths: Sequence[str]) -> list[_FileState]:
    """What tells a file from the one that it replaces; symbolic links are followed."""
    state: list[_FileState] = []
    for path in paths:
        try:
            stat = os.stat(path)
        except (OSError, ValueError):
            state.append(None)
        else:
            state.append((stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return state


def _are_hidden(paths: Sequence[str]) -> bool:
    """Whether there is a folder that this process may not look into, as that of Let's Encrypt is root's alone."""
    for path in paths:
        try:
            os.stat(path)
        except PermissionError:
            return True
        except (OSError, ValueError):
            continue
    return False


# Changed files -----------------------------------------------------------------------------------------------


class TlsContexts:
    """The context of new connections: `context`, which shows other certificates after its files have changed.

    It is the same one, so that sessions are still resumed, unless the authorities have changed too or the new key is of
    another kind: a context keeps a certificate of each kind. Raises `ConfigError` when the first one can't be made. A
    connection keeps what it began with.

    `made` is one that somebody has had of these options before, and may have changed.
    """

    def __init__(
        self, config: Config, protocols: Sequence[str] = HTTP1_ONLY, made: ssl.SSLContext | None = None
    ) -> None:
        self._config = config
        self._protocols = protocols
        self._log = OwnLog()
        self._paths = _paths_of(config)
        self._looking = False
        # Why the files can't be used that are there now, as the log has it.
        self._refused = ""
        # A context of what the files hold now, which a look has found good; whether it can be loaded into the other.
        self._fresh: ssl.SSLContext | None = None
        self._in_place = False
        # The state of the files that was acted upon last, and the one that was seen last.
        self._used = self._seen = _state_of(self._paths)
        shared = _shared
        if made is not None:
            self._start_with(made, _states.get(made, self._used))
            return
        if shared is None or config.ssl_context_factory is not None or shared.key != _key_of(config, protocols):
            self.context = make_context(config, protocols)
            return
        if _are_hidden(self._paths):
            # This process has given up the user that may see them: the next ones come with HUP.
            self.context, self._paths = shared.context, []
            return
        # They may have changed since the first of the generation was forked.
        self._start_with(shared.context, shared.state)

    def _start_with(self, context: ssl.SSLContext, state: list[_FileState]) -> None:
        """Use a context that was made when the files were so."""
        self.context = context
        if state != self._used:
            self._used = state
            self.look()
            self.take()

    def on_tick(self, tick: int) -> None:
        """Called twice a second, in the loop: look at the files every few seconds, and use what was found.

        The look is taken in a thread, since the files may be on a file system that does not answer, and a key may take
        long to decrypt. It is no thread of a pool: one that hangs must not keep the process from ending.
        """
        if self._fresh is not None:
            self.take()
        if tick % LOOK_TICKS or self._looking or not self._paths:
            return
        self._looking = True
        try:
            threading.Thread(target=self._look, name="tls-files", daemon=True).start()
        except RuntimeError:
            # There are as many threads as the system allows; the next look is soon enough.
            self._looking = False

    def _look(self) -> None:
        try:
            self.look()
        finally:
            self._looking = False

    def look(self) -> None:
        """Look whether the files have changed, are good, and are not still changing; blocks."""
        state, seen = _state_of(self._paths), self._seen
        self._seen = state
        if state == self._used or state != seen:
            return
        try:
            fresh = make_context(self._config, self._protocols)
        except ConfigError as exc:
            # It is tried again: a key that may be read at last (chmod) does not look like another one.
            if str(exc) != self._refused:
                self._refused = str(exc)
                self._log.error("The TLS files have changed and can't be used, so the old ones stay in use: %s", exc)
            return
        in_place = self._config.ssl_context_factory is None and self._same_authorities(state)
        self._used, self._refused = state, ""
        self._in_place = in_place and _kind_of_key(fresh) == _kind_of_key(self.context) is not None
        self._fresh = fresh

    def take(self) -> None:
        """Use what a look has found; in the thread that begins the handshakes, or one may see half of it."""
        fresh, self._fresh = self._fresh, None
        if fresh is None:
            return
        if self._in_place:
            try:
                _load_certificate(self.context, self._config)
                server_certificates[self.context] = server_certificates[fresh]
            except ConfigError:
                # They have changed again: what was found good is used.
                self.context = fresh
        else:
            self.context = fresh
        self._log.info("The TLS files have changed: new connections use them.")

    def _same_authorities(self, state: Sequence[_FileState]) -> bool:
        """Whether ssl_ca_certs is as it was: a context forgets nobody whom it was told to trust."""
        return not self._config.ssl_ca_certs or state[-1] == self._used[-1]


def _kind_of_key(context: ssl.SSLContext) -> str | None:
    certificate = server_certificates.get(context)
    return None if certificate is None else key_algorithm(ssl.PEM_cert_to_DER_cert(certificate))


# For the loop ------------------------------------------------------------------------------------------------


def handshake_options(config: Config, loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
    """What the loop's methods that make TLS connections are to be told about time."""
    # None: asyncio's own 60 seconds.
    options: dict[str, Any] = {"ssl_handshake_timeout": config.timeout_request_head or None}
    if is_uvloop(loop) or tuple(sys.version_info) >= (3, 11):
        options["ssl_shutdown_timeout"] = SHUTDOWN_SECONDS
    return options
