"""Requests and responses as Gunicorn's loggers and hooks see them."""

from __future__ import annotations

import pytest

from tests.http1.apps import body as body_of
from tests.http1.apps import respond, start
from tests.scripted import get
from tests.worker.cycles import cycle_of, headless_cycle
from uvicorn_worker.core.runtime import CycleView
from uvicorn_worker.worker.views import RequestView, ResponseView


def request_of(cycle: CycleView) -> RequestView:
    return RequestView(cycle.scope, cycle.target)


def response_of(cycle: CycleView) -> ResponseView:
    return ResponseView(cycle.status, cycle.response_headers, cycle.body_sent)


class TestRequest:
    def test_all_of_it(self) -> None:
        req = request_of(cycle_of(get("/a%20b?c=d", "X-Y: z", "X-Y: 2")))
        assert (req.method, req.uri, req.path, req.query) == ("GET", "/a%20b?c=d", "/a b", "c=d")
        assert (req.raw_path, req.fragment, req.version, req.scheme) == (b"/a%20b", "", (1, 1), "http")
        assert req.remote_addr == req.peer_addr == ("192.0.2.7", 50123)
        assert [value for name, value in req.headers if name == "X-Y"] == ["z", "2"]
        assert (req.trailers, req.body, req.proxy_protocol_info) == ([], None, None)

    def test_fields_are_asked_for_as_of_a_mapping(self) -> None:
        headers = request_of(cycle_of(get("/", "X-Y: z", "X-Y: 2"))).headers
        assert [headers.get(name) for name in ("x-y", "X-Y", "x-z")] == ["z", "z", None]
        assert headers.get("x-z", "-") == "-"

    def test_over_a_unix_socket(self) -> None:
        assert request_of(cycle_of(transport={"peername": "", "sockname": "/s"})).remote_addr == ("", 0)

    def test_without_a_head(self) -> None:
        req = request_of(headless_cycle(400))
        assert (req.method, req.uri, req.path, req.query, req.version) == ("-", "-", "-", "", (1, 1))
        assert req.headers == []

    @pytest.mark.parametrize(("http_version", "version"), [("1.0", (1, 0)), ("2", (2, 0))])
    def test_the_version_is_two_numbers(self, http_version: str, version: tuple[int, int]) -> None:
        cycle = headless_cycle(400)
        cycle.scope["http_version"] = http_version
        assert request_of(cycle).version == version

    def test_a_websocket_is_a_get(self) -> None:
        cycle = headless_cycle(400)
        del cycle.scope["method"]
        assert request_of(cycle).method == "GET"


class TestResponse:
    def test_all_of_it(self) -> None:
        resp = response_of(cycle_of())
        assert (resp.status, resp.status_code, resp.sent, resp.response_length) == ("200 OK", 200, 13, 13)
        assert ("content-type", "text/plain") in resp.headers
        assert resp.headers.get("Content-Type") == "text/plain"
        assert (resp.headers_sent, resp.upgrade) == (True, False)

    def test_a_status_without_a_phrase(self) -> None:
        assert response_of(cycle_of(get(), respond(start(299), body_of(b"")))).status == "299"

    def test_fields_that_are_text(self) -> None:
        assert ResponseView(200, [("X-A", "b"), [b"x-b", b"c"]], 0).headers == [("X-A", "b"), ("x-b", "c")]  # type: ignore[list-item]

    def test_no_response(self) -> None:
        resp = ResponseView(None, (), 0)
        assert (resp.status, resp.status_code, resp.headers, resp.headers_sent) == (None, None, [], False)
