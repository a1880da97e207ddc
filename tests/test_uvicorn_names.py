"""`import uvicorn_worker as uvicorn`: what handbooks and applications import of uvicorn is there."""

from __future__ import annotations

import asyncio
import copy
import importlib
import inspect
import os
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

NAMES = {
    "": ["Config", "Server", "main", "run"],
    "_compat": ["asyncio_run", "iscoroutinefunction"],
    "_subprocess": ["SpawnProcess", "get_subprocess", "spawn", "subprocess_started"],
    "_types": [
        "ASGI3Application", "ASGIReceiveEvent", "ASGISendEvent", "Environ", "ExcInfo", "HTTPResponseStartEvent",
        "HTTPResponseTrailersEvent", "HTTPScope", "Scope", "WebSocketResponseStartEvent",
    ],
    "config": [
        "Config", "HTTPProtocolType", "HTTP_PROTOCOLS", "INTERFACES", "ImportFromStringError", "InterfaceType",
        "LIFESPAN", "LOGGING_CONFIG", "LOG_LEVELS", "LOOP_FACTORIES", "LifespanType", "LoopFactoryType",
        "SSL_PROTOCOL_VERSION", "STARTUP_FAILURE", "TRACE_LOG_LEVEL", "WSProtocolType", "WS_PROTOCOLS",
        "create_ssl_context", "import_from_string", "logger", "resolve_reload_patterns",
    ],
    "importer": ["ImportFromStringError", "import_from_string"],
    "logging": ["AccessFormatter", "ColourizedFormatter", "DefaultFormatter", "TRACE_LOG_LEVEL"],
    "lifespan.off": ["LifespanOff"],
    "lifespan.on": ["LifespanOn"],
    "loops.asyncio": ["asyncio_loop_factory"],
    "loops.auto": ["auto_loop_factory"],
    "loops.uvloop": ["uvloop_loop_factory"],
    "main": [
        "INTERFACES", "INTERFACE_CHOICES", "LEVEL_CHOICES", "LIFESPAN_CHOICES", "SSL_PROTOCOL_VERSION",
        "STARTUP_FAILURE", "Server", "logger", "main", "run",
    ],
    "middleware.asgi2": ["ASGI2Middleware"],
    "middleware.message_logger": ["MessageLoggerMiddleware"],
    "middleware.proxy_headers": ["ProxyHeadersMiddleware", "_TrustedHosts"],
    "middleware.wsgi": ["WSGIMiddleware"],
    "protocols.utils": [
        "ClientDisconnected", "get_client_addr", "get_local_addr", "get_path_with_query_string", "get_remote_addr",
        "is_ssl",
    ],
    "server": ["HANDLED_SIGNALS", "STARTUP_FAILURE", "Server", "ServerState", "logger"],
    "supervisors": ["BaseReload", "ChangeReload", "Multiprocess"],
    "supervisors.basereload": ["BaseReload", "Config", "HANDLED_SIGNALS", "get_subprocess", "logger"],
    "supervisors.multiprocess": [
        "Config", "Multiprocess", "Process", "SIGNALS", "STARTUP_FAILURE", "Server", "get_subprocess", "logger",
    ],
    "supervisors.statreload": ["StatReload"],
    "supervisors.watchfilesreload": ["FileFilter", "WatchFilesReload"],
    "workers": ["Config", "Server", "UvicornH11Worker", "UvicornWorker"],
}  # fmt: skip
TYPES = [
    "ASGI2Application", "ASGI2Protocol", "ASGI3Application", "ASGIApplication", "ASGIReceiveCallable",
    "ASGISendCallable", "HTTPScope", "LifespanScope", "Scope", "StartResponse", "WSGIApp", "WWWScope", "WebSocketScope",
]  # fmt: skip


@pytest.mark.parametrize("module", NAMES)
def test_a_name_is_where_uvicorn_has_it(module: str) -> None:
    theirs: Any = None
    if module != "workers":
        theirs = importlib.import_module(f"uvicorn.{module}".rstrip("."))
    ours = importlib.import_module(f"uvicorn_worker.{module}".rstrip("."))
    for name in NAMES[module]:
        assert hasattr(ours, name)
        assert theirs is None or hasattr(theirs, name)


@pytest.mark.parametrize("name", ["HTTP_PROTOCOLS", "INTERFACES", "LIFESPAN", "LOOP_FACTORIES", "WS_PROTOCOLS"])
def test_words_are_uvicorns(name: str) -> None:
    ours, theirs = (importlib.import_module(f"{package}.config") for package in ("uvicorn_worker", "uvicorn"))
    assert list(getattr(ours, name)) == list(getattr(theirs, name))
    for word, named in getattr(ours, name).items() if name in ("LIFESPAN", "LOOP_FACTORIES") else ():
        # As a `load()` of somebody's own looks it up.
        assert named is None or callable(ours.import_from_string(named)), word


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("HTTPProtocolType", "HTTP_PROTOCOLS"), ("InterfaceType", "INTERFACES"), ("LifespanType", "LIFESPAN"),
        ("LoopFactoryType", "LOOP_FACTORIES"), ("WSProtocolType", "WS_PROTOCOLS"),
    ],
)  # fmt: skip
def test_types_of_options_are_uvicorns(name: str, words: str) -> None:
    """Settings of programs are declared with them, and read by what they allow."""
    ours, theirs = (importlib.import_module(f"{package}.config") for package in ("uvicorn_worker", "uvicorn"))
    assert getattr(ours, name) == getattr(theirs, name)
    assert list(get_args(getattr(ours, name))) == list(getattr(ours, words))


def test_patterns_and_folders_of_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app" / "deep").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    for package in ("uvicorn", "uvicorn_worker"):
        resolve: Any = importlib.import_module(f"{package}.config").resolve_reload_patterns
        patterns, folders = resolve(["*.html", ".*", "da*", "app/deep"], ["app", "gone"])
        assert set(patterns) == {"*.html", ".*", "da*", "app/deep"}
        assert set(folders) == {tmp_path / "app", tmp_path / "data"}


def test_a_context_is_made_of_options(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    config: Any = importlib.import_module("uvicorn_worker.config")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    for name, blobs in (("cert.pem", certificate.cert_chain_pems), ("key.pem", [certificate.private_key_pem])):
        (tmp_path / name).write_bytes(b"".join(blob.bytes() for blob in blobs))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    files = (tmp_path / "cert.pem", tmp_path / "key.pem", None)
    context = config.create_ssl_context(*files, config.SSL_PROTOCOL_VERSION, 2, tmp_path / "ca.pem", "ECDHE")
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1
    plain = config.create_ssl_context(str(files[0]), str(files[1]), None, 17, 0, None, None, ["h2"])
    assert isinstance(plain, ssl.SSLContext)


@pytest.mark.parametrize("kind", ["asyncio", "auto", "uvloop"])
def test_a_loop_of_the_callers_own(kind: str) -> None:
    """Programs run `serve()`, and what stands beside it, in one."""
    compat: Any = importlib.import_module("uvicorn_worker._compat")
    module: Any = importlib.import_module(f"uvicorn_worker.loops.{kind}")
    if kind == "uvloop":
        pytest.importorskip("uvloop")

    async def kind_of_loop() -> tuple[str, bool]:
        loop = asyncio.get_running_loop()
        return type(loop).__module__, loop.get_debug()

    made, debugs = compat.asyncio_run(
        kind_of_loop(), debug=True, loop_factory=getattr(module, f"{kind}_loop_factory")()
    )
    assert debugs
    assert kind == "auto" or made.startswith(kind)
    assert compat.asyncio_run(kind_of_loop())[0].startswith("asyncio")
    assert compat.iscoroutinefunction(kind_of_loop)


def test_one_beside_a_run_of_somebodys() -> None:
    """Debuggers and nest_asyncio have an `asyncio.run()` that takes no `loop_factory`."""
    code = (
        "import asyncio\n"
        "asyncio.run = lambda main, *, debug=False: None\n"
        "from uvicorn_worker._compat import asyncio_run\n"
        "print(asyncio_run(asyncio.sleep(0, 'ran'), loop_factory=asyncio.new_event_loop))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ran\n"


@pytest.mark.parametrize(
    ("setup", "module"),
    [
        ("loops.auto.auto_loop_setup", "uvloop"),
        ("loops.uvloop.uvloop_setup", "uvloop"),
        ("loops.asyncio.asyncio_setup", "asyncio"),
        ("config.Config('a:b', log_config=None).setup_event_loop", "uvloop"),
        ("config.Config('a:b', log_config=None, loop='asyncio').setup_event_loop", "asyncio"),
        ("config.Config('a:b', log_config=None, loop='asyncio:SelectorEventLoop').setup_event_loop", "asyncio"),
    ],
)
def test_a_loop_is_set_up_as_before_there_were_factories(setup: str, module: str, tmp_path: Path) -> None:
    """With uvicorn before 0.36, for which programs are written: this, and then `asyncio.run()`."""
    pytest.importorskip("uvloop")
    imports = "import asyncio\nimport uvicorn_worker.config\nimport uvicorn_worker.loops.asyncio\n"
    imports += "import uvicorn_worker.loops.auto\nimport uvicorn_worker.loops.uvloop\n"
    code = imports + (
        f"uvicorn_worker.{setup}()\nasync def main():\n    print(type(asyncio.get_running_loop()).__module__)\n"
        "asyncio.run(main())\n"
    )
    made = run_python(code, tmp_path).strip()
    assert made.startswith(module if sys.version_info < (3, 14) else "asyncio")


def test_names_of_before_there_were_factories() -> None:
    config: Any = importlib.import_module("uvicorn_worker.config")
    assert config.LoopSetupType == config.LoopFactoryType
    assert config.LOOP_SETUPS is config.LOOP_FACTORIES


def test_the_command_is_asked_for_what_click_has(capsys: pytest.CaptureFixture[str]) -> None:
    testing = pytest.importorskip("click.testing")
    module: Any = importlib.import_module("uvicorn_worker.main")
    for each in (module, module.main):
        assert "timeout_keep_alive" in [parameter.name for parameter in each.params]
        assert each.main(["--version"], standalone_mode=False) is None
        assert "uvicorn-worker" in capsys.readouterr().out
    done = testing.CliRunner().invoke(module.main, ["--no-such"])
    assert (done.exit_code, "No such option" in done.output) == (2, True)
    assert not hasattr(module.main, "__wrapped__")


def test_the_command_is_one_of_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs have it among their own: `group.add_command(uvicorn.main, name="start")`."""
    click: Any = pytest.importorskip("click")
    testing = pytest.importorskip("click.testing")
    group = click.Group("mine")
    group.add_command(importlib.import_module("uvicorn_worker").main, name="start")
    group.add_command(importlib.import_module("uvicorn_worker.main").main)
    help_of_group, help_of_command, version = (
        testing.CliRunner().invoke(group, words) for words in (["--help"], ["start", "--help"], ["start", "--version"])
    )
    assert "start" in help_of_group.output
    assert "mine start [OPTIONS]" in help_of_command.output
    assert version.output.startswith("uvicorn-worker ")
    assert [each.exit_code for each in (help_of_group, help_of_command, version)] == [0, 0, 0]


def test_a_command_invokes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`context.invoke(uvicorn.main, app="main:app", port=8080)`: its parameters have their defaults."""
    click: Any = pytest.importorskip("click")
    module: Any = importlib.import_module("uvicorn_worker.main")
    seen: list[tuple[str, Any, Any]] = []
    command: Any = importlib.import_module("uvicorn_worker.cli.command").command()
    monkeypatch.setattr(command, "callback", lambda app, host, port, **given: seen.append((app, host, port)))
    for each in (module, module.main):
        assert isinstance(each, click.Command)
        invoke = click.pass_context(lambda context, each=each: context.invoke(each, app="a:b", port=0))
        click.Command("start", callback=invoke)([], standalone_mode=False)
    assert seen == [("a:b", "127.0.0.1", 0)] * 2
    assert inspect.ismodule(module)
    assert importlib.reload(module) is module


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_of_the_command_is_a_command_of_the_programs_own(copied: Callable[[Any], Any]) -> None:
    """unionml's `serve`: `copy.deepcopy(uvicorn.main)` with one more option, and a callback that takes it."""
    click: Any = pytest.importorskip("click")
    module: Any = importlib.import_module("uvicorn_worker.main")
    for each in (module, module.main):
        seen: dict[str, Any] = {}
        mine = copied(each)
        assert isinstance(mine, click.Command)
        mine.params = [*mine.params, click.Option(["--model"])]
        mine.callback = lambda seen=seen, **given: seen.update(given)
        mine(["a:b", "--model", "x", "--port", "1"], standalone_mode=False)
        assert (seen["app"], seen["model"], seen["port"]) == ("a:b", "x", "1")
        assert "model" not in [parameter.name for parameter in each.params]


def test_a_callback_that_a_program_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """`uvicorn.main.callback = mine`, which does something around the one that was there."""
    pytest.importorskip("click")
    module: Any = importlib.import_module("uvicorn_worker.main")
    before = module.callback
    for each in (module, module.main):
        seen: list[Any] = []
        with monkeypatch.context() as patched:
            patched.setattr(each, "callback", lambda app, seen=seen, **given: seen.append((app, given["port"])))
            patched.setattr(module, "Config", None)
            each(["a:b", "--port", "1"], standalone_mode=False)
            assert seen == [("a:b", "1")]
        assert module.main.callback is module.callback is before
        assert module.Config is not None
    with pytest.raises(AttributeError, match="callback"):
        del module.main.callback


def test_types() -> None:
    types = importlib.import_module("uvicorn_worker.types")
    theirs = importlib.import_module("uvicorn._types")
    for name in TYPES:
        assert hasattr(types, name)
        assert hasattr(theirs, name)


def run_python(code: str, folder: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_modules_are_attributes_of_the_package(tmp_path: Path) -> None:
    code = (
        "import uvicorn_worker as uvicorn\n"
        "assert uvicorn.config.LOGGING_CONFIG is uvicorn.main.LOGGING_CONFIG\n"
        "assert uvicorn.logging.DefaultFormatter and uvicorn.server.Server is uvicorn.Server\n"
        "from uvicorn_worker.main import run\n"
        "assert callable(uvicorn.main) and run is uvicorn.run\n"
        "try:\n    uvicorn.main(['--version'])\nexcept SystemExit as exc:\n    assert exc.code == 0\n"
    )
    assert "uvicorn-worker" in run_python(code, tmp_path)


def test_the_module_can_be_asked_for_anything_without_click(tmp_path: Path) -> None:
    """As by what looks through all modules: reloaders, notebooks, mocks."""
    code = (
        "import sys\nsys.modules['click'] = None\nimport uvicorn_worker.main\n"
        "module = sys.modules['uvicorn_worker.main']\n"
        "print([hasattr(module, name) for name in ('params', 'LEVEL_CHOICES', 'no_such_name', 'run')])\n"
    )
    assert run_python(code, tmp_path).strip() == "[False, False, False, True]"


@pytest.mark.parametrize("name", ["INTERFACE_CHOICES", "LEVEL_CHOICES", "LIFESPAN_CHOICES"])
def test_the_choices_of_an_option_are_uvicorns(name: str) -> None:
    """Commands around a server have options of them."""
    ours, theirs = (getattr(importlib.import_module(f"{each}.main"), name) for each in ("uvicorn_worker", "uvicorn"))
    assert type(ours) is type(theirs)
    assert set(ours.choices) == set(theirs.choices)


def test_run_takes_every_parameter_of_uvicorns() -> None:
    theirs = importlib.import_module("uvicorn")
    config: Any = importlib.import_module("uvicorn_worker").Config
    parameters = inspect.signature(theirs.run).parameters
    given = {name: item.default for name, item in parameters.items() if item.default is not inspect.Parameter.empty}
    assert config("main:app", **given).port == 8000


@pytest.mark.parametrize("name", ["run", "Config"])
def test_signatures_name_every_parameter_of_uvicorns(name: str) -> None:
    """Programs look there for what the installed version takes, and leave the rest out."""
    theirs = inspect.signature(getattr(importlib.import_module("uvicorn"), name)).parameters
    package: Any = importlib.import_module("uvicorn_worker")
    ours = inspect.signature(getattr(package, name)).parameters
    assert [each for each in theirs if each not in ours] == []
    # By position where they are so there, and each with a default that may be given.
    assert {each: item.kind for each, item in ours.items() if each in theirs} == {
        each: item.kind for each, item in theirs.items()
    }
    given = {each: item.default for each, item in ours.items() if each != "app"}
    plain = package.Config("main:app")
    assert package.Config("main:app", **{**given, "log_config": plain.log_config}) == plain


def test_positions_are_uvicorns() -> None:
    theirs, ours = (
        list(inspect.signature(importlib.import_module(name).Config).parameters)
        for name in ("uvicorn", "uvicorn_worker")
    )
    assert ours[: len(theirs)] == theirs


def test_of_the_method_too() -> None:
    config: Any = importlib.import_module("uvicorn_worker").Config
    assert "timeout_worker_healthcheck" in inspect.signature(config.__init__).parameters
    assert "http2_max_concurrent_streams" in inspect.signature(config).parameters


# The examples of handbooks: a server in a running loop, one in a thread, and one whose lines of the log are changed.
EXAMPLES = [
    """
import asyncio
import copy
import uvicorn_worker as uvicorn
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"Hello, world!"})
async def main():
    config = uvicorn.Config(app, port=0, log_level="info", lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET / HTTP/1.0\\r\\nHost: a\\r\\n\\r\\n")
    print((await reader.read()).decode())
    writer.close()
    server.should_exit = True
    await task
asyncio.run(main())
""",
    """
import contextlib, threading, time, urllib.request
import uvicorn_worker as uvicorn
class Server(uvicorn.Server):
    @contextlib.contextmanager
    def run_in_thread(self):
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            while not self.started:
                time.sleep(1e-3)
            yield
        finally:
            self.should_exit = True
            thread.join()
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"Hello, world!"})
log_config = uvicorn.config.LOGGING_CONFIG
log_config["formatters"]["access"]["fmt"] = "mine %(status_code)s"
server = Server(uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_config=log_config))
with server.run_in_thread():
    port = server.servers[0].sockets[0].getsockname()[1]
    print(urllib.request.urlopen(f"http://127.0.0.1:{port}/").read().decode())
    print("mine 200")
""",
]


@pytest.mark.parametrize("example", EXAMPLES, ids=["in a loop", "in a thread"])
def test_an_example_of_the_handbooks(example: str, tmp_path: Path) -> None:
    out = run_python(example, tmp_path)
    assert "Hello, world!" in out
    assert "Uvicorn running on http://127.0.0.1:" in out
    assert "mine 200" in out or "Hello" in out
