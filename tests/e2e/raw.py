"""A client that sends exactly the bytes it is told to, and sees exactly what comes back."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["Connection", "Response", "Truncated"]


class Truncated(ConnectionError):
    """The connection ended before the response did; ``got`` holds what came of it."""

    def __init__(self, got: bytes) -> None:
        super().__init__(f"connection ended after {got[-200:]!r}")
        self.got = got


@dataclass(frozen=True)
class Response:
    version: str
    status: int
    reason: str
    headers: dict[str, str]  # names in lower case; repeated fields joined by ", "
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether the server said that this is the connection's last response."""
        return self.headers.get("connection", "").lower() == "close"


class Connection:
    """A TCP or unix-socket connection; ``address`` is ``(host, port)`` or a path."""

    def __init__(self, address: tuple[str, int] | str, timeout: float) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    @property
    def local_port(self) -> int:
        return int(self.socket.getsockname()[1])

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(self, target: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> None:
        """Send a request without a body; ``fields`` are whole header lines."""
        head = [f"{method} {target} HTTP/{version}", "Host: test", *fields, "", ""]
        self.send("\r\n".join(head).encode("latin-1"))

    def get(self, target: str = "/", *fields: str) -> Response:
        self.request(target, *fields)
        return self.response()

    def _more(self) -> bool:
        """Read once; False at the end of the connection."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self._buffer += data
        return bool(data)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            if not self._more():
                raise Truncated(self._buffer)
        taken, _, self._buffer = self._buffer.partition(mark)
        return taken

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not self._more():
                raise Truncated(self._buffer)
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def skip(self, size: int) -> None:
        """Read that much, and keep none of it."""
        while size > len(self._buffer):
            size -= len(self._buffer)
            self._buffer = b""
            if not self._more():
                raise Truncated(b"")
        self._buffer = self._buffer[size:]

    def rest(self) -> bytes:
        """Everything up to the end of the connection, however it ends."""
        while self._more():
            pass
        taken, self._buffer = self._buffer, b""
        return taken

    def head(self) -> Response:
        """The next response's head, without its body."""
        status_line, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, reason = (status_line + " ").split(" ", 2)
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Response(version, int(status), reason.strip(), headers, b"")

    def response(self, method: str = "GET") -> Response:
        """The next response that is not an interim one, whole; :exc:`Truncated` when the connection ends before."""
        head = self.head()
        while head.status < 200:
            head = self.head()
        if method == "HEAD" or head.status in (204, 304):
            body = b""
        elif "chunked" in head.headers.get("transfer-encoding", ""):
            body = self._chunked()
        elif "content-length" in head.headers:
            body = self._exactly(int(head.headers["content-length"]))
        else:
            body = self.rest()
        return Response(head.version, head.status, head.reason, head.headers, body)

    def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty for the last."""
        size = int(self._until(b"\r\n").partition(b";")[0], 16)
        data = self._exactly(size)
        self._until(b"\r\n")
        return data

    def _chunked(self) -> bytes:
        body = b""
        while data := self.chunk():
            body += data
        return body
