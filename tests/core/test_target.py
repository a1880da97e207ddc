"""The functions of target.py."""

from __future__ import annotations

import pytest

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.target import checked_target, method_name, printable_target, to_origin_form


@pytest.mark.parametrize("target", [b"/\xe9", b"/?\xff"])
def test_checked_target_refuses(target: bytes) -> None:
    with pytest.raises(RequestRefused) as caught:
        checked_target(target)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("target", "expected"),
    [(b"/#", b"/"), (b"/a#b", b"/a"), (b"/a?b#c?d#e", b"/a?b"), (b"/%23", b"/%23")],
)
def test_checked_target_has_no_fragment(target: bytes, expected: bytes) -> None:
    assert checked_target(target) == expected


@pytest.mark.parametrize("target", [b"/", b"*", b"/a?b", b"/%23", b'/"<>^`{|}'])
def test_checked_target_takes(target: bytes) -> None:
    assert checked_target(target) == target


@pytest.mark.parametrize(
    ("target", "method", "expected"),
    [
        (b"*", "OPTIONS", (b"*", None)),
        (b"http://a/b?c", "GET", (b"/b?c", b"a")),
        (b"http://a", "GET", (b"/", b"a")),
        (b"http://a/", "GET", (b"/", b"a")),
        (b"http://a?b", "GET", (b"/?b", b"a")),
        (b"http://a?b/c", "GET", (b"/?b/c", b"a")),
        (b"HTTPS://a:443/b", "GET", (b"/b", b"a:443")),
        (b"http://[::1]:80/b", "GET", (b"/b", b"[::1]:80")),
        (b"http://a//b", "GET", (b"//b", b"a")),
    ],
)
def test_to_origin_form(target: bytes, method: str, expected: tuple[bytes, bytes | None]) -> None:
    assert to_origin_form(target, method) == expected


@pytest.mark.parametrize(
    ("target", "method"),
    [
        (b"*", "GET"),
        (b"**", "OPTIONS"),
        (b"", "GET"),
        (b"a", "GET"),
        (b"a:80", "GET"),
        (b"http://", "GET"),
        (b"http://a#b", "GET"),
        (b"http://a b/", "GET"),
        (b"http:///a", "GET"),
        (b"http://?a", "GET"),
        (b"http:/a/b", "GET"),
        (b"ws://a/b", "GET"),
        (b"://a/b", "GET"),
    ],
)
def test_to_origin_form_refuses(target: bytes, method: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        to_origin_form(target, method)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("target", "shown"), [(b"/a?b", b"/a?b"), (b"/a b\x00\xff", b"/a%20b%00%FF"), (b"/" * 2000, b"/" * 1024)]
)
def test_what_is_shown_of_a_target(target: bytes, shown: bytes) -> None:
    assert printable_target(target) == shown


@pytest.mark.parametrize(
    ("method", "plain", "folded", "permitted"),
    [
        (b"GET", "GET", "GET", "GET"),
        (b"get", None, "GET", "get"),
        (b"VERSION-CONTROL", "VERSION-CONTROL", "VERSION-CONTROL", "VERSION-CONTROL"),
        (b"AB", None, None, "AB"),
        (b"A B", None, None, None),
        (b"PRI", None, None, None),
    ],
)
def test_names_of_methods(method: bytes, plain: str | None, folded: str | None, permitted: str | None) -> None:
    configs = [Config("a:b"), Config("a:b", casefold_http_method=True)]
    configs.append(Config("a:b", permit_unconventional_http_method=True))
    assert [method_name(config, method) for config in configs] == [plain, folded, permitted]
