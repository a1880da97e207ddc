"""Who is told of each response under Gunicorn."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from gunicorn.glogging import Logger, SafeAtoms
from gunicorn.instrument.statsd import Statsd

from tests.http1.apps import Recorder, hello
from tests.scripted import Harness, get, post
from tests.worker.cycles import REQUESTS, Records, headless_cycle, records_of, serve_logged, settings
from uvicorn_worker import Config
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.runtime import AccessHook, CycleView
from uvicorn_worker.worker.access_hook import access_hook
from uvicorn_worker.worker.loggers import adopt_loggers

DEFAULT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
HANDBOOK = '%(h)s "%(r)s" %(s)s %(b)s %(D)s'
NAMES = ("gunicorn.access", "gunicorn.error", "uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The loggers are as they were when the test is over."""
    monkeypatch.setattr("uvicorn_worker.worker.loggers._followers", {})
    monkeypatch.setattr("uvicorn_worker.worker.loggers._levels", {})
    with records_of(*NAMES) as handler:
        for name in NAMES:
            logging.getLogger(name).removeHandler(handler)
        yield


@pytest.fixture
def records() -> Records:
    """What is logged on Gunicorn's access log."""
    handler = Records()
    logging.getLogger("gunicorn.access").addHandler(handler)
    return handler


@pytest.fixture
def log(records: Records) -> Logger:
    """Gunicorn's logger, which writes its lines nowhere."""
    return Logger(settings(accesslog="/dev/null", errorlog="/dev/null"))


def without_handlers(logger: logging.Logger) -> None:
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def without_pytests_handlers() -> None:
    """As it is in a worker: pytest puts its own on every logger that does not propagate, when a test begins."""
    ours = logging.getLogger("uvicorn.access")
    ours.handlers = [handler for handler in ours.handlers if not type(handler).__module__.startswith("_pytest")]
    ours.propagate = False


def hook_of(log: Any, *, access_log: bool = True, **values: Any) -> AccessHook | None:
    """The hook under these settings of Gunicorn."""
    without_pytests_handlers()
    return access_hook(log, settings(**values), Config(app=hello, access_log=access_log))


def serve(log: Any, *requests: bytes, **values: Any) -> None:
    """Serve requests, each of which is answered."""
    hook = hook_of(log, **{"accesslog": "/dev/null", **values})
    assert hook is not None
    for request in requests or (get(),):
        assert serve_logged(hook, request).startswith(b"HTTP/1.1 200")


class TestGunicornsLine:
    def test_gunicorns_logger_gets_the_line(self, log: Logger, records: Records) -> None:
        serve(log, get("/a?b"), post(b"1"), access_log_format=HANDBOOK)
        first, second = records.kept
        start_of, _, microseconds = first.getMessage().rpartition(" ")
        assert start_of == '192.0.2.7 "GET /a?b HTTP/1.1" 200 13'
        assert microseconds.isdigit()
        assert '"POST / HTTP/1.1"' in second.getMessage()
        assert first.levelno == logging.INFO

    def test_the_option_wins(self, log: Logger, records: Records) -> None:
        cfg = settings(accesslog="-", access_log_format=HANDBOOK)
        hook = access_hook(log, cfg, Config(app=hello, access_log_format="%(m)s"))
        assert hook is not None
        serve_logged(hook, get())
        assert records.lines == ["GET"]

    def test_the_records_args_stay_a_mapping(self, log: Logger, records: Records) -> None:
        serve(log, get("/a?b", "User-Agent: test"), access_log_format="%(m)s")
        (record,) = records.kept
        args: Any = record.args
        assert isinstance(args, Mapping)
        assert (args["U"], args["a"], args["{user-agent}i"]) == ("/a", "test", "test")
        assert record.msg == "%(m)s"
        assert logging.Formatter("%(message)s").format(record) == "GET"

    @pytest.mark.parametrize(
        "access_log_format", ["%(h)d", "%(h)", "%q", "100%", "%s %s", "%(h)s %s", '%r "-" %s "-" %Tf', "%r"]
    )
    def test_a_format_that_is_none_is_gunicorns_default(
        self, log: Logger, access_log_format: str, records: Records
    ) -> None:
        """uvicorn's worker does not look at it, so such ones are about: the last but one is a template's."""
        recorder = Recorder()
        harness = Harness(recorder)
        harness.runtime.access = hook_of(log, accesslog="-", access_log_format=access_log_format)
        assert harness.runtime.access is not None
        client = harness.connect().send(get(), get())
        assert len(client.responses()) == 2
        assert recorder.raised == []
        assert ['"GET / HTTP/1.1" 200 ' in line for line in records.lines] == [True, True]
        harness.close()

    @pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
    def test_no_request_breaks_the_default_format(self, log: Logger, request_: bytes, records: Records) -> None:
        serve(log, request_, request_, access_log_format=DEFAULT)
        assert len(records.lines) == 2

    def test_an_answer_to_nothing_has_a_line(self, log: Logger, records: Records) -> None:
        hook = hook_of(log, accesslog="-", access_log_format='%(h)s "%(r)s" %(s)s')
        assert hook is not None
        hook(headless_cycle(408))
        assert records.lines == ['192.0.2.7 "-" 408']

    def test_without_an_access_log_there_is_no_hook(self, log: Logger) -> None:
        for values in ({}, {"syslog": True, "disable_redirect_access_to_syslog": True}):
            without_handlers(log.error_log)
            without_handlers(log.access_log)
            assert hook_of(Logger(settings(errorlog="/dev/null", **values)), **values) is None

    @pytest.mark.parametrize("values", [{"accesslog": "-"}, {"syslog": True}, {"logconfig_dict": {"version": 1}}])
    @pytest.mark.parametrize("oldest", [False, True])
    def test_with_one_there_is(
        self, log: Logger, values: dict[str, Any], oldest: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log.cfg = settings(**values)
        if hasattr(log, "_compute_access_log_enabled"):
            log._access_log_enabled = log._compute_access_log_enabled()
        if oldest:
            monkeypatch.delattr(Logger, "access_log_enabled", raising=False)
        assert hook_of(log, **values) is not None

    def test_without_a_handler_there_is_none(self, log: Logger) -> None:
        without_handlers(log.access_log)
        assert hook_of(log, accesslog="-") is None

    def test_code_can_switch_the_lines_off(self, log: Logger) -> None:
        assert hook_of(log, accesslog="-", access_log=False) is None

    def test_a_logger_that_is_switched_off_costs_nothing(self, log: Logger) -> None:
        hook = hook_of(log, accesslog="-")
        log.access_log.setLevel(logging.WARNING)
        hook(None)  # type: ignore[arg-type,misc]  # it is not looked at


class TestOtherLoggers:
    def test_one_with_an_access_of_its_own_gets_objects(self) -> None:
        seen: list[Any] = []

        class Own(Logger):  # type: ignore[misc,unused-ignore]  # Gunicorn has no types
            def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
                seen.append((resp, req, environ, request_time))

        hook = hook_of(Own(settings()))
        assert hook is not None
        serve_logged(hook, get("/a%20b?c=d", "X-Y: z"))
        hook(headless_cycle(400))
        (resp, req, environ, request_time), (refusal, nothing, _, _) = seen
        assert (resp.status, resp.status_code, resp.sent) == ("200 OK", 200, 13)
        assert (req.method, req.uri, req.path, req.query) == ("GET", "/a%20b?c=d", "/a b", "c=d")
        assert environ["REQUEST_METHOD"] == "GET"
        assert environ["HTTP_X_Y"] == "z"
        assert isinstance(request_time, timedelta)
        assert (refusal.status, nothing.method, nothing.uri, nothing.headers) == ("400 Bad Request", "-", "-", [])
        assert hook_of(Own(settings()), access_log=False) is None

    def test_one_that_is_no_logger_of_gunicorns(self) -> None:
        class Own:
            def __init__(self) -> None:
                self.seen: list[Any] = []
                self.access = lambda *objects: self.seen.append(objects)

        own = Own()
        hook = hook_of(own)
        assert hook is not None
        serve_logged(hook, get())
        assert len(own.seen) == 1

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
        hook = access_hook(log, cfg, Config(app=hello))
        assert hook is not None
        serve_logged(hook, get())
        assert records.lines == ["GET OWN"]


class TestStatsd:
    def log(self, **values: Any) -> Any:
        log = Statsd(settings(errorlog="/dev/null", statsd_host="127.0.0.1:8125", **values))
        log.sock.close()
        log.sent = []
        log.sock = type("Sock", (), {"send": lambda self, data: log.sent.append(data.partition(b":")[0])})()
        return log

    METRICS = (b"gunicorn.request.duration", b"gunicorn.requests", b"gunicorn.request.status.200")

    def test_metrics_without_a_line(self, records: Records) -> None:
        log = self.log()
        without_handlers(log.access_log)
        hook = hook_of(log)
        assert hook is not None
        log.access_log.addHandler(records)
        serve_logged(hook, get())
        assert tuple(log.sent) == self.METRICS
        assert records.lines == []

    @pytest.mark.parametrize("own", [{}, {"now": lambda self: "NOW"}])
    def test_metrics_and_a_line(self, records: Records, own: dict[str, Any]) -> None:
        log = self.log(accesslog="/dev/null", access_log_format="%(m)s")
        log.__class__ = type("Own", (Statsd,), own)
        serve(log, access_log_format="%(m)s")
        assert tuple(log.sent) == self.METRICS
        assert records.lines == ["GET"]

    def test_metrics_are_no_lines(self, records: Records) -> None:
        log = self.log(accesslog="/dev/null")
        hook = hook_of(log, accesslog="/dev/null", access_log=False)
        assert hook is not None
        serve_logged(hook, get())
        assert tuple(log.sent) == self.METRICS
        assert records.lines == []


class TestUvicornsName:
    """uvicorn.access: as the operator's configuration has it, and as applications use it."""

    @pytest.fixture
    def ours(self) -> logging.Logger:
        return logging.getLogger("uvicorn.access")

    def adopted(self, log: Logger, before: Callable[[], None] = lambda: None, **values: Any) -> AccessHook | None:
        """The hook of a worker whose application has done something to the loggers."""
        cfg = settings(**{"accesslog": "/dev/null", "access_log_format": "%(m)s", **values})
        config = Config(app=hello)
        without_pytests_handlers()
        adopt_loggers(log, cfg, config)
        before()
        return access_hook(log, cfg, config)

    def test_without_a_word_about_it_there_is_gunicorns_line(self, log: Logger, records: Records) -> None:
        hook = self.adopted(log)
        assert hook is not None
        serve_logged(hook, get())
        assert records.lines == ["GET"]

    def test_a_handler_that_no_setting_of_gunicorns_has_made_gets_uvicorns(self, log: Logger, records: Records) -> None:
        """A logger class gives it to gunicorn.access, and uvicorn's worker hands it on."""
        log.cfg = settings()
        if hasattr(log, "_compute_access_log_enabled"):
            log._access_log_enabled = log._compute_access_log_enabled()
        hook = self.adopted(log, accesslog=None)
        assert hook is not None
        serve_logged(hook, get("/x"))
        assert records.lines == ['192.0.2.7:50123 - "GET /x HTTP/1.1" 200']

    def test_a_handler_of_the_application_gets_a_line_too(
        self, log: Logger, records: Records, ours: logging.Logger
    ) -> None:
        own = Records()
        hook = self.adopted(log, lambda: ours.addHandler(own))
        assert hook is not None
        serve_logged(hook, get("/x?y"))
        (record,) = own.kept
        assert record.args == ("192.0.2.7:50123", "GET", "/x?y", "1.1", 200)
        assert record.name == "uvicorn.access"
        # One record for all handlers, of uvicorn's logger.
        assert records.kept == [record]

    @pytest.mark.parametrize("how", ["replaced", "propagate"])
    def test_lines_go_only_where_the_application_says(
        self, log: Logger, records: Records, ours: logging.Logger, how: str
    ) -> None:
        own = Records()

        def change() -> None:
            if how == "replaced":
                ours.handlers = [own]
            else:
                logging.getLogger("uvicorn").addHandler(own)
                ours.handlers.clear()
                ours.propagate = True

        hook = self.adopted(log, change)
        assert hook is not None
        serve_logged(hook, get("/x?y"))
        assert own.lines == ['192.0.2.7:50123 - "GET /x?y HTTP/1.1" 200']
        assert records.lines == []

    def test_without_handlers_there_is_no_line(self, log: Logger, ours: logging.Logger) -> None:
        assert self.adopted(log, lambda: setattr(ours, "handlers", [])) is None

    def test_a_filter_of_the_application_holds_for_gunicorns_line(
        self, log: Logger, records: Records, ours: logging.Logger
    ) -> None:
        def no_health_checks(record: logging.LogRecord) -> bool:
            assert isinstance(record.args, tuple)
            return record.args[2] != "/health"

        hook = self.adopted(log, lambda: ours.addFilter(no_health_checks), access_log_format="%(U)s")
        assert hook is not None
        for path in ("/", "/health", "/x"):
            serve_logged(hook, get(path))
        assert records.lines == ["/", "/x"]

    @pytest.mark.parametrize("how", ["level", "parent", "disabled"])
    def test_the_application_can_silence_it(self, log: Logger, ours: logging.Logger, how: str) -> None:
        def silence() -> None:
            if how == "level":
                ours.setLevel(logging.WARNING)
            elif how == "parent":
                ours.setLevel(logging.NOTSET)
                logging.getLogger("uvicorn").setLevel(logging.ERROR)
            else:
                ours.disabled = True

        assert self.adopted(log, silence) is None

    def test_named_in_the_configuration_it_has_its_own_line(
        self, log: Logger, records: Records, ours: logging.Logger
    ) -> None:
        own = Records()
        ours.addHandler(own)
        ours.addFilter(lambda record: record.args[2] != "/not-here")  # type: ignore[index]
        hook = self.adopted(log, logconfig_dict={"version": 1, "loggers": {"uvicorn.access": {}}})
        assert hook is not None
        serve_logged(hook, get("/not-here"))
        serve_logged(hook, get())
        assert own.lines == ['192.0.2.7:50123 - "GET / HTTP/1.1" 200']
        assert records.lines == ["GET", "GET"]

    def test_it_is_silent_where_the_configuration_says_so(
        self, log: Logger, records: Records, ours: logging.Logger
    ) -> None:
        own = Records()
        ours.addHandler(own)
        ours.setLevel(logging.WARNING)
        hook = self.adopted(log, logconfig_dict={"version": 1, "loggers": {"uvicorn.access": {}}})
        assert hook is not None
        serve_logged(hook, get())
        assert own.lines == []
        assert records.lines == ["GET"]

    def test_where_both_lead_to_the_same_handlers_there_is_one_line(self, log: Logger, ours: logging.Logger) -> None:
        own = Records()
        ours.addHandler(own)
        without_handlers(log.access_log)
        log.access_log.addHandler(own)
        hook = self.adopted(log, logconfig_dict={"version": 1, "loggers": {"uvicorn.access": {}}})
        assert hook is not None
        serve_logged(hook, get())
        assert own.lines == ['192.0.2.7:50123 - "GET / HTTP/1.1" 200']


def test_a_client_that_leaves_before_the_response_is_not_logged() -> None:
    seen: list[CycleView] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    harness = Harness(app)
    harness.runtime.access = seen.append
    harness.connect().send(get()).leave()
    harness.close()
    assert seen == []
