"""The atoms of Gunicorn's `access_log_format`, `%(h)s` to `%(L)s`, and lines made of them.

Gunicorn's own logger makes a dictionary of all atoms, header fields and environ variables for each line. Here a
format is compiled once into the atoms that it names, and only these are computed.
"""

from __future__ import annotations

import base64
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from uvicorn_worker.core.log import escaped
from uvicorn_worker.core.response_fields import as_pair
from uvicorn_worker.core.runtime import CycleView

__all__ = ["Atoms", "compile_format", "compile_line", "make_environ", "path_of", "query_of"]

_ATOM = r"%\(([^)]+)\)s"


class Atoms(Mapping[str, Any]):
    """All atoms of one response, each computed when it is asked for; one that does not exist is `-`."""

    __slots__ = ("cycle", "elapsed", "fields")

    def __init__(self, cycle: CycleView, elapsed: float | None = None) -> None:
        self.cycle = cycle
        self.elapsed = time.monotonic() - cycle.started if elapsed is None else elapsed
        self.fields: dict[bytes, bytes] | None = None

    def __getitem__(self, name: str) -> Any:
        return _getter(name)(self)

    def __iter__(self) -> Iterator[str]:
        return iter(_ATOMS)

    def __len__(self) -> int:
        return len(_ATOMS)


def compile_format(access_log_format: str) -> Callable[[Atoms], str]:
    """A function from atoms to the line, for Gunicorn's `%(name)s` formats."""
    names = re.findall(_ATOM, access_log_format)
    template = re.sub(_ATOM, "%s", access_log_format)
    try:
        template % tuple(names)
    except (TypeError, ValueError, OverflowError, MemoryError):
        # Something other than %(name)s, as %(D)d, or a width that there is no room for: left to the formatting with
        # the mapping itself.
        return lambda atoms: access_log_format % atoms
    getters = [_getter(name) for name in names]
    return lambda atoms: template % tuple([get(atoms) for get in getters])


class _Texts(dict[Any, str]):
    """What clients have sent, bytes or text, as it is logged; the same comes again and again, and is looked at once."""

    __slots__ = ()

    def __missing__(self, sent: Any) -> str:
        text = escaped(sent.decode("latin-1") if isinstance(sent, bytes) else str(sent))
        if len(text) <= _LONGEST_KNOWN:
            if len(self) >= _MOST_KNOWN:
                self.clear()
            self[sent] = text
        return text


# How many texts are known of each kind, and how long they are: 256 KiB at most.
_MOST_KNOWN = 256
_LONGEST_KNOWN = 512

# How the usual atoms are written: pieces of an f-string of the names in `compile_line`.
_USUAL = {
    "h": "{hosts[client[0]] if client else '-'}",
    "l": "-",
    # One that has logged in is left to the slow way.
    "u": "-",
    "t": "{now(None)}",
    "r": "{method} {target} HTTP/{scope['http_version']}",
    "s": "{cycle.status}",
    "m": "{method}",
    "H": "HTTP/{scope['http_version']}",
    "b": "{cycle.body_sent}",
    "B": "{cycle.body_sent}",
    "f": "{texts[fields.get(b'referer', dash)]}",
    "a": "{texts[fields.get(b'user-agent', dash)]}",
    "T": "{int(elapsed)}",
    "D": "{int(elapsed * 1000000)}",
    "M": "{int(elapsed * 1000)}",
    "p": "<{getpid()}>",
}


def compile_line(access_log_format: str) -> Callable[[CycleView, float], str]:
    """A function from a response, and the seconds that it has taken, to the line; as `compile_format`, but faster.

    For a format of the usual atoms it is a function of its own, that makes the line at once.
    """
    make_line = compile_format(access_log_format)

    def make_slowly(cycle: CycleView, elapsed: float) -> str:
        return make_line(Atoms(cycle, elapsed))

    # What is between the atoms, and each second their names.
    pieces = re.split(_ATOM, access_log_format)
    names = pieces[1::2]
    if not set(names) <= _USUAL.keys() or any("%" in each for each in pieces[::2]):
        return make_slowly
    body = ["scope = cycle.scope", "client, method = scope['client'], scope['method']"]
    if "r" in names:
        # No request line was read, or none that can be understood.
        body.append("if method == '-': return slowly(cycle, elapsed)")
        body.append("target = cycle.target.decode('latin-1')")
        body.append("if not target.isprintable() or '\"' in target or backslash in target: target = escaped(target)")
    if set(names) & {"u", "f", "a"}:
        body.append("fields = dict(scope['headers'])")
    if "u" in names:
        body.append("if b'authorization' in fields: return slowly(cycle, elapsed)")
    pieces[1::2] = [_USUAL[name] for name in names]
    pieces[::2] = [_in_source(each) for each in pieces[::2]]
    body.append(f'return f"""{"".join(pieces)}"""')
    known: dict[str, Any] = {
        "now": _ATOMS["t"], "getpid": os.getpid, "dash": b"-", "slowly": make_slowly, "escaped": escaped,
        "hosts": _Texts(), "texts": _Texts(), "backslash": "\\",
    }  # fmt: skip
    exec("def make_line(cycle, elapsed):\n    " + "\n    ".join(body), known)  # noqa: S102 - as namedtuple() does
    made: Callable[[CycleView, float], str] = known["make_line"]
    return made


def _in_source(text: str) -> str:
    """Text as it is written in an f-string: only letters, digits and blanks are themselves."""
    return "".join(
        [each if (each.isalnum() and each.isascii()) or each == " " else f"\\U{ord(each):08x}" for each in text]
    )


def _getter(name: str) -> Callable[[Atoms], Any]:
    """What computes the atom of this name."""
    getter = _ATOMS.get(name)
    if getter is not None:
        return getter
    if name[:1] == "{" and name[-2:] in ("}i", "}o", "}e"):
        key = name[1:-2].lower()
        wanted = key.encode("latin-1", "replace")
        if name[-1] == "i":
            return lambda atoms: _request_field(atoms, wanted)
        if name[-1] == "o":
            return lambda atoms: _response_field(atoms.cycle, wanted)
        return lambda atoms: _environ_variable(atoms.cycle, key)
    return lambda atoms: "-"


# The request and the response ----------------------------------------------------------------------------------


def path_of(target: bytes) -> str:
    """The path of a request target as the client sent it, percent-decoded."""
    return unquote(target.partition(b"?")[0].decode("latin-1"))


def query_of(target: bytes) -> str:
    """The query of a request target, as it was sent."""
    return target.partition(b"?")[2].decode("latin-1")


def make_environ(scope: Mapping[str, Any], target: bytes) -> dict[str, Any]:
    """The CGI variables of a request, as Gunicorn's loggers and hooks expect them."""
    client, server = scope["client"], scope["server"]
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.get("method", "GET"),
        "RAW_URI": target.decode("latin-1"),
        "PATH_INFO": path_of(target),
        "QUERY_STRING": query_of(target),
        "SCRIPT_NAME": scope["root_path"],
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0] if server else "",
        "SERVER_PORT": str(server[1] or "") if server else "",
        "REMOTE_ADDR": client[0] if client else "-",
        "REMOTE_PORT": str(client[1]) if client else "",
        "wsgi.url_scheme": scope["scheme"],
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ


def _request_field(atoms: Atoms, name: bytes) -> str:
    fields = atoms.fields
    if fields is None:
        # As with Gunicorn's dictionary, the last field of a name is the one that is shown.
        fields = atoms.fields = dict(atoms.cycle.scope["headers"])
    value = fields.get(name)
    return "-" if value is None else escaped(value.decode("latin-1"))


def _response_field(cycle: CycleView, wanted: bytes) -> str:
    values = [value for name, value in map(as_pair, cycle.response_headers) if name.lower() == wanted]
    return escaped(values[-1].decode("latin-1")) if values else "-"


def _environ_variable(cycle: CycleView, wanted: str) -> str:
    environ = {name.lower(): value for name, value in make_environ(cycle.scope, cycle.target).items()}
    return escaped(str(environ.get(wanted, "-")))


def _host(atoms: Atoms) -> str:
    client = atoms.cycle.scope["client"]
    return escaped(str(client[0])) if client else "-"


def _user(atoms: Atoms) -> str:
    scheme, _, encoded = _request_field(atoms, b"authorization").partition(" ")
    if scheme.lower() != "basic":
        return "-"
    try:
        user = base64.b64decode(encoded.strip()).partition(b":")[0].decode("utf-8")
    except ValueError:
        return "-"
    return escaped(user) or "-"


def _request_line(atoms: Atoms) -> str:
    """The request target is the client's: without the root_path that the server puts before the path."""
    cycle = atoms.cycle
    scope = cycle.scope
    method = scope["method"]
    if method == "-":
        # No request line was read, or none that can be understood.
        return "-"
    return escaped(f"{method} {cycle.target.decode('latin-1')} HTTP/{scope['http_version']}")


def _seconds(atoms: Atoms) -> str:
    seconds, rest = divmod(int(atoms.elapsed * 1_000_000), 1_000_000)
    return f"{seconds}.{rest:06d}"


class _Now:
    """The time in the form of the Common Log Format, which changes once a second."""

    __slots__ = ("second", "text")

    def __init__(self) -> None:
        self.second, self.text = 0, ""

    def __call__(self, atoms: Atoms) -> str:
        second = int(time.time())
        if second != self.second:
            self.second = second
            self.text = time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(second))
        return self.text


_ATOMS: dict[str, Callable[[Atoms], Any]] = {
    "h": _host,
    "l": lambda atoms: "-",
    "u": _user,
    "t": _Now(),
    "r": _request_line,
    "s": lambda atoms: str(atoms.cycle.status),
    "m": lambda atoms: atoms.cycle.scope["method"],
    "U": lambda atoms: escaped(path_of(atoms.cycle.target)),
    "q": lambda atoms: escaped(query_of(atoms.cycle.target)),
    "H": lambda atoms: f"HTTP/{atoms.cycle.scope['http_version']}",
    "b": lambda atoms: str(atoms.cycle.body_sent),
    "B": lambda atoms: atoms.cycle.body_sent,
    "f": lambda atoms: _request_field(atoms, b"referer"),
    "a": lambda atoms: _request_field(atoms, b"user-agent"),
    "T": lambda atoms: int(atoms.elapsed),
    "D": lambda atoms: int(atoms.elapsed * 1_000_000),
    "M": lambda atoms: int(atoms.elapsed * 1000),
    "L": _seconds,
    "p": lambda atoms: f"<{os.getpid()}>",
}
