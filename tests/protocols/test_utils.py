"""`uvicorn.protocols.utils`, which middlewares import that write an access line of their own."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols import utils as theirs

from uvicorn_worker.core.errors import ClientDisconnected
from uvicorn_worker.protocols import utils

SCOPES: list[dict[str, Any]] = [
    {"client": ("192.0.2.1", 5), "path": "/a b/\u00e9", "query_string": b"x=%20"},
    {"client": None, "path": "/", "query_string": b""},
]


def test_they_say_what_uvicorns_say() -> None:
    for scope in SCOPES:
        for name in ("get_client_addr", "get_path_with_query_string"):
            assert getattr(utils, name)(scope) == getattr(theirs, name)(scope)
    assert utils.get_path_with_query_string(SCOPES[0]) == "/a%20b/%C3%A9?x=%20"


def test_the_error_is_the_one_that_send_raises() -> None:
    assert utils.ClientDisconnected is ClientDisconnected
    assert issubclass(ClientDisconnected, OSError)
