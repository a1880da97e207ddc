"""The table of servers: what each needs installed and how it is started.

Every server runs one worker with its access log off, unless its name says `-log`, on the same event loop where it lets
one choose. Peers get the options that make them fastest in ordinary use.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from .scenarios import HTTP2, TLS, WEBSOCKET, Scenario

OURS = "ours"

_GUNICORN = "gunicorn==27.0.1"
_UVLOOP = "uvloop==0.23.0"
_HTTPTOOLS = "httptools==0.9.0"
_WEBSOCKETS = "websockets==17.4"
_WSPROTO = "wsproto==1.3.2"
_H11 = "h11==0.16.0"
_H2 = "h2==4.4.1"

# The applications' own needs, the same for every server. Django and Quart are the newest that Python 3.11 can have, so
# that figures of two Pythons are of the same code.
_APPS = (
    *("fastapi==0.165.0", "starlette==1.10.0", "pydantic==2.14.3"),
    *("django==5.2.19", "asgiref==3.13.0", "litestar==2.25.0", "msgspec==0.22.0", "quart==0.22.0", "werkzeug==3.1.9"),
)


@dataclass(frozen=True)
class Server:
    """One row of every table.

    `command` is a template: `{bin}` is the directory of the environment's programs, `{app}` the application as
    `module:attribute`, `{port}` the port to listen on at 127.0.0.1, `{cert}` and `{key}` the files of a certificate.
    """

    name: str
    title: str
    requirements: tuple[str, ...]
    command: tuple[str, ...]
    environment: str = ""
    """Name of the virtual environment, where two servers share one."""
    optional: tuple[str, ...] = ()
    """Requirements that only make it faster and may lack a wheel; left out, with a note, where they do not install."""
    checkout: bool = False
    """Install this repository, editable."""
    default: bool = True
    """Measured without being asked for by name."""
    asgi: bool = True
    websocket_command: tuple[str, ...] = ()
    """The command where WebSockets are asked for, if it is another one."""
    http2_command: tuple[str, ...] = ()
    """The command where HTTP/2 is spoken; none: the server can't, or not in cleartext."""
    http2_title: str = ""
    """The title there, if it is another one."""
    tls_options: tuple[str, ...] = ()
    """Options of `command` that make it speak TLS, with `{cert}` and `{key}`; none: the server can't."""
    grows: bool = False
    """Measured with many connections and with several workers without being asked for by name."""
    crowd: tuple[str, ...] = ()
    """Options without which it does not take tens of thousands of connections."""
    spins: bool = False
    """It takes CPU while it has nothing to do, so it is halted while others are measured."""
    http2_closes: bool = False
    """It closes connections there after a number of requests; of every other server that is a fault."""

    def command_for(self, app: str) -> tuple[str, ...]:
        """The template of the command that serves *app*."""
        if app == HTTP2:
            return self.http2_command
        if app == TLS:
            # The application is the last word.
            return (*self.command[:-1], *self.tls_options, self.command[-1])
        return (app == WEBSOCKET and self.websocket_command) or self.command

    def title_for(self, app: str) -> str:
        """What it is called where it serves *app*."""
        return (app == HTTP2 and self.http2_title) or self.title

    def with_workers(self, number: int) -> Server:
        """The same with *number* of workers; all that are measured so say `-w 1` or `--workers 1`."""
        return self._with(str(number), "-w", "--workers")

    def for_crowds(self) -> Server:
        """The same with room for tens of thousands of connections that have nothing to ask for minutes."""
        kept = self._with("600", "--keep-alive", "--timeout-keep-alive")
        return dataclasses.replace(kept, command=(*kept.command[:-1], *self.crowd, kept.command[-1]))

    def _with(self, value: str, *options: str) -> Server:
        def changed(command: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(value if at and command[at - 1] in options else word for at, word in enumerate(command))

        return dataclasses.replace(
            self,
            command=changed(self.command),
            websocket_command=changed(self.websocket_command),
            http2_command=changed(self.http2_command),
        )

    @property
    def environment_name(self) -> str:
        return self.environment or self.name

    def serves(self, scenario: Scenario) -> bool:
        if scenario.app == HTTP2:
            return bool(self.http2_command)
        if scenario.app == TLS:
            return bool(self.tls_options)
        return self.asgi or scenario.floor


def _gunicorn(worker: str, *options: str) -> tuple[str, ...]:
    # Without a control socket, because all instances would share one path. The keep-alive time is longer than the
    # pauses between rounds.
    common = ("-w", "1", "-b", "127.0.0.1:{port}", "--keep-alive", "75", "--log-level", "warning")
    return ("{bin}/gunicorn", "-k", worker, *common, "--no-control-socket", *options, "{app}")


# Where the programs of the environment are, so that nothing is left behind elsewhere.
_TO_A_FILE = ("--access-logfile", "{bin}/../access.log")


def _granian(websockets: str, http: str = "1") -> tuple[str, ...]:
    return (
        *("{bin}/granian", "--interface", "asgi", "--workers", "1", "--loop", "uvloop", "--http", http, websockets),
        *("--runtime-mode", "st", "--runtime-threads", "1", "--log-level", "warning", "--no-access-log"),
        *("--host", "127.0.0.1", "--port", "{port}", "{app}"),
    )


def _zttp(*options: str) -> tuple[str, ...]:
    return (
        *("{bin}/uvicorn", "--http", "zttp", "--loop", "uvloop", "--timeout-keep-alive", "75", *options),
        *("--log-level", "warning", "--no-access-log", "--host", "127.0.0.1", "--port", "{port}", "{app}"),
    )


def _h2corn(*options: str) -> tuple[str, ...]:
    return (
        *("{bin}/h2corn", "--loop", "uvloop", "--no-access-log", "--timeout-keep-alive", "75", "--workers", "1"),
        *("--bind", "127.0.0.1:{port}", *options, "{app}"),
    )


# Of Gunicorn, and of those that have its names.
_CERTIFICATE = ("--certfile", "{cert}", "--keyfile", "{key}")

_HYPERCORN = (
    *("{bin}/hypercorn", "-k", "uvloop", "--workers", "1", "--keep-alive", "75", "--log-level", "warning"),
    *("--bind", "127.0.0.1:{port}", "{app}"),
)

_OURS = (_GUNICORN, _UVLOOP, _HTTPTOOLS, _WEBSOCKETS, _H11, _H2, *_APPS)
_UVICORN_WORKER = (
    *(_GUNICORN, "uvicorn-worker==0.4.0", "uvicorn==0.54.0", _UVLOOP, _HTTPTOOLS, _WEBSOCKETS, _WSPROTO),
    *_APPS,
)

SERVERS = (
    Server(
        OURS,
        "this project, UvicornWorker",
        _OURS,
        _gunicorn("uvicorn_worker.UvicornWorker"),
        grows=True,
        checkout=True,
        http2_command=_gunicorn("uvicorn_worker.UvicornH2CWorker"),
        http2_title="this project, UvicornH2CWorker",
        tls_options=_CERTIFICATE,
    ),
    Server(
        "ours-h11",
        "this project, UvicornH11Worker",
        _OURS,
        _gunicorn("uvicorn_worker.UvicornH11Worker"),
        environment=OURS,
        checkout=True,
        default=False,
    ),
    Server(
        "ours-h2",
        "this project, UvicornH2CWorker with the h2 library",
        _OURS,
        _gunicorn("uvicorn_worker.UvicornH2CWorker", "--env", "UVICORN_HTTP2_ENGINE=h2"),
        environment=OURS,
        checkout=True,
        default=False,
        http2_command=_gunicorn("uvicorn_worker.UvicornH2CWorker", "--env", "UVICORN_HTTP2_ENGINE=h2"),
    ),
    *(
        Server(
            f"ours-{tasks}",
            f"this project, UvicornWorker, {title}",
            _OURS,
            _gunicorn(f"task_workers.{tasks.capitalize()}Worker"),
            environment=OURS,
            checkout=True,
            default=False,
        )
        for tasks, title in (("lazy", "no task starts eagerly"), ("eager", "all tasks start eagerly"))
    ),
    Server(
        "uvicorn-worker",
        "uvicorn-worker 0.4.0, uvicorn 0.54.0, httptools",
        _UVICORN_WORKER,
        # WebSockets are left on "auto": the websockets library, without I/O of its own.
        _gunicorn("uvicorn_worker.UvicornWorker"),
        tls_options=_CERTIFICATE,
        grows=True,
    ),
    Server(
        "ours-log",
        "this project, UvicornWorker, access log to a file",
        _OURS,
        _gunicorn("uvicorn_worker.UvicornWorker", *_TO_A_FILE),
        environment=OURS,
        checkout=True,
        default=False,
    ),
    Server(
        "uvicorn-worker-log",
        "uvicorn-worker 0.4.0, uvicorn 0.54.0, access log to a file",
        _UVICORN_WORKER,
        _gunicorn("uvicorn_worker.UvicornWorker", *_TO_A_FILE),
        environment="uvicorn-worker",
        default=False,
    ),
    Server(
        "granian-log",
        "Granian 2.8.9, access log",
        ("granian==2.8.9", _UVLOOP, *_APPS),
        # Its lines are of the level info.
        tuple({"--no-access-log": "--access-log", "warning": "info"}.get(each, each) for each in _granian("--no-ws")),
        environment="granian",
        default=False,
    ),
    Server(
        "uvicorn-worker-websockets",
        "uvicorn-worker 0.4.0, ws = websockets",
        _UVICORN_WORKER,
        _gunicorn("uvicorn_workers.WebSocketsWorker"),
        environment="uvicorn-worker",
        default=False,
    ),
    Server(
        "uvicorn-worker-wsproto",
        "uvicorn-worker 0.4.0, ws = wsproto",
        _UVICORN_WORKER,
        _gunicorn("uvicorn_workers.WsprotoWorker"),
        environment="uvicorn-worker",
        default=False,
    ),
    Server(
        "uvicorn-zttp",
        "uvicorn 0.54.0 without Gunicorn, zttp",
        ("uvicorn==0.54.0", _UVLOOP, "zttp==0.0.35", _WEBSOCKETS, *_APPS),
        _zttp(),
        default=False,
        http2_command=_zttp("--http2"),
        http2_closes=True,
    ),
    Server(
        "gunicorn-asgi",
        "Gunicorn 27.0.1, -k asgi",
        (_GUNICORN, _UVLOOP, _H2, *_APPS),
        # The parser is left on "auto": the C parser where it could be installed.
        _gunicorn("asgi", "--asgi-loop", "uvloop"),
        # What gunicorn[fast] stands for. Named on its own, since that extra asks for a release newer than those
        # commonly mirrored, while Gunicorn itself takes 0.4.1 and later. Has no wheels: needs a C compiler.
        optional=("gunicorn_h1c==0.6.9",),
        http2_command=_gunicorn(
            *("asgi", "--asgi-loop", "uvloop", "--http-protocols", "h2,h1", "--http2-cleartext", "prior-knowledge")
        ),
    ),
    Server(
        "granian",
        "Granian 2.8.9",
        ("granian==2.8.9", _UVLOOP, *_APPS),
        _granian("--no-ws"),
        websocket_command=_granian("--ws"),
        http2_command=_granian("--no-ws", "2"),
        tls_options=("--ssl-certificate", "{cert}", "--ssl-keyfile", "{key}", "--ssl-protocol-min", "tls1.2"),
        grows=True,
        # A connection more than this waits until another one ends, and an idle one is closed after this time.
        crowd=("--backlog", "32768", "--backpressure", "32768", "--http1-header-read-timeout", "60000"),
    ),
    Server(
        "h2corn",
        "h2corn 2.0.0, uvloop",
        ("h2corn[uvloop]==2.0.0", _UVLOOP, *_APPS),
        _h2corn(),
        http2_command=_h2corn(),
        tls_options=_CERTIFICATE,
        grows=True,
        # It is the time for a next head, too.
        crowd=("--timeout-request-header", "0", "--backlog", "4096"),
    ),
    Server(
        "fastpysgi",
        "FastPySGI 0.6",
        ("fastpysgi==0.6", _UVLOOP, *_APPS),
        ("{bin}/python", "fastpysgi_server.py", "{app}", "{port}", "--workers", "1"),
        spins=True,
    ),
    Server(
        "uvicorn-worker-uvloop22",
        "uvicorn-worker 0.4.0 with uvloop 0.22.1",
        tuple("uvloop==0.22.1" if each == _UVLOOP else each for each in _UVICORN_WORKER),
        _gunicorn("uvicorn_worker.UvicornWorker"),
        default=False,
    ),
    Server(
        "h2corn-uvloop22",
        "h2corn 2.0.0 with uvloop 0.22.1",
        ("h2corn[uvloop]==2.0.0", "uvloop==0.22.1", *_APPS),
        _h2corn(),
        default=False,
        http2_command=_h2corn(),
    ),
    Server(
        "hypercorn",
        "Hypercorn 0.18.0",
        ("hypercorn==0.18.0", _H11, _H2, _WSPROTO, _UVLOOP, *_APPS),
        _HYPERCORN,
        http2_command=_HYPERCORN,
        tls_options=_CERTIFICATE,
        http2_closes=True,
    ),
    Server(
        "floor",
        "fixed bytes from a bare uvloop protocol",
        (_UVLOOP,),
        ("{bin}/python", "floor.py", "{port}"),
        websocket_command=("{bin}/python", "floor_websocket.py", "{port}"),
        asgi=False,
    ),
)
