"""The connection of the h2 library, set up so that it keeps out of what is done around it."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings
from hpack import Decoder

from uvicorn_worker.http2.engine.codes import MAX_STREAM_ID
from uvicorn_worker.http2.engine.encoding import NO_TABLE, encode_field
from uvicorn_worker.http2.engine.limits import Limits

__all__ = ["ERROR_CODES", "FieldDecoder", "make_connection"]

Fields = list[tuple[bytes, bytes]]

_CONFIG = H2Configuration(
    client_side=False,
    header_encoding=None,
    # request_heads.py does it, so that it is a fault of the stream.
    validate_inbound_headers=False,
    normalize_inbound_headers=False,
    # The protocol has checked what the application sends.
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)

ERROR_CODES = {int(code): code for code in ErrorCodes}


class FieldDecoder(Decoder):
    """Keeps what it has decoded; h2 sees no fields, since it takes a wrong Content-Length for a connection error."""

    fields: Fields

    def decode(self, data: bytes, raw: bool = False) -> Iterable[Any]:
        self.fields = [(bytes(name), bytes(value)) for name, value in super().decode(data, raw=True)]
        return [(b":method", b"GET")]


class FieldEncoder:
    """Stands in for hpack's encoder: fields by their own, see encoding.py."""

    memo: dict[tuple[bytes, bytes], bytes] = {}  # noqa: RUF012 - one for all connections

    def __init__(self) -> None:
        self._table_size = 4096
        self._start = b""

    @property
    def header_table_size(self) -> int:
        return self._table_size

    @header_table_size.setter
    def header_table_size(self, size: int) -> None:
        if size < 4096 <= self._table_size:
            self._start = NO_TABLE
        self._table_size = min(size, self._table_size)

    def encode(self, fields: Fields) -> bytes:
        start, self._start = self._start, b""
        memo = self.memo
        return start + b"".join([memo.get(field) or _remember(memo, field) for field in fields])


def _remember(memo: dict[tuple[bytes, bytes], bytes], field: tuple[bytes, bytes]) -> bytes:
    encoded = encode_field(*field)
    if len(encoded) <= 128:
        if len(memo) >= 2048:
            memo.clear()
        memo[field] = encoded
    return encoded


def make_connection(limits: Limits, upgrade: bytes | None) -> tuple[H2Connection, FieldDecoder]:
    """h2's connection, told what is announced; SETTINGS themselves are written by the engine.

    `upgrade` is the payload of HTTP2-Settings, None without an upgrade; h2 raises `ProtocolError` for a wrong one.
    """
    conn = H2Connection(_CONFIG)
    decoder = conn.decoder = FieldDecoder(limits.header_list_bound)
    conn.encoder = FieldEncoder()  # type: ignore[assignment]  # has what h2 uses of it
    # Streams above the limit are refused by the engine; h2 would end the connection.
    unlimited = {SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAM_ID}
    conn.local_settings = Settings(client=False, initial_values=unlimited)
    conn.max_inbound_frame_size = 2**24
    if upgrade is None:
        conn.initiate_connection()
    else:
        conn.initiate_upgrade_connection(base64.urlsafe_b64encode(upgrade))
    # In force once the client has acknowledged.
    conn.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: limits.initial_window_size})
    conn.clear_outbound_data_buffer()
    return conn, decoder
