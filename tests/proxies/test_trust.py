"""Which peers are trusted."""

from __future__ import annotations

import pytest

from uvicorn_worker.proxies.trust import Trust, address_number

DEFAULT = "127.0.0.1,::1,unix"


@pytest.mark.parametrize(
    ("allowed", "host", "trusted"),
    [
        (DEFAULT, "127.0.0.1", True),
        (DEFAULT, "127.0.0.2", False),
        (DEFAULT, "::1", True),
        (DEFAULT, "0:0:0:0:0:0:0:1", True),
        (DEFAULT, "::2", False),
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.0", False),
        # Host bits beside the prefix are no mistake of consequence.
        ("10.1.2.3/8", "10.0.0.1", True),
        ("2001:db8::/32", "2001:db8:1::1", True),
        ("2001:db8::/32", "2001:db9::", False),
        ("0.0.0.0/0", "192.0.2.1", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        # RFC 4291, 2.5.5.2: what a dual-stack socket calls an IPv4 peer.
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "::ffff:c000:201", True),
        ("192.0.2.0/24", "::ffff:192.0.3.1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.0/120", "192.0.2.9", True),
        # An address is the same in each zone.
        ("fe80::1", "fe80::1%eth0", True),
        ("fe80::/10", "fe80::2%1", True),
        ("fe80::1", "fe80::1%", False),
        ("fe80::1", "fe80::1%a b", False),
        ("*", "192.0.2.1", True),
        ("*", "no address", True),
        ("unix", "127.0.0.1", False),
        ("0.0.0.0/0,::/0", "no address", False),
        ("0.0.0.0/0,::/0", "", False),
        ("0.0.0.0/0,::/0", "1.2.3", False),
        ("0.0.0.0/0,::/0", "01.2.3.4", False),
        ("0.0.0.0/0,::/0", "1.2.3.4\0", False),
        ("0.0.0.0/0,::/0", "\uff11.2.3.4", False),
        ([], "127.0.0.1", False),
        ("", "127.0.0.1", False),
        (["10.0.0.1", " 10.0.0.2 "], "10.0.0.2", True),
    ],
)
def test_hosts(allowed: str | list[str], host: str, trusted: bool) -> None:
    trust = Trust(allowed)
    for _ in range(2):
        assert trust.trusts((host, 1)) is trusted


@pytest.mark.parametrize(
    ("allowed", "trusted"), [(DEFAULT, True), ("unix", True), ("*", True), ("127.0.0.1", False), ("", False)]
)
def test_unix_sockets(allowed: str, trusted: bool) -> None:
    assert Trust(allowed).trusts(None) is trusted


def test_what_is_remembered_has_a_bound() -> None:
    trust = Trust("10.0.0.0/16")
    for number in range(20_000):
        host = f"10.{number >> 8 & 1}.{number & 255}.{number >> 9}"
        assert trust.trusts((host, 0)) is (number >> 8 & 1 == 0)
    assert not trust.trusts(("x" * 10_000, 0))
    assert len(trust.verdicts) <= 4096
    assert max(map(len, trust.verdicts)) < 100


def test_numbers() -> None:
    assert address_number("0.0.0.1") == (0xFFFF << 32) + 1
    assert address_number("::1") == 1
    assert address_number("unknown") is None
