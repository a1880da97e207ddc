"""The functions of target.py."""

from __future__ import annotations

import pytest

from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.target import check_target, split_target, to_origin_form


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        (b"/", ("/", b"/", b"")),
        (b"/a?b", ("/a", b"/a", b"b")),
        (b"/a?", ("/a", b"/a", b"")),
        (b"/a?b?c", ("/a", b"/a", b"b?c")),
        (b"/%41%c3%A9%2f?%41", ("/Aé/", b"/%41%c3%A9%2f", b"%41")),
        (b"/%", ("/%", b"/%", b"")),
        (b"*", ("*", b"*", b"")),
    ],
)
def test_split_target(target: bytes, parts: tuple[str, bytes, bytes]) -> None:
    assert split_target(target) == parts


@pytest.mark.parametrize("target", [b"/a#b", b"/a?b#c", b"#", b"/\xe9", b"/?\xff"])
def test_check_target_refuses(target: bytes) -> None:
    with pytest.raises(RequestRefused) as caught:
        check_target(target)
    assert caught.value.status == 400


@pytest.mark.parametrize("target", [b"/", b"*", b"/a?b", b"/%23", b'/"<>^`{|}'])
def test_check_target_takes(target: bytes) -> None:
    check_target(target)


@pytest.mark.parametrize(
    ("target", "method", "expected"),
    [
        (b"*", "OPTIONS", (b"*", None)),
        (b"http://a/b?c", "GET", (b"/b?c", b"a")),
        (b"http://a", "GET", (b"/", b"a")),
        (b"http://a/", "GET", (b"/", b"a")),
        (b"http://a?b", "GET", (b"/?b", b"a")),
        (b"http://a?b/c", "GET", (b"/?b/c", b"a")),
        (b"http://a#b", "GET", (b"/#b", b"a")),
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
