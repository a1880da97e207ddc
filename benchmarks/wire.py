"""A request as bytes, and the check that a server answers it as it should before its speed is measured."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from dataclasses import dataclass
from typing import cast

# In a header's value, stands for eight hexadecimal digits that are others in each request.
VARIED = "{varied}"


class WrongAnswer(Exception):
    """A server's answer is not what the scenario expects, so its speed would mean nothing."""


@dataclass(frozen=True)
class Request:
    """One HTTP/1.1 request. The Host header is added first, since it carries the port."""

    path: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def encode(self, port: int) -> bytes:
        headers = (("host", f"127.0.0.1:{port}"), *self.headers)
        if self.body:
            headers += (("content-length", str(len(self.body))),)
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


class _SharedReader(io.BufferedReader):
    """HTTPResponse closes its file after each response; pipelined ones have to share it."""

    def makefile(self, *args: object) -> _SharedReader:
        return self

    def close(self) -> None:
        pass


def check_answers(
    port: int, request: Request, expected: bytes, pipeline: int = 1, batches: int = 2, *, tls: bool = False
) -> None:
    """Send *request* in batches of *pipeline* over one connection; raise WrongAnswer on anything unexpected.

    The second batch shows that the server keeps the connection alive.
    """
    try:
        with _connect(port, tls=tls) as sock:
            reader = _SharedReader(cast("io.RawIOBase", socket.SocketIO(sock, "r")))
            for batch in range(batches):
                varied = f"{batch:08x}".encode()
                sock.sendall(request.encode(port).replace(VARIED.encode(), varied) * pipeline)
                for _ in range(pipeline):
                    _check_one(reader, request.method, expected)
    except (OSError, http.client.HTTPException) as error:
        raise WrongAnswer(f"no proper answer: {error!r}") from error


def _connect(port: int, *, tls: bool) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    if not tls:
        return sock
    # The certificate is one that was made for the run.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock)


def _check_one(reader: _SharedReader, method: str, expected: bytes) -> None:
    # HTTPResponse asks its socket for nothing but makefile().
    response = http.client.HTTPResponse(cast("socket.socket", reader), method=method)
    response.begin()
    body = response.read()
    if response.status != 200:
        raise WrongAnswer(f"status {response.status}")
    if body != expected:
        raise WrongAnswer(f"unexpected body of {len(body)} bytes instead of {len(expected)}")
