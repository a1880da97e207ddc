"""What Gunicorn's permit_ and casefold_ settings let pass, and what no setting does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.http1.apps import Recorder, echo, hello
from tests.http1.conftest import Connect, Serve
from tests.http1.harness import Http1Harness
from tests.scripted import PARSERS, get, post
from uvicorn_worker.core.config import Config
from uvicorn_worker.http1.parsers import check_parser, parser_factory

Served = Callable[..., tuple[int, str]]

H11_ALONE = ["permit_obsolete_folding", "strip_header_spaces"]
FOR_BOTH = ["permit_unconventional_http_method", "casefold_http_method", "permit_unconventional_http_version"]
# Of WebDAV with versions, of caches, of Vault, of RTSP and SHOUTcast (which llhttp knows for these alone), and made up.
OTHERS = [
    "VERSION-CONTROL", "BASELINE-CONTROL", "UPDATE", "BAN", "LIST", "RPC_IN_DATA", "BREW", "PRIME", "POSTS", "ABC",
    "M-S", "DESCRIBE", "SETUP", "PLAY", "FLUSH", "SOURCE", "GET_PARAMETER", "X" * 20,
]  # fmt: skip


class TestParsers:
    @pytest.mark.parametrize("http", ["auto", "httptools", "h11"] if "httptools" in PARSERS else ["auto", "h11"])
    @pytest.mark.parametrize("option", H11_ALONE)
    def test_what_httptools_can_not_do_is_left_to_h11(self, option: str, http: str) -> None:
        chosen: dict[str, Any] = {option: True}
        config = Config(app=hello, http=http, **chosen)
        assert check_parser(config) == "h11"
        assert type(parser_factory(config)(Recorder())).__name__ == "H11Parser"  # type: ignore[arg-type]

    @pytest.mark.parametrize("option", FOR_BOTH)
    def test_others_are_for_both(self, option: str) -> None:
        chosen: dict[str, Any] = {option: True}
        assert check_parser(Config(app=hello, **chosen)) == PARSERS[0]
        assert check_parser(Config(app=hello, http="h11", **chosen)) == "h11"


@pytest.fixture
def served(serve: Serve) -> Served:
    """Gives the status of the answer, and the method that the application saw."""

    def ask(data: bytes, **options: Any) -> tuple[int, str]:
        recorder = Recorder(echo)
        client = serve(recorder, **options).connect().send(data)
        return client.responses()[0].status, recorder.scope["method"] if recorder.scopes else ""

    return ask


class TestMethods:
    @pytest.mark.parametrize(
        "method", ["get", "X", "BE", "#", "a-method-of-more-than-twenty-letters", "Y" * 21, "AB#C"]
    )
    def test_they_are_permitted(self, served: Served, method: str) -> None:
        assert served(get(method=method)) == (501, "")
        assert served(get(method=method), permit_unconventional_http_method=True) == (200, method)

    @pytest.mark.parametrize("each", [None, 1, 3])
    @pytest.mark.parametrize("method", OTHERS)
    def test_what_is_named_as_methods_are_is_the_applications(
        self, connect: Connect, method: str, each: int | None
    ) -> None:
        recorder = Recorder(echo)
        client = connect(recorder)
        data = (
            get("/before")
            + get("/a", "X-A: 1", method=method)
            + b"\r\n"
            + get("/b", "Content-Length: 5", method=method) + b"12345"
            + get("/c", "Transfer-Encoding: chunked", method=method) + b"2\r\nab\r\n0\r\n\r\n"
            + get("/d?e", "Upgrade: something", "Connection: upgrade", method=method)
            + post(b"67")
            + get("/last", "Connection: close", method=method)
            + get("/never", method=method)
        )  # fmt: skip
        client.send(data, each=each)
        assert [response.body.decode() for response in client.responses()] == [
            "GET /before ",
            f"{method} /a ",
            f"{method} /b 12345",
            f"{method} /c ab",
            f"{method} /d ",
            "POST / 67",
            f"{method} /last ",
        ]
        assert (b"x-a", b"1") in recorder.scopes[1]["headers"]
        assert client.closed

    @pytest.mark.parametrize("each", [None, 1])
    def test_its_head_is_held_to_the_same_rules(self, connect: Connect, each: int | None) -> None:
        for fields, version, status in (
            (["bad name: 1"], "1.1", 400),
            (["Content-Length: 1", "Transfer-Encoding: chunked"], "1.1", 400),
            (["Transfer-Encoding: gzip"], "1.1", 501),
            (["Host: b"], "1.1", 400),
            ([], "3.7", 505),
            (["X: " + "y" * 9000], "1.1", 431),
        ):
            client = connect(echo).send(get("/a", *fields, version=version, method="BREW"), each=each)
            assert client.response().status == status
            assert client.closed
        client = connect(echo).send(get("/" + "a" * 9000, method="BREW"), each=each)
        assert client.response().status == 414

    @pytest.mark.parametrize("method", ["BREW", "DESCRIBE"])
    def test_a_head_that_does_not_end(self, serve: Serve, method: str) -> None:
        client = serve(echo, timeout_request_head=2, timeout_keep_alive=100).connect()
        client.send(f"{method} /a HTTP/1.1\r\nHost: ".encode())
        client.harness.tick(3)
        assert client.response().status == 408

    def test_of_http_10(self, connect: Connect) -> None:
        client = connect(echo).send(get("/a", method="BREW", version="1.0"))
        assert client.response().body == b"BREW /a "
        assert client.closed

    def test_they_are_folded(self, served: Served) -> None:
        assert served(get(method="get"), casefold_http_method=True) == (200, "GET")
        assert served(get(method="Get"), casefold_http_method=True) == (200, "GET")
        assert served(get(method="brew"), casefold_http_method=True) == (200, "BREW")
        assert served(get(method="x"), casefold_http_method=True) == (501, "")
        both = {"casefold_http_method": True, "permit_unconventional_http_method": True}
        assert served(get(method="x"), **both) == (200, "X")

    @pytest.mark.parametrize("method", ["CONNECT", "connect"])
    def test_connect_is_for_proxies_all_the_same(self, served: Served, method: str) -> None:
        assert served(get(method=method), casefold_http_method=True) == (501, "")

    def test_a_head_request_in_lower_case_has_no_body_in_its_answer(self, connect: Connect) -> None:
        client = connect(hello, casefold_http_method=True).send(get(method="head"))
        assert client.response("HEAD").get("content-length") == "13"

    @pytest.mark.parametrize("method", ["G\xc4T", "G(T", "G:T"])
    def test_a_method_is_a_token(self, served: Served, method: str) -> None:
        assert served(get(method=method), permit_unconventional_http_method=True) == (400, "")


class TestVersions:
    @pytest.mark.parametrize("version", ["1.2", "1.9", "2.0", "3.7", "0.1"])
    def test_they_are_permitted(self, connect: Connect, version: str) -> None:
        assert connect(hello).send(get(version=version)).response().status in (400, 505)
        recorder = Recorder(echo)
        client = connect(recorder, permit_unconventional_http_version=True)
        client.send(post(b"12345", version=version) + get("/next"))
        response = client.response()
        assert (response.status, response.body) == (200, b"POST / 12345")
        assert response.closes
        assert recorder.scope["http_version"] == "1.1"
        assert client.closed

    def test_one_without_is_not(self, connect: Connect) -> None:
        client = connect(hello, permit_unconventional_http_version=True).send(b"GET /\r\n\r\n")
        assert client.response().status == 400

    def test_the_others_are_as_ever(self, connect: Connect) -> None:
        client = connect(hello, permit_unconventional_http_version=True)
        client.send(get(), get("/", "Connection: keep-alive", version="1.0"), get())
        assert [response.closes for response in client.responses()] == [False] * 3
        assert client.open


class TestFolding:
    FOLDED = get("/", "X-Long: a\r\n b\r\n\tc")

    def test_it_is_permitted(self, served: Served) -> None:
        assert served(self.FOLDED) == (400, "")
        recorder = Recorder()
        harness = Http1Harness(recorder, parser="h11", permit_obsolete_folding=True)
        harness.connect().send(self.FOLDED)
        assert (b"x-long", b"a b c") in recorder.scope["headers"]
        harness.close()

    @pytest.mark.parametrize(
        "field", ["Content-Length: 1\r\n 0", "Content-Length:\r\n 5", "Transfer-Encoding: chunked\r\n , identity"]
    )
    def test_framing_is_not_folded(self, served: Served, field: str) -> None:
        status, method = served(get("/", field, method="POST"), permit_obsolete_folding=True)
        assert status in (400, 501)
        assert method == ""


class TestSpaces:
    @pytest.mark.parametrize("field", ["Content-Length : 5", "Content-Length\t: 5", "X : a", "Host : b"])
    def test_before_the_colon_they_are_not_taken(self, connect: Connect, field: str) -> None:
        client = connect(hello).send(get("/", field, method="POST"))
        assert client.response().status == 400

    @pytest.mark.parametrize("each", [None, 1])
    def test_they_are_permitted(self, connect: Connect, each: int | None) -> None:
        recorder = Recorder(echo)
        client = connect(recorder, strip_header_spaces=True)
        for space in (" ", "\t ", ""):
            client.send(
                get("/", f"Content-Length{space}: 5", f"X-A{space}:  b : c ", method="POST") + b"12345", each=each
            )
        assert [response.body for response in client.responses()] == [b"POST / 12345"] * 3
        assert [(b"x-a", b"b : c") in scope["headers"] for scope in recorder.scopes] == [True] * 3

    @pytest.mark.parametrize(
        "fields",
        [
            ["Content-Length : 5", "Content-Length: 5"],
            ["Content-Length : 5", "Transfer-Encoding : chunked"],
            ["Host : b"],
            [" X: a"],
            [": a"],
            ["X Y : a"],
        ],
    )
    def test_what_is_wrong_stays_wrong(self, connect: Connect, fields: list[str]) -> None:
        client = connect(hello, strip_header_spaces=True).send(get("/", *fields, method="POST"))
        assert client.response().status == 400


class TestTrailers:
    TRAILERS = get("/", "Transfer-Encoding: chunked", method="POST") + b"0\r\nConnection: close\r\nX-A: 1\r\n\r\n"

    @pytest.mark.parametrize("each", [None, 1])
    def test_a_connection_field_in_them_means_nothing(self, connect: Connect, each: int | None) -> None:
        client = connect(echo).send(self.TRAILERS + get("/next") + self.TRAILERS + get("/last"), each=each)
        assert [response.body for response in client.responses()] == [
            b"POST / ", b"GET /next ", b"POST / ", b"GET /last "
        ]  # fmt: skip
        assert client.open

    @pytest.mark.parametrize("each", [None, 1])
    def test_a_later_head_may_close(self, connect: Connect, each: int | None) -> None:
        recorder = Recorder(echo)
        client = connect(recorder).send(self.TRAILERS + get("/last", "Connection: close") + get("/no"), each=each)
        assert [response.body for response in client.responses()] == [b"POST / ", b"GET /last "]
        assert recorder.paths == ["/", "/last"]
        assert client.closed
