"""Requests and responses as Gunicorn's loggers and hooks know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Any

from uvicorn_worker.core.response_fields import as_pair
from uvicorn_worker.logs.atoms import path_of, query_of

__all__ = ["Fields", "RequestView", "ResponseView"]


class Fields(list[tuple[str, str]]):
    """Names and values, as Gunicorn's list; some loggers ask it as they would a mapping, which only fails elsewhere."""

    def get(self, name: str, default: Any = None) -> Any:
        """The first value of that name, in whatever case."""
        wanted = name.lower()
        return next((value for each, value in self if each.lower() == wanted), default)


class RequestView:
    """What a Gunicorn logger or hook may ask of a request; what costs something is made when it is asked for."""

    fragment = ""
    body = None
    proxy_protocol_info = None

    def __init__(self, scope: Mapping[str, Any], target: bytes) -> None:
        self._scope = scope
        self._target = target
        self.method: str = scope.get("method", "GET")
        self.scheme: str = scope["scheme"]
        # The client, as the proxies that are trusted tell it.
        self.remote_addr = self.peer_addr = scope["client"] or ("", 0)
        self.trailers: list[tuple[str, str]] = []

    @cached_property
    def headers(self) -> Fields:
        """Names in upper case, and values, in the order in which they came."""
        fields = self._scope["headers"]
        return Fields((name.decode("latin-1").upper(), value.decode("latin-1")) for name, value in fields)

    @cached_property
    def uri(self) -> str:
        """The request target as it was sent."""
        return self._target.decode("latin-1")

    @cached_property
    def raw_path(self) -> bytes:
        """The path as it was sent."""
        return self._target.partition(b"?")[0]

    @cached_property
    def path(self) -> str:
        """The path, percent-decoded."""
        return path_of(self._target)

    @cached_property
    def query(self) -> str:
        """The query as it was sent, without the question mark."""
        return query_of(self._target)

    @cached_property
    def version(self) -> tuple[int, int]:
        """The version of HTTP."""
        major, _, minor = self._scope["http_version"].partition(".")
        return int(major), int(minor or 0)


class ResponseView:
    """What a Gunicorn logger or hook may ask of a response.

    `status` is text, `status_code` the number; both are None where there was no response.
    """

    upgrade = False

    def __init__(self, status: int | None, headers: Iterable[tuple[bytes, bytes]], sent: int) -> None:
        self._headers = headers
        self.status_code = status
        self.sent = self.response_length = sent
        self.headers_sent = status is not None

    @cached_property
    def status(self) -> str | None:
        """The status and its phrase, as in `200 OK`."""
        if self.status_code is None:
            return None
        try:
            return f"{self.status_code} {HTTPStatus(self.status_code).phrase}"
        except ValueError:
            return str(self.status_code)

    @cached_property
    def headers(self) -> Fields:
        """The fields that the application has set."""
        return Fields((name.decode("latin-1"), value.decode("latin-1")) for name, value in map(as_pair, self._headers))
