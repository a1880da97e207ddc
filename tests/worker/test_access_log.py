"""Access lines: every atom as Gunicorn's own logger has it, with compiled formats and with other logger classes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from gunicorn.glogging import Logger, SafeAtoms

from tests.http1.apps import Recorder, body, hello, respond, start
from tests.scripted import Harness, get, post
from tests.worker.exchanges import exchange_of, serve_logged, settings
from uvicorn_worker.asgi import Receive, Scope, Send
from uvicorn_worker.runtime import Exchange
from uvicorn_worker.worker.access_log import Atoms, RequestView, ResponseView, access_hook, compile_format, make_environ

DEFAULT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
HANDBOOK = '%(h)s "%(r)s" %(s)s %(b)s %(D)s'
NAMES = ["h", "l", "u", "t", "r", "s", "m", "U", "q", "H", "b", "B", "f", "a", "T", "D", "M", "L", "p"]
REQUESTS = {
    "get": get(),
    "query": get("/a%20b?c=d&e"),
    "fields": get("/", "Referer: http://x/", "User-Agent: curl/8", 'X-Quote: a"b', "X-Twice: 1", "X-Twice: 2"),
    "user": get("/", "Authorization: Basic YWxpY2U6c2VjcmV0"),
    "user without a password": get("/", "Authorization: basic YWxpY2U="),
    "no user": get("/", "Authorization: Basic OnNlY3JldA=="),
    "bearer": get("/", "Authorization: Bearer YWxpY2U6c2VjcmV0"),
    "no base64": get("/", "Authorization: Basic YWxp"),
    "bad base64": get("/", "Authorization: Basic YWxpY2U6c2VjcmV"),
    "no utf-8": get("/", "Authorization: Basic /////w=="),
    "no credentials": get("/", "Authorization: Basic"),
    "credentials beyond ASCII": get("/", "Authorization: Basic \xe9\xe9"),
    "post": post(b"12345", "Content-Type: text/plain"),
    "http10": get(version="1.0"),
    "latin-1": get("/", "User-Agent: \xe9"),
}


class Records(logging.Handler):
    """Keeps what is logged; pytest's own handlers are only on loggers that propagate, which Gunicorn's do not."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.kept]


@pytest.fixture
def records() -> Iterator[Records]:
    """What is logged on Gunicorn's access log."""
    logger, handler = logging.getLogger("gunicorn.access"), Records()
    logger.addHandler(handler)
    yield handler
    for each in (logger, logging.getLogger("gunicorn.error")):
        for handler_ in list(each.handlers):
            each.removeHandler(handler_)
            handler_.close()


@pytest.fixture
def log(records: Records) -> Logger:
    """Gunicorn's logger, which writes its lines nowhere."""
    return Logger(settings(accesslog="/dev/null", errorlog="/dev/null"))


def gunicorns_atoms(log: Logger, exchange: Exchange, elapsed: timedelta) -> Any:
    environ = make_environ(exchange)
    return SafeAtoms(log.atoms(ResponseView(exchange), RequestView(exchange), environ, elapsed))


class TestAtoms:
    @pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
    def test_each_is_gunicorns(self, log: Logger, request_: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        exchange = exchange_of(request_)
        exchange.started = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: 1003.25)
        ours, theirs = Atoms(exchange), gunicorns_atoms(log, exchange, timedelta(seconds=3.25))
        named = [f"{{{name}}}{kind}" for name in ("Host", "x-twice", "X-Quote", "x-none") for kind in "ioe"]
        named += ["{http_host}e", "{HTTP_X_QUOTE}e", "{wsgi.url_scheme}e", "{content-type}o", "{raw_uri}e"]
        for name in [*NAMES, *named, "x", "none", "{host}", "{}i"]:
            assert ours[name] == theirs[name], name

    def test_over_a_unix_socket(self, log: Logger) -> None:
        exchange = exchange_of(transport={"peername": "", "sockname": "/run/app.sock"})
        ours, theirs = Atoms(exchange), gunicorns_atoms(log, exchange, timedelta(0))
        for name in ("h", "r", "{server_name}e", "{remote_addr}e", "{remote_port}e", "{server_port}e"):
            assert ours[name] == theirs[name], name
        assert ours["h"] == "-"

    def test_the_bytes_are_those_of_the_body(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(start(), body(b"one", more=True), body(b"three"))(scope, receive, send)

        atoms = Atoms(exchange_of(get(), app))
        assert (atoms["b"], atoms["B"]) == ("8", 8)

    def test_a_body_that_is_not_sent_does_not_count(self) -> None:
        assert Atoms(exchange_of(get(method="HEAD"), hello))["B"] == 0

    def test_the_status_is_the_responses(self) -> None:
        assert Atoms(exchange_of(get(), respond(start(404), body(b"none"))))["s"] == "404"
        assert Atoms(exchange_of(get(), respond()))["s"] == "500"

    def test_it_is_a_mapping_of_them_all(self) -> None:
        atoms = Atoms(exchange_of())
        assert isinstance(atoms, Mapping)
        assert list(atoms) == NAMES
        assert len(atoms) == len(NAMES)
        assert dict(atoms)["m"] == "GET"

    @pytest.mark.parametrize("target", ["/users/1", "/users/1?x=y", "/r/users"])
    def test_with_a_root_path_the_target_is_the_clients(self, target: str) -> None:
        atoms = Atoms(exchange_of(get(target), root_path="/r"))
        assert atoms["r"] == f"GET {target} HTTP/1.1"
        assert atoms["U"] == target.partition("?")[0]

    @pytest.mark.parametrize("root_path", ["/api", "/users", "/longer/than/the/path"])
    def test_a_root_path_that_the_application_sets_changes_nothing(self, root_path: str) -> None:
        # FastAPI(root_path=...) and Starlette's Mount write into the scope that they were called with.
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope["root_path"] = root_path
            await hello(scope, receive, send)

        atoms = Atoms(exchange_of(get("/users/1?x"), app))
        assert atoms["r"] == "GET /users/1?x HTTP/1.1"
        assert atoms["U"] == "/users/1"

    def test_a_path_that_the_application_sets_changes_nothing(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope["path"] = "/rest"
            await hello(scope, receive, send)

        assert Atoms(exchange_of(get("/mounted/rest"), app))["r"] == "GET /mounted/rest HTTP/1.1"


class TestFormats:
    @pytest.mark.parametrize(
        "access_log_format",
        [
            DEFAULT,
            HANDBOOK,
            "%(m)s",
            "",
            "no atoms",
            "100%% %(h)s",
            "%%(h)s %(m)s",
            "%(D)d %(B)d",
            "%(s)5s|%(m)-6s|",
            "%(none)s %({none}i)s",
            "%({X-Twice}i)s %({X-TWICE}o)s %({HTTP_HOST}e)s",
            '{"path": "%(U)s", "agent": "%(a)s", "t": "%(t)s"}',
            "%(h)s\t%(r)s\u20ac",
        ],
    )
    def test_each_gives_gunicorns_line(
        self, log: Logger, access_log_format: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        exchange = exchange_of(REQUESTS["fields"])
        exchange.started = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: 1003.25)
        theirs = gunicorns_atoms(log, exchange, timedelta(seconds=3.25))
        assert compile_format(access_log_format)(Atoms(exchange)) == access_log_format % theirs

    def test_only_what_is_named_is_computed(self) -> None:
        exchange = exchange_of()
        exchange.scope.clear()
        assert compile_format("%(s)s %(b)s %(l)s")(Atoms(exchange)) == "200 13 -"


class TestHook:
    def serve(self, log: Any, access_log_format: str, *requests: bytes) -> None:
        hook = access_hook(log, settings(accesslog="/dev/null", access_log_format=access_log_format))
        assert hook is not None
        for request in requests:
            assert serve_logged(hook, request).startswith(b"HTTP/1.1 200")

    def test_gunicorns_logger_gets_the_line(self, log: Logger, records: Records) -> None:
        self.serve(log, HANDBOOK, get("/a?b"), post(b"1"))
        first, second = records.kept
        start_of, _, microseconds = first.getMessage().rpartition(" ")
        assert start_of == '192.0.2.7 "GET /a?b HTTP/1.1" 200 13'
        assert microseconds.isdigit()
        assert '"POST / HTTP/1.1"' in second.getMessage()
        assert first.levelno == logging.INFO

    def test_the_records_args_stay_a_mapping(self, log: Logger, records: Records) -> None:
        self.serve(log, "%(m)s", get("/a?b", "User-Agent: test"))
        (record,) = records.kept
        args: Any = record.args
        assert isinstance(args, Mapping)
        assert (args["U"], args["a"], args["{user-agent}i"]) == ("/a", "test", "test")
        assert record.msg == "%(m)s"
        assert logging.Formatter("%(message)s").format(record) == "GET"

    @pytest.mark.parametrize("access_log_format", ["%(h)d", "%(h)", "%q", "100%", "%s %s", "%(h)s %s"])
    def test_a_format_that_is_none_does_not_harm_the_request(
        self, log: Logger, access_log_format: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # What logging says of a format that can't be used goes to stderr.
        monkeypatch.setattr(logging, "raiseExceptions", False)
        hook = access_hook(log, settings(accesslog="/dev/null", access_log_format=access_log_format))
        assert hook is not None
        recorder = Recorder()
        harness = Harness(recorder)
        harness.runtime.access = hook
        client = harness.connect().send(get(), get())
        assert len(client.responses()) == 2
        assert recorder.raised == []
        harness.close()

    @pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
    def test_no_request_breaks_the_default_format(self, log: Logger, request_: bytes, records: Records) -> None:
        self.serve(log, DEFAULT, request_, request_)
        assert len(records.lines) == 2

    def test_without_an_access_log_there_is_no_hook(self, log: Logger) -> None:
        assert access_hook(log, settings()) is None
        assert access_hook(log, settings(syslog=True, disable_redirect_access_to_syslog=True)) is None

    @pytest.mark.parametrize(
        "values", [{"accesslog": "-"}, {"syslog": True}, {"logconfig_dict": {"version": 1}}, {"logconfig": "x.ini"}]
    )
    def test_with_one_there_is(self, log: Logger, values: dict[str, Any]) -> None:
        assert access_hook(log, settings(**values)) is not None

    def test_a_logger_that_is_switched_off_costs_nothing(self, log: Logger) -> None:
        hook = access_hook(log, settings(accesslog="-"))
        before = log.access_log.level
        log.access_log.setLevel(logging.WARNING)
        try:
            hook(None)  # type: ignore[arg-type,misc]  # it is not looked at
        finally:
            log.access_log.setLevel(before)


class TestOtherLoggers:
    def test_one_with_an_access_of_its_own_gets_objects(self) -> None:
        seen: list[Any] = []

        class Own(Logger):  # type: ignore[misc,unused-ignore]  # Gunicorn has no types
            def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
                seen.append((resp, req, environ, request_time))

        hook = access_hook(Own(settings()), settings())
        assert hook is not None
        serve_logged(hook, get("/a%20b?c=d", "X-Y: z"))
        ((resp, req, environ, request_time),) = seen
        assert (resp.status, resp.status_code, resp.sent, resp.response_length) == ("200 OK", 200, 13, 13)
        assert ("content-type", "text/plain") in resp.headers
        assert resp.headers_sent is True
        assert (req.method, req.uri, req.path, req.query, req.fragment) == ("GET", "/a%20b?c=d", "/a b", "c=d", "")
        assert (req.version, req.scheme, req.remote_addr) == ((1, 1), "http", ("192.0.2.7", 50123))
        assert ("X-Y", "z") in req.headers
        assert environ["REQUEST_METHOD"] == "GET"
        assert environ["HTTP_X_Y"] == "z"
        assert isinstance(request_time, timedelta)

    @pytest.mark.parametrize("attribute", ["atoms", "now", "atoms_wrapper_class"])
    def test_one_with_other_atoms_is_asked(self, attribute: str, records: Records) -> None:
        class Upper(SafeAtoms):  # type: ignore[misc,unused-ignore]
            def __getitem__(self, name: str) -> Any:
                return "OWN" if name == "t" else super().__getitem__(name)

        def atoms(self: Any, *args: Any) -> Any:
            return {**Logger.atoms(self, *args), "t": "OWN"}

        own = {"atoms": atoms, "now": lambda self: "OWN", "atoms_wrapper_class": Upper}
        cfg = settings(accesslog="/dev/null", access_log_format="%(m)s %(t)s")
        log = type("Own", (Logger,), {attribute: own[attribute]})(cfg)
        hook = access_hook(log, cfg)
        assert hook is not None
        serve_logged(hook, get())
        assert records.lines == ["GET OWN"]

    def test_a_status_without_a_phrase(self) -> None:
        assert ResponseView(exchange_of(get(), respond(start(299), body(b"")))).status == "299"

    def test_repeated_fields_are_joined_in_the_environ(self) -> None:
        environ = make_environ(exchange_of(get("/", "X-A: 1", "X-A: 2", "Content-Length: 0", "Content-Type: t")))
        assert (environ["HTTP_X_A"], environ["CONTENT_LENGTH"], environ["CONTENT_TYPE"]) == ("1,2", "0", "t")


def test_a_response_that_was_cut_is_logged_with_what_was_sent() -> None:
    app = respond(start(), body(b"12345", more=True))
    assert Atoms(exchange_of(get(), app))["b"] == "5"


def test_a_client_that_leaves_before_the_response_is_not_logged() -> None:
    seen: list[Exchange] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    harness = Harness(app)
    harness.runtime.access = seen.append
    harness.connect().send(get()).leave()
    harness.close()
    assert seen == []
