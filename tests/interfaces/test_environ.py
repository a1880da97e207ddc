"""The WSGI environ of a request, against PEP 3333 and what Gunicorn gives."""

from __future__ import annotations

from typing import Any

import pytest

from uvicorn_worker.interfaces import environ as module
from uvicorn_worker.interfaces.environ import request_environ


def environ_of(*headers: tuple[bytes, bytes], path: str | None = None, **scope: Any) -> dict[str, Any]:
    raw_path = b"/" if path is None else path.encode("ascii")
    return request_environ(
        {"wsgi.version": (1, 0)},
        {
            "method": "GET",
            "http_version": "1.1",
            "scheme": "http",
            "path": "/ignored",
            "raw_path": raw_path,
            "query_string": b"",
            "root_path": "",
            "headers": list(headers),
            "client": ("192.0.2.7", 50123),
            "server": ("127.0.0.1", 8000),
            **scope,
        },
    )


def test_all_of_it() -> None:
    headers = [(b"host", b"example.org"), (b"content-type", b"text/plain"), (b"content-length", b"3")]
    assert environ_of(*headers, (b"x-one", b"\xe9"), path="/a%20b", query_string=b"q=%20", method="POST") == {
        "wsgi.version": (1, 0),
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "q=%20",
        "RAW_URI": "/a%20b?q=%20",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "3",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "50123",
        "HTTP_HOST": "example.org",
        "HTTP_X_ONE": "\xe9",
        "wsgi.url_scheme": "http",
    }


def test_the_base_stays_as_it_was() -> None:
    base: dict[str, Any] = {}
    request_environ(base, {"method": "GET", "http_version": "1.1", "path": "/", "query_string": b"", "headers": []})
    assert base == {}


class TestPaths:
    @pytest.mark.parametrize(
        ("raw", "path_info"),
        [
            ("/", "/"),
            ("/a%2Fb", "/a/b"),
            ("/%C3%A9", "\xc3\xa9"),
            ("/%E9%FF", "\xe9\xff"),
            ("/%", "/%"),
            ("/%zz", "/%zz"),
            ("*", "*"),
        ],
    )
    def test_path_info_is_bytes_as_latin_1(self, raw: str, path_info: str) -> None:
        environ = environ_of(path=raw)
        assert environ["PATH_INFO"] == (path_info if path_info[0] in "/*" else "/" + path_info)
        assert environ["RAW_URI"] == raw

    def test_without_a_raw_path(self) -> None:
        assert environ_of(raw_path=None)["PATH_INFO"] == "/ignored"
        scope = {"method": "GET", "http_version": "1.1", "path": "/é b", "query_string": b"", "headers": []}
        assert request_environ({}, scope)["PATH_INFO"] == "/\xc3\xa9 b"

    @pytest.mark.parametrize(
        ("root", "path", "script_name", "path_info", "uri"),
        [
            ("/api", "/api/x", "/api", "/x", "/x"),
            ("/api", "/api", "/api", "", ""),
            ("/api", "/api/", "/api", "/", "/"),
            ("/api", "/api*", "/api", "*", "*"),
            # Not a segment of its own; or the prefix is not there.
            ("/api", "/apix", "/api", "/apix", "x"),
            ("/api", "/x", "/api", "/x", "/x"),
            ("/api/", "/api//x", "/api", "/x", "/x"),
            ("/api/", "/api/x", "/api", "/x", "x"),
            ("/é b", "/%C3%A9%20b/x", "/\xc3\xa9 b", "/x", "/x"),
        ],
    )
    def test_root_path(self, root: str, path: str, script_name: str, path_info: str, uri: str) -> None:
        environ = environ_of(path=path, root_path=root)
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)
        assert environ["RAW_URI"] == uri


class TestHeaders:
    def test_repeated_fields_are_joined(self) -> None:
        environ = environ_of(
            *[(b"x-a", b"1"), (b"cookie", b"a=1"), (b"x-a", b"2"), (b"x-a", b"3"), (b"cookie", b"b=2")]
        )
        assert environ["HTTP_X_A"] == "1,2,3"
        assert environ["HTTP_COOKIE"] == "a=1; b=2"

    def test_the_first_type_and_length_count(self) -> None:
        environ = environ_of((b"content-type", b"a"), (b"content-type", b"b"))
        assert environ["CONTENT_TYPE"] == "a"

    def test_clients_can_not_fill_the_memory_with_names(self) -> None:
        for number in range(module._VARIABLES_LIMIT + 10):
            name = b"x-name-%d" % number
            assert environ_of((name, b"1"))[f"HTTP_X_NAME_{number}"] == "1"
        assert len(module._VARIABLES) <= module._VARIABLES_LIMIT


class TestAddresses:
    def test_a_unix_socket(self) -> None:
        environ = environ_of((b"host", b"example.org"), client=None, server=("/run/app.sock", None))
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("example.org", "80")
        assert environ["REMOTE_ADDR"] == ""
        assert "REMOTE_PORT" not in environ

    @pytest.mark.parametrize(
        ("host", "scheme", "name", "port"),
        [
            (b"example.org:8080", "http", "example.org", "8080"),
            (b"example.org", "https", "example.org", "443"),
            (b"[::1]", "http", "[::1]", "80"),
            (b"[::1]:81", "http", "[::1]", "81"),
            (b"", "http", "localhost", "80"),
            (b"example.org", "other", "example.org", ""),
        ],
    )
    def test_the_server_from_the_host(self, host: bytes, scheme: str, name: str, port: str) -> None:
        environ = environ_of((b"host", host), server=None, scheme=scheme)
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name, port)


@pytest.mark.parametrize(("version", "protocol"), [("1.0", "HTTP/1.0"), ("2", "HTTP/2.0"), ("9.9", "HTTP/9.9")])
def test_the_protocol(version: str, protocol: str) -> None:
    assert environ_of(http_version=version)["SERVER_PROTOCOL"] == protocol
