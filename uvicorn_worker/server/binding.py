"""The sockets of a server that is not given any: of an address, of a path, or of a descriptor that was passed on.

They are bound before the application starts, so that an address that is taken is told at once, and listened on
after it has started: until then clients are refused, and a load balancer asks another server.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Collection, Sequence
from typing import Any

from uvicorn_worker.core.errors import BindError
from uvicorn_worker.core.kernel import duplicate_of, has_its_family, inherited_socket_of

__all__ = ["Bound", "bind", "bind_path", "hosts_of", "url_of", "urls_of"]

# What a unix socket may be used by where nothing else is said: by everyone, as uvicorn has it.
_PATH_MODE = 0o666


class Bound:
    """Sockets that a server has bound for itself, and is to close."""

    def __init__(self, sockets: Sequence[socket.socket], path: str | None = None) -> None:
        self.sockets = list(sockets)
        self._path = path
        self._inode = _inode(path)

    def close(self) -> None:
        """Close them; the path of a unix socket goes with it, unless another server has it by now."""
        for sock in self.sockets:
            sock.close()
        if self._path is not None and self._inode is not None and _inode(self._path) == self._inode:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
        self._path = None


def bind(
    host: str | Collection[str] | None,
    port: int,
    uds: str | None,
    fd: int | None,
    uds_mode: int | None = None,
    *,
    ipv6_only: bool = False,
) -> Bound:
    """Sockets for one of these: the descriptor before the path, and the path before the address.

    `uds_mode` are the permissions of the path; `::` is all IPv4 addresses, too, unless it is `ipv6_only`. Raises
    `BindError`, whose one line says what could not be bound, and why.
    """
    if fd is not None:
        return Bound([_inherited(fd)])
    if uds is not None:
        return Bound([bind_path(uds, uds_mode)], uds)
    return Bound(_bind_addresses(hosts_of(host), port, ipv6_only))


def _inherited(fd: int) -> socket.socket:
    """A descriptor that systemd or a supervisor has passed on; of which family it is, the kernel knows."""
    try:
        return inherited_socket_of(os.dup(fd))
    except OSError as exc:
        raise BindError(f"fd {fd} can't be served: {exc.strerror}") from None


# Addresses ------------------------------------------------------------------------------------------------------


def hosts_of(host: str | Collection[str] | None) -> list[str | None]:
    """The option `host`, which may be several, one by one; None: all addresses of the machine."""
    if host is None or isinstance(host, str):
        return [host or None]
    return [each or None for each in host]


def _bind_addresses(hosts: Sequence[str | None], port: int, ipv6_only: bool) -> list[socket.socket]:
    """A socket for each address of these hosts.

    With port 0 the kernel chooses one, and all of the addresses get the same.
    """
    found: dict[Any, str | None] = {}
    for each in hosts:
        try:
            infos = socket.getaddrinfo(each, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as exc:
            raise BindError(f"host {each!r} has no address: {exc.strerror or exc}") from None
        for info in infos:
            found.setdefault(info, each)
    bound: list[socket.socket] = []
    refused: OSError | None = None
    # `::` means all addresses to Gunicorn and to uvicorn's `--workers` and `--reload`, but not to its server alone.
    ipv6_only = ipv6_only or any(info[4][0] == "0.0.0.0" for info in found)
    for (family, kind, protocol, _, address), host in found.items():
        chosen = port or (bound[0].getsockname()[1] if bound else 0)
        try:
            where = (family, kind, protocol, (address[0], chosen, *address[2:]))
            bound.append(_for_both(*where) if address[0] == "::" and not ipv6_only else _listener(*where))
        except OSError as exc:
            # A machine may know IPv6 addresses and not speak it: what counts is that one of them can be had.
            if exc.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and len(found) > 1:
                refused = exc
                continue
            for sock in bound:
                sock.close()
            raise BindError(f"{_shown(host)}:{port} can't be bound: {_reason(exc, port)}") from None
    if not bound:
        reason = _reason(refused, port) if refused else "there is no address"
        raise BindError(f"{_shown(hosts[0])}:{port} can't be bound: {reason}")
    return bound


def _for_both(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    """One for the IPv4 addresses, too; where those are somebody's, or the system knows no such socket, without them."""
    try:
        return _listener(family, kind, protocol, address, ipv6_only=0)
    except OSError:
        return _listener(family, kind, protocol, address)


def _listener(family: int, kind: int, protocol: int, address: tuple[object, ...], ipv6_only: int = 1) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        # A port whose last connections are in TIME_WAIT is free.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # The IPv4 addresses have a socket of their own, mostly.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, ipv6_only)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _reason(exc: OSError, port: int) -> str:
    if exc.errno == errno.EADDRINUSE:
        from uvicorn_worker.server.occupant import occupant

        return f"{occupant(port) or 'another process'} has it; stop that one, or choose another port"
    if exc.errno == errno.EACCES and port < 1024:
        return "ports below 1024 need a privilege; choose another port"
    return exc.strerror or str(exc)


def _shown(host: str | None) -> str:
    return f"[{host}]" if host and ":" in host else host or "*"


# Paths ----------------------------------------------------------------------------------------------------------


def bind_path(path: str, permissions: int | None = None) -> socket.socket:
    """A unix socket at `path`, with these permissions, or those that a socket had there before; raises `BindError`.

    One that nobody listens on any more is taken away; one that answers, and what is no socket, is left alone. Python on
    Windows has no unix sockets.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise BindError(f"uds {path}: Python has no unix sockets on this system; bind to a host and a port")
    mode = _PATH_MODE
    try:
        found = os.stat(path)
    except OSError:
        # What else is wrong with the path, bind() will tell.
        found = None
    if found is not None:
        if not stat.S_ISSOCK(found.st_mode):
            raise BindError(f"uds {path}: there is something else that is no socket")
        mode = stat.S_IMODE(found.st_mode)
        if _answers(path):
            from uvicorn_worker.server.occupant import occupant

            who = occupant(path=path) or "another process"
            raise BindError(f"uds {path}: {who} listens there; stop that one, or choose another path")
        with contextlib.suppress(OSError):
            os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        os.chmod(path, mode if permissions is None else permissions)
    except OSError as exc:
        sock.close()
        raise BindError(f"uds {path} can't be bound: {exc.strerror or exc}") from None
    return sock


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(path)
        except BlockingIOError:
            # Its queue is full, so somebody has it.
            return True
        except OSError:
            return False
    return True


def _inode(path: str | None) -> tuple[int, int] | None:
    try:
        found = os.stat(path or "")
    except OSError:
        return None
    return found.st_dev, found.st_ino


# What is said of them -------------------------------------------------------------------------------------------


def urls_of(sockets: Sequence[socket.socket], host: Any, *, secure: bool) -> list[str]:
    """Where clients find these sockets, each once: by the option `host` where that is a name, as localhost is.

    What belongs to a name, cookies and the addresses that a login leads back to, is not found by the address.
    """
    name = host if isinstance(host, str) and ":" not in host and not host.replace(".", "").isdigit() else None
    return list(dict.fromkeys(url_of(sock, secure=secure, name=name) for sock in sockets))


def url_of(sock: socket.socket, *, secure: bool, name: str | None = None) -> str:
    """Where a client finds this socket, of an address that is known as `name`."""
    if has_its_family(sock):
        address = sock.getsockname()
    else:
        with duplicate_of(sock) as known:
            address = known.getsockname()
    if not isinstance(address, tuple):
        return f"unix socket {address}"
    return f"{'https' if secure else 'http'}://{name or _shown(address[0])}:{address[1]}"
