"""The grammar that all versions of HTTP share (RFC 9110, 5): tokens, field values, lengths."""

from __future__ import annotations

import re

__all__ = [
    "CONTROLS",
    "LENGTH_DIGITS",
    "PLAIN_VALUE",
    "QUOTED",
    "TCHAR",
    "expectations",
    "find_control",
    "is_host",
    "is_token",
    "parse_length",
]

TCHAR = r"!#$%&'*+\-.^_`|~0-9A-Za-z"
"""tchar (5.6.2), what a token is made of, to stand between the brackets of a regular expression."""

CONTROLS = r"\x00-\x08\x0a-\x1f\x7f"
"""What field-value (5.5) leaves out, to stand there as well: controls other than HTAB."""

QUOTED = rf'"(?:[^{CONTROLS}"\\]|\\[^{CONTROLS}])*"'
"""quoted-string (5.6.4), in text of single bytes (latin-1)."""

LENGTH_DIGITS = 19
"""More digits than any Content-Length has, and fewer than Python takes for a number."""

PLAIN_VALUE = bytes(byte if 0x20 <= byte < 0x7F else byte ^ 1 for byte in range(256))
"""`value.translate(PLAIN_VALUE).strip() == value` says that a field value is visible ASCII and spaces, with none at its
ends: as it is, whoever reads it."""

is_token = re.compile(rf"[{TCHAR}]+".encode()).fullmatch
find_control = re.compile(rf"[{CONTROLS}]".encode()).search

# Host and :authority (RFC 9110, 7.2): a name, an IPv4 address or an IP-literal (RFC 3986, 3.2.2), and a port. Of the
# sub-delims, a comma is left out: it is how two lines become one. An IPv6 address without its brackets, with a port
# behind it or not, is none of these, but what monitors send that are told an address (`check_http -H ::1`).
is_host = re.compile(
    rb"(?:[0-9A-Za-z._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})*(?::[0-9]*)?|\[[0-9A-Za-z:._~!$&'()*+;=%-]+\](?::[0-9]*)?"
    rb"|[0-9A-Fa-f:.]{0,40}::[0-9A-Fa-f:.]{0,40}|[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){7}(?::[0-9]+)?"
).fullmatch


def expectations(value: bytes) -> set[bytes]:
    """The members of an Expect field (10.1.1), which is a list: one without any, as clients send it that want none, is
    no expectation."""
    return {member for part in value.lower().split(b",") if (member := part.strip(b" \t"))}


def parse_length(value: bytes) -> int | None:
    """The number in a Content-Length field (8.6); None where it is not one."""
    return int(value) if value.isdigit() and len(value) <= LENGTH_DIGITS else None
