"""What the tests read responses with: strictly, and in time that grows with the bytes and no faster."""

from __future__ import annotations

import pytest

from tests.scripted import Response, parse_responses

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"content-length: 2\r\n\r\nok"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n3\r\n, 2\r\n0\r\n\r\n"


def bodies(responses: list[Response]) -> list[tuple[bytes, bool]]:
    return [(each.body, each.complete) for each in responses]


def test_one_after_the_other() -> None:
    responses = parse_responses(LENGTH + CHUNKED + b"HTTP/1.1 204 No Content\r\n\r\n" + LENGTH)
    assert bodies(responses) == [(b"ok", True), (b"ok, 2", True), (b"", True), (b"ok", True)]
    assert [each.framing for each in responses] == ["length", "chunked", "none", "length"]


def test_a_head_has_no_body_and_what_is_interim_belongs_to_the_next() -> None:
    head = OK + b"content-length: 9\r\n\r\n"
    responses = parse_responses(b"HTTP/1.1 100 Continue\r\n\r\n" + head + LENGTH, ["HEAD", "GET"])
    assert [each.status for each in responses] == [100, 200, 200]
    assert responses[2].body == b"ok"


@pytest.mark.parametrize("data", [LENGTH, CHUNKED], ids=["length", "chunked"])
def test_one_that_is_cut_off_anywhere_is_not_complete(data: bytes) -> None:
    for at in range(1, len(data)):
        (response,) = parse_responses(data[:at], ended=True)
        assert not response.complete
        assert response.body in (b"ok, 2"[: len(response.body)], data[:at])


def test_one_that_ends_with_the_connection() -> None:
    data = OK + b"connection: close\r\n\r\nall of it"
    assert bodies(parse_responses(data, ended=True)) == [(b"all of it", True)]
    assert bodies(parse_responses(data)) == [(b"all of it", False)]


@pytest.mark.parametrize(
    "data",
    [
        LENGTH + b"HTTP/1.1 200",
        LENGTH + b"more\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok,\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\nok",
        OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_response_is_a_failure(data: bytes) -> None:
    with pytest.raises((AssertionError, ValueError)):
        parse_responses(data)


class Counted(bytes):
    """Counts the bytes that are copied out of it."""

    copied = 0

    def __getitem__(self, key: object) -> bytes:  # type: ignore[override]
        found: bytes = super().__getitem__(key)  # type: ignore[call-overload]
        Counted.copied += len(found)
        return found

    def partition(self, _: object) -> tuple[bytes, bytes, bytes]:
        raise AssertionError("copies all that comes after")


@pytest.mark.parametrize("data", [LENGTH * 1000, CHUNKED[:-5] + b"1\r\nx\r\n" * 1000 + CHUNKED[-5:]])
def test_each_byte_is_copied_once(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counted, "copied", 0)
    assert all(each.complete for each in parse_responses(Counted(data)))
    assert Counted.copied <= len(data)
