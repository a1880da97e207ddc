"""Headers of the PROXY protocol, as a proxy writes them."""

from __future__ import annotations

import socket
import struct

__all__ = ["SIGNATURE", "checked", "tlv", "v1", "v2", "v2_unix"]

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TCP4, TCP6, UNIX = 0x11, 0x21, 0x31


def v1(source: str = "203.0.113.5", destination: str = "10.0.0.9", ports: str = "50123 443") -> bytes:
    kind = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {kind} {source} {destination} {ports}\r\n".encode()


def v2(
    source: str = "203.0.113.5",
    destination: str = "10.0.0.9",
    ports: tuple[int, int] = (50123, 443),
    tlvs: bytes = b"",
    command: int = 0x21,
    family: int | None = None,
) -> bytes:
    kind = socket.AF_INET6 if ":" in source else socket.AF_INET
    body = socket.inet_pton(kind, source) + socket.inet_pton(kind, destination) + struct.pack("!HH", *ports) + tlvs
    usual = TCP6 if ":" in source else TCP4
    return SIGNATURE + struct.pack("!BBH", command, usual if family is None else family, len(body)) + body


def v2_unix(source: bytes, destination: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH108s108s", 0x21, UNIX, 216, source, destination)


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def checked(header: bytes) -> bytes:
    """The same header with a checksum behind it (PP2_TYPE_CRC32C)."""
    size = struct.unpack("!H", header[14:16])[0] + 7
    blank = header[:14] + struct.pack("!H", size) + header[16:] + tlv(3, bytes(4))
    return blank[:-4] + struct.pack("!I", slow_crc32c(blank))


def slow_crc32c(data: bytes) -> int:
    """Bit by bit, as a division of polynomials."""
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            carry = (crc ^ byte >> bit) & 1
            crc = crc >> 1 ^ 0x82F63B78 * carry
    return crc ^ 0xFFFFFFFF
