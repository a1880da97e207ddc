"""What Gunicorn's permit_ and casefold_ settings let pass, and what no setting does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http1.apps import Recorder, echo, hello
from tests.http1.conftest import Connect
from tests.http1.harness import Http1Harness
from tests.scripted import PARSERS, get, post
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.http1.parsers import check_parser, parser_factory

H11_ALONE = ["permit_unconventional_http_method", "casefold_http_method", "permit_obsolete_folding"]


class TestParsers:
    @pytest.mark.parametrize("http", ["auto", "httptools"] if "httptools" in PARSERS else [])
    @pytest.mark.parametrize("option", H11_ALONE)
    def test_what_httptools_can_not_do_stops_the_start(self, option: str, http: str) -> None:
        chosen: dict[str, Any] = {option: True}
        config = Config(app=hello, http=http, **chosen)
        for function in (check_parser, parser_factory):
            with pytest.raises(ConfigError, match=f"option {option} = True: .*UvicornH11Worker") as caught:
                function(config)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("option", H11_ALONE)
    def test_h11_can(self, option: str) -> None:
        chosen: dict[str, Any] = {option: True}
        assert check_parser(Config(app=hello, http="h11", **chosen)) == "h11"

    def test_versions_are_for_both(self) -> None:
        assert check_parser(Config(app=hello, permit_unconventional_http_version=True)) == PARSERS[0]


def served(data: bytes, **options: Any) -> tuple[int, str]:
    """The status of the answer, and the method that the application saw."""
    recorder = Recorder(echo)
    harness = Http1Harness(recorder, parser="h11", **options)
    client = harness.connect().send(data)
    harness.close()
    return client.responses()[0].status, recorder.scope["method"] if recorder.scopes else ""


class TestMethods:
    @pytest.mark.parametrize("method", ["get", "BREW", "X", "#", "a-method-of-more-than-twenty-letters"])
    def test_they_are_permitted(self, method: str) -> None:
        assert served(get(method=method)) == (501, "")
        assert served(get(method=method), permit_unconventional_http_method=True) == (200, method)

    def test_they_are_folded(self) -> None:
        assert served(get(method="get"), casefold_http_method=True) == (200, "GET")
        assert served(get(method="Get"), casefold_http_method=True) == (200, "GET")
        assert served(get(method="brew"), casefold_http_method=True) == (501, "")
        both = {"casefold_http_method": True, "permit_unconventional_http_method": True}
        assert served(get(method="brew"), **both) == (200, "BREW")

    @pytest.mark.parametrize("method", ["CONNECT", "connect"])
    def test_connect_is_for_proxies_all_the_same(self, method: str) -> None:
        assert served(get(method=method), casefold_http_method=True) == (501, "")

    def test_a_head_request_in_lower_case_has_no_body_in_its_answer(self) -> None:
        harness = Http1Harness(hello, parser="h11", casefold_http_method=True)
        client = harness.connect().send(get(method="head"))
        assert client.response("HEAD").get("content-length") == "13"
        harness.close()

    @pytest.mark.parametrize("method", ["G\xc4T", "G(T", "G:T"])
    def test_a_method_is_a_token(self, method: str) -> None:
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

    def test_it_is_permitted(self) -> None:
        assert served(self.FOLDED) == (400, "")
        recorder = Recorder()
        harness = Http1Harness(recorder, parser="h11", permit_obsolete_folding=True)
        harness.connect().send(self.FOLDED)
        assert (b"x-long", b"a b c") in recorder.scope["headers"]
        harness.close()

    @pytest.mark.parametrize(
        "field", ["Content-Length: 1\r\n 0", "Content-Length:\r\n 5", "Transfer-Encoding: chunked\r\n , identity"]
    )
    def test_framing_is_not_folded(self, field: str) -> None:
        status, method = served(get("/", field, method="POST"), permit_obsolete_folding=True)
        assert status in (400, 501)
        assert method == ""


def test_a_space_before_the_colon_is_never_taken(connect: Connect) -> None:
    client = connect(hello).send(get("/", "Content-Length : 5", method="POST"))
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
