"""HPACK of the native engine: Huffman's code, the decoder, and what is remembered of header blocks."""

from __future__ import annotations

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from uvicorn_worker.http2.engine.codes import ErrorCode
from uvicorn_worker.http2.engine.encoding import encode_integer
from uvicorn_worker.http2.engine.errors import Http2ConnectionError
from uvicorn_worker.http2.engine.events import RequestHead
from uvicorn_worker.http2.engine.native.hpack import STATUS, HeaderDecoder
from uvicorn_worker.http2.engine.native.huffman import HuffmanError, decode_huffman

encode_huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode


class TestHuffman:
    @pytest.mark.parametrize(
        "text", [b"", b"a", b"www.example.com", b"/a/b?c=d", bytes(range(256)), bytes(range(256))[::-1] * 2]
    )
    def test_text(self, text: bytes) -> None:
        assert decode_huffman(encode_huffman(text)) == text

    def test_every_symbol(self) -> None:
        for symbol in range(256):
            assert decode_huffman(encode_huffman(bytes([symbol]))) == bytes([symbol])

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(b"\x00", id="padding of zeros"),
            pytest.param(b"\xff", id="padding of eight bits"),
            pytest.param(b"\x1f\xff", id="padding of more than seven bits"),
            pytest.param(b"\xff\xff\xff\xff", id="the end of a string"),
            pytest.param(b"\xff\xff\xff", id="within a symbol"),
        ],
    )
    def test_what_is_wrong(self, data: bytes) -> None:
        with pytest.raises(HuffmanError):
            decode_huffman(data)


@pytest.fixture
def decoder() -> HeaderDecoder:
    return HeaderDecoder(100_000)


def hexadecimal(text: str) -> bytes:
    return bytes.fromhex(text)


class TestExamples:
    """RFC 7541, C.3 and C.4: three requests on one connection, with and without Huffman's code."""

    @pytest.mark.parametrize(
        "blocks",
        [
            (
                "828684410f7777772e6578616d706c652e636f6d",
                "828684be58086e6f2d6361636865",
                "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
            ),
            (
                "828684418cf1e3c2e5f23a6ba0ab90f4ff",
                "828684be5886a8eb10649cbf",
                "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
            ),
        ],
    )
    def test_requests(self, decoder: HeaderDecoder, blocks: tuple[str, str, str]) -> None:
        authority = (b":authority", b"www.example.com")
        first, second, third = (decoder.decode(hexadecimal(block)) for block in blocks)
        assert first == [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), authority]
        assert second == [*first, (b"cache-control", b"no-cache")]
        assert third == [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":path", b"/index.html"),
            authority,
            (b"custom-key", b"custom-value"),
        ]


class TestDecoder:
    def test_the_kinds_of_literals(self, decoder: HeaderDecoder) -> None:
        assert decoder.decode(b"\x00\x01a\x01b\x10\x01c\x01d\x40\x01e\x01f\xbe\x7e\x01g") == [
            *((b"a", b"b"), (b"c", b"d"), (b"e", b"f"), (b"e", b"f"), (b"e", b"g")),
        ]

    def test_long_integers(self, decoder: HeaderDecoder) -> None:
        value = b"v" * 1337
        assert decoder.decode(b"\x0f\x00\x7f\xba\x09" + value) == [(b"accept-charset", value)]

    def test_zeros_behind_an_integer(self, decoder: HeaderDecoder) -> None:
        """5.1 allows them; as many as fit in the length that is allowed."""
        assert decoder.decode(b"\x0f\x80\x80\x80\x80\x00\x01v") == [(b"accept-charset", b"v")]

    @pytest.mark.parametrize(
        "block",
        [
            pytest.param(b"\x80", id="index 0"),
            pytest.param(b"\xbe", id="an index of nothing"),
            pytest.param(b"\x7f\x00\x01v", id="the name of nothing"),
            pytest.param(b"\xff", id="an integer that is cut off"),
            pytest.param(b"\xff\x80\x80\x80\x80\x80\x00", id="an integer that is too long"),
            pytest.param(b"\x00", id="no name"),
            pytest.param(b"\x00\x05abc", id="a name that is cut off"),
            pytest.param(b"\x00\x01a", id="no value"),
            pytest.param(b"\x00\x01a\x03b", id="a value that is cut off"),
            pytest.param(b"\x00\x01a\x81\x00", id="not Huffman's code"),
            pytest.param(b"\x3f\xe2\x1f", id="a table of 4097"),
            pytest.param(b"\x82\x20", id="a table's size behind a field"),
        ],
    )
    def test_what_is_wrong(self, decoder: HeaderDecoder, block: bytes) -> None:
        with pytest.raises(Http2ConnectionError) as caught:
            decoder.decode(block)
        assert caught.value.code == ErrorCode.COMPRESSION_ERROR

    def test_old_entries_make_room(self, decoder: HeaderDecoder) -> None:
        """4.3: three of these are as large as the table."""
        size = 4096 // 3 - 33
        for name in (b"a", b"b", b"c", b"d"):
            decoder.decode(b"\x40\x01" + name + encode_integer(size, 7, 0) + b"v" * size)
        assert [name for name, _ in decoder.decode(b"\xbe\xbf\xc0")] == [b"d", b"c", b"b"]
        with pytest.raises(Http2ConnectionError):
            decoder.decode(b"\xc1")

    def test_an_entry_that_is_larger_than_the_table(self, decoder: HeaderDecoder) -> None:
        """4.4: it empties the table, and is a field all the same."""
        decoder.decode(b"\x40\x01a\x01b")
        ((name, value),) = decoder.decode(b"\x40\x01c\x7f\x81\x1f" + b"v" * 4096)
        assert (name, len(value)) == (b"c", 4096)
        with pytest.raises(Http2ConnectionError):
            decoder.decode(b"\xbe")

    def test_a_smaller_table(self, decoder: HeaderDecoder) -> None:
        decoder.decode(b"\x40\x01a\x01b\x40\x01c\x01d")
        assert decoder.decode(b"\x3f\x03\xbe") == [(b"c", b"d")]
        with pytest.raises(Http2ConnectionError):
            decoder.decode(b"\xbf")

    def test_an_emptied_table(self, decoder: HeaderDecoder) -> None:
        decoder.decode(b"\x40\x01a\x01b")
        assert decoder.decode(b"\x20\x3f\xe1\x1f\x82") == [(b":method", b"GET")]
        with pytest.raises(Http2ConnectionError):
            decoder.decode(b"\xbe")

    def test_a_bomb(self) -> None:
        decoder = HeaderDecoder(20_000)
        block = b"\x40\x01x\x7f\x9d\x1e" + b"v" * 3996
        assert len(decoder.decode(block + b"\xbe" * 3)) == 4
        with pytest.raises(Http2ConnectionError) as caught:
            decoder.decode(b"\xbe" * 5)
        assert caught.value.code == ErrorCode.ENHANCE_YOUR_CALM

    def test_many_small_fields(self) -> None:
        """They are counted where they could be too many, and are not."""
        assert len(HeaderDecoder(5000).decode(b"\x82" * 100)) == 100


class TestRemembered:
    def head(self, size: int = 100) -> RequestHead:
        head = RequestHead("GET", b"/", "http", b"example.org")
        head.size = size
        return head

    def test_what_comes_again(self, decoder: HeaderDecoder) -> None:
        head = self.head()
        decoder.remember(b"\x82", head)
        assert (decoder.heads, head.kept) == ({}, False)
        decoder.remember(b"\x82", head)
        assert (decoder.heads, head.kept) == ({b"\x82": head}, True)

    def test_until_the_table_changes(self, decoder: HeaderDecoder) -> None:
        head = self.head()
        self.remember(decoder, b"\x82", head)
        decoder.decode(b"\x00\x01a\x01b")
        assert decoder.heads == {b"\x82": head}
        decoder.decode(b"\x40\x01a\x01b")
        assert decoder.heads == {}

    def test_until_the_size_of_the_table_changes(self, decoder: HeaderDecoder) -> None:
        self.remember(decoder, b"\x82", self.head())
        decoder.decode(b"\x20")
        assert decoder.heads == {}

    @pytest.mark.parametrize(("size", "most"), [(50, 64), (4000, 8)])
    def test_no_more_than_so_much(self, decoder: HeaderDecoder, size: int, most: int) -> None:
        for number in range(1000):
            self.remember(decoder, b"%03d" % number, self.head(size))
            assert 1 <= len(decoder.heads) <= most
            assert b"%03d" % number in decoder.heads

    def test_nothing_large(self, decoder: HeaderDecoder) -> None:
        self.remember(decoder, b"\x82", self.head(10_000))
        assert decoder.heads == {}

    @staticmethod
    def remember(decoder: HeaderDecoder, block: bytes, head: RequestHead) -> None:
        """As for a block that has come twice."""
        decoder.remember(block, head)
        decoder.remember(block, head)


def test_statuses() -> None:
    decoder = HeaderDecoder(1000)
    for status in range(100, 1000):
        assert decoder.decode(STATUS[status]) == [(b":status", b"%d" % status)]
