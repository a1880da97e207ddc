"""Each of Gunicorn's settings that concerns the worker, set on a real Gunicorn and seen by its effect.

`OBSERVED` names for each setting the test that sees its effect: one of those below, or one in another file. A setting
that is honoured and not in the table fails a test.
"""

from __future__ import annotations

import ast
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import gunicorn
import pytest
from gunicorn.config import KNOWN_SETTINGS
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.e2e.harness import H11, HTTPTOOLS, PATIENCE, Gunicorn, until
from tests.e2e.raw import Connection
from uvicorn_worker.worker.settings import HONOURED, REFUSED, ROWS

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

KNOWN = {setting.name for setting in KNOWN_SETTINGS}

# The setting, and the test that sees what it does: a function of this file, or file::function.
OBSERVED = {
    "accesslog": "test_access_log.py::test_every_atom",
    "access_log_format": "test_access_log.py::test_every_atom",
    "asgi_disconnect_grace_period": "test_disconnect_grace_period",
    "asgi_lifespan": "test_asgi_settings",
    "asgi_loop": "test_asgi_settings",
    "backlog": "test_backlog",
    "ca_certs": "test_tls.py::test_client_certificates",
    "capture_output": "test_logging.py::test_captured_output",
    "casefold_http_method": "test_limits.py::test_what_gunicorn_permits",
    "cert_reqs": "test_tls.py::test_client_certificates",
    "certfile": "test_tls.py::test_https",
    "chdir": "test_chdir_is_where_pyproject_is_looked_for",
    "ciphers": "test_tls.py::test_ciphers_and_what_asyncio_has_no_notion_of",
    "disable_redirect_access_to_syslog": "test_logging.py::test_syslog",
    "dogstatsd_tags": "test_statsd.py::test_with_and_without_an_access_log",
    "errorlog": "test_deployments.py::test_handbook_configuration_file",
    "forwarded_allow_ips": "test_proxy_settings",
    "forwarder_headers": "test_proxy_settings",
    "graceful_timeout": "test_stop.py::test_graceful_timeout_bounds_the_wait",
    "header_map": "test_proxy_settings",
    "http2_cleartext": "http2/test_settings.py::test_settings_of_gunicorn",
    "http2_initial_window_size": "http2/test_settings.py::test_settings_of_gunicorn",
    "http2_max_concurrent_streams": "http2/test_settings.py::test_settings_of_gunicorn",
    "http2_max_frame_size": "http2/test_settings.py::test_settings_of_gunicorn",
    "http2_max_header_list_size": "http2/test_settings.py::test_settings_of_gunicorn",
    "http_protocols": "http2/test_settings.py::test_settings_of_gunicorn",
    "keepalive": "test_keepalive",
    "keyfile": "test_tls.py::test_https",
    "limit_request_field_size": "test_limits_of_the_head",
    "limit_request_fields": "test_limits_of_the_head",
    "limit_request_line": "test_limits_of_the_head",
    "logconfig": "test_logging.py::test_uvicorns_loggers_each_line_once",
    "logconfig_dict": "test_logging.py::test_uvicorns_loggers_each_line_once",
    "logconfig_json": "test_logging.py::test_uvicorns_loggers_each_line_once",
    "logger_class": "test_access_log.py::test_logger_class_of_the_user",
    "loglevel": "test_logging.py::test_the_level_is_gunicorns_after_a_reload_too",
    "max_requests": "test_recycle.py::test_workers_recycle_without_an_error_for_a_keep_alive_client",
    "max_requests_jitter": "test_max_requests_jitter",
    "permit_obsolete_folding": "test_permitted",
    "permit_unconventional_http_method": "test_limits.py::test_what_gunicorn_permits",
    "permit_unconventional_http_version": "test_permitted",
    "post_request": "test_hooks.py::test_request_hooks",
    "post_worker_init": "test_hooks.py::test_process_hooks_are_called_once_and_in_order",
    "pre_request": "test_hooks.py::test_request_hooks",
    "preload_app": "test_boot.py::test_preloaded_app_is_imported_once_and_the_master_stays_fork_safe",
    "protocol": "test_refused",
    "proxy_allow_ips": "test_proxy_settings",
    "proxy_protocol": "test_proxies.py::test_haproxy_with_send_proxy",
    "raw_env": "test_options.py::test_gunicorns_env_option_reaches_the_worker",
    "reload": "test_reload.py::test_each_edit_is_served_also_with_a_stream_open",
    "reload_engine": "test_reload.py::test_each_edit_is_served_also_with_a_stream_open",
    "reload_extra_files": "test_reload.py::test_a_change_of_an_extra_file_reloads_too",
    "reuse_port": "test_reuse_port",
    "root_path": "test_asgi_settings",
    "sendfile": "test_files.py::test_starlette_lets_the_kernel_send",
    "secure_scheme_headers": "test_proxy_settings",
    "ssl_context": "test_tls.py::test_hook_is_called_in_each_worker",
    "ssl_version": "test_tls.py::test_oldest_version",
    "statsd_host": "test_statsd.py::test_with_and_without_an_access_log",
    "statsd_prefix": "test_statsd.py::test_with_and_without_an_access_log",
    "strip_header_spaces": "test_limits.py::test_what_gunicorn_permits",
    "syslog": "test_logging.py::test_syslog",
    "syslog_addr": "test_logging.py::test_syslog",
    "syslog_facility": "test_logging.py::test_syslog",
    "syslog_prefix": "test_logging.py::test_syslog",
    "threads": "test_threads",
    "timeout": "test_heartbeat.py::test_blocked_loop_is_killed_with_its_stack_in_the_log",
    "websocket_max_message_size": "test_asgi_settings",
    "worker_connections": "lifecycle/test_limits.py::test_worker_connections",
    "worker_abort": "test_heartbeat.py::test_blocked_loop_is_killed_with_its_stack_in_the_log",
    "worker_exit": "test_hooks.py::test_process_hooks_are_called_once_and_in_order",
    "worker_int": "test_hooks.py::test_a_quick_stop_calls_worker_int",
    "worker_tmp_dir": "test_worker_tmp_dir",
    "wsgi_app": "test_boot.py::test_app_and_worker_named_in_the_configuration_file",
}


def test_each_setting_that_is_honoured_is_observed() -> None:
    honoured = {row.setting for row in ROWS} | {
        name for name, what in HONOURED.items() if not what.startswith("no effect")
    }
    honoured |= {refused[0] for refused in REFUSED}
    assert sorted(honoured - set(OBSERVED)) == []
    assert sorted(set(OBSERVED) - honoured) == []


@pytest.mark.parametrize("where", sorted(set(OBSERVED.values())))
def test_the_test_that_is_named_exists(where: str) -> None:
    file, _, function = where.rpartition("::")
    tree = ast.parse((Path(__file__).parent / (file or Path(__file__).name)).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_asgi_settings(serve: Serve) -> None:
    """Of Gunicorn 25 and newer; the same for older ones by the options' own names."""
    conf = (
        "asgi_loop = 'asyncio'\nasgi_lifespan = 'off'\nroot_path = '/below'\nwebsocket_max_message_size = 1000\n"
        if {"asgi_loop", "asgi_lifespan", "root_path", "websocket_max_message_size"} <= KNOWN
        else "raw_env = ['UVICORN_LOOP=asyncio', 'UVICORN_LIFESPAN=off', 'UVICORN_ROOT_PATH=/below', "
        "'UVICORN_WS_MAX_SIZE=1000']\n"
    )
    server = serve("settings_app:app", worker=HTTPTOOLS, files={"gunicorn.conf.py": conf})
    seen = server.get("/scope").json()
    assert (seen["loop"], seen["root_path"], seen["path"]) == ("asyncio", "/below", "/below/scope")
    assert server.events("lifespan") == []
    with connect(f"ws://127.0.0.1:{server.port}/") as socket_:
        socket_.send(b"x" * 1000)
        assert socket_.recv() == b"x" * 1000
        socket_.send(b"x" * 1001)
        with pytest.raises(ConnectionClosed) as caught:
            socket_.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


def test_backlog(serve: Serve) -> None:
    """A stopped worker accepts nothing: only as many clients connect as the queue has room for."""
    server = serve("probe:app", "--backlog", "3", worker=HTTPTOOLS)
    (worker,) = [event.pid for event in server.wait_started()]
    server.get()
    server.signal(signal.SIGSTOP, worker)
    clients = [socket.socket() for _ in range(12)]
    try:
        for client in clients:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", server.port))
        connected: set[int] = set()
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            connected |= {number for number, client in enumerate(clients) if _is_connected(client)}
            time.sleep(0.02)
        # Linux lets one more in than the backlog says.
        assert len(connected) == 4
    finally:
        server.signal(signal.SIGCONT, worker)
        for client in clients:
            client.close()


def _is_connected(client: socket.socket) -> bool:
    try:
        client.getpeername()
    except OSError:
        return False
    return True


def test_chdir_is_where_pyproject_is_looked_for(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.uvicorn]\nheaders = [["x-from", "there"]]\n')
    server = serve("probe:app", "--chdir", str(tmp_path), worker=HTTPTOOLS)
    assert server.get().headers["x-from"] == "there"


@pytest.mark.parametrize("seconds", [0, 1])
def test_keepalive(serve: Serve, worker: str, seconds: int) -> None:
    """0 closes after each answer; otherwise an idle connection is closed by the server, with an orderly end."""
    server = serve("probe:app", "--keep-alive", str(seconds), worker=worker)
    with server.connect() as connection:
        assert connection.get("/").closes == (seconds == 0)
        assert connection.socket.recv(1) == b""


def test_limits_of_the_head(serve: Serve, worker: str) -> None:
    options = ("--limit-request-line", "100", "--limit-request-fields", "3", "--limit-request-field_size", "200")
    server = serve("probe:app", *options, worker=worker)
    heads = [
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\n\r\n", 200),
        (b"GET /" + b"x" * 100 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 200 + b"\r\n\r\n", 431),
    ]
    for head, status in heads:
        with server.connect() as connection:
            connection.send(head)
            assert connection.response().status == status


def test_max_requests_jitter(serve: Serve) -> None:
    """Of eight workers that serve one request and up to 1,000 more, not all end after the first."""
    server = serve("probe:app", "--max-requests", "1", "--max-requests-jitter", "1000", worker=HTTPTOOLS, workers=8)
    server.wait_started(8)
    for _ in range(8):
        server.get()
    assert server.log.count("requests reached") < 8


@pytest.mark.parametrize(
    "given",
    [
        "asgi_disconnect_grace_period = 0\n",
        # Gunicorn's default, set by hand.
        "asgi_disconnect_grace_period = 3\n",
        "raw_env = ['UVICORN_TIMEOUT_DISCONNECT=0']\n",
    ],
)
def test_disconnect_grace_period(serve: Serve, given: str) -> None:
    """A request whose client has left is cancelled after so long; by the option where Gunicorn's word is not set."""
    if "asgi" in given and "asgi_disconnect_grace_period" not in KNOWN:
        pytest.skip("this Gunicorn has no such setting")
    server = serve("settings_app:app", worker=HTTPTOOLS, files={"gunicorn.conf.py": given})
    with server.connect() as connection:
        connection.request("/sleep")
        server.wait_events("sleeping")
    server.wait_events("cancelled")


def test_permitted(serve: Serve) -> None:
    options = ("--permit-obsolete-folding", "--permit-unconventional-http-version")
    server = serve("settings_app:app", *options, worker=H11)
    with server.connect() as connection:
        connection.send(b"GET /scope HTTP/1.1\r\nHost: x\r\nX-Folded: one\r\n two\r\n\r\n")
        assert b'"x-folded": "one two"' in connection.response().body
    with server.connect() as connection:
        connection.send(b"GET /scope HTTP/1.7\r\nHost: x\r\n\r\n")
        assert connection.response().status == 200


def test_proxy_settings(serve: Serve) -> None:
    conf = (
        "forwarded_allow_ips = '127.0.0.9'\nsecure_scheme_headers = {'X-TLS': 'yes'}\nheader_map = 'refuse'\n"
        "forwarder_headers = 'REMOTE_USER'\nproxy_protocol = True\nproxy_allow_ips = '127.0.0.1'\n"
    )
    server = serve("settings_app:app", worker=HTTPTOOLS, files={"gunicorn.conf.py": conf})
    proxied = b"PROXY TCP4 192.0.2.7 127.0.0.1 1234 80\r\n", b"PROXY TCP4 127.0.0.9 127.0.0.1 1234 80\r\n"
    head = b"GET /scope HTTP/1.1\r\nHost: x\r\n"
    for first, fields, status, seen in [
        (proxied[0], b"X-TLS: yes\r\n", 200, b'"scheme": "http"'),
        (proxied[0], b"Remote_User: me\r\n", 400, b""),
        (proxied[1], b"X-TLS: yes\r\n", 200, b'"scheme": "https"'),
        (proxied[1], b"Remote_User: me\r\n", 200, b'"remote_user": "me"'),
        (proxied[1], b"Other_Name: x\r\n", 400, b""),
    ]:
        with server.connect() as connection:
            connection.send(first + head + fields + b"\r\n")
            response = connection.response()
            assert response.status == status
            assert seen in response.body


@pytest.mark.parametrize(("setting", "value"), [("protocol", "uwsgi")])
def test_refused(serve: Serve, setting: str, value: str) -> None:
    if setting not in KNOWN:
        pytest.skip("this Gunicorn has no such setting")
    server = serve("probe:app", worker=H11, files={"gunicorn.conf.py": f"{setting} = {value!r}\n"})
    assert server.wait_exit() == 1
    assert f"Gunicorn setting {setting} = {value!r}: " in server.log
    assert "Booting worker" not in server.log


def test_reuse_port(serve: Serve) -> None:
    """Each worker listens with a socket of its own, where Gunicorn makes them; the master keeps one more."""
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as free:
        port = free.getsockname()[1]
        server = serve("probe:app", "--reuse-port", worker=HTTPTOOLS, workers=2, bind=f"127.0.0.1:{port}")
        server.wait_started(2)
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [fields for fields in lines if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")]
    # Gunicorn 23 makes one socket, which the workers share.
    assert len(listening) == (1 if gunicorn.version_info < (24,) else 3)
    with Connection(("127.0.0.1", port), PATIENCE) as connection:
        assert connection.get("/").status == 200


def test_threads(serve: Serve) -> None:
    """A WSGI application has as many requests at once as there are threads."""
    server = serve("settings_app:wsgi", "--threads", "3", worker=HTTPTOOLS, env={"UVICORN_INTERFACE": "wsgi"})
    clients = [threading.Thread(target=server.get) for _ in range(5)]
    for client in clients:
        client.start()
    server.wait_events("running", 3)
    assert len(server.events("running")) == 3
    (server.dir / "go-on").touch()
    for client in clients:
        client.join()
    assert len(server.events("running")) == 5


def test_worker_tmp_dir(serve: Serve, tmp_path: Path) -> None:
    server = serve("probe:app", "--worker-tmp-dir", str(tmp_path), worker=HTTPTOOLS)
    (worker,) = [event.pid for event in server.wait_started()]
    heartbeats = [path for path in Path(f"/proc/{worker}/fd").iterdir() if "wgunicorn" in os.readlink(path)]
    assert len(heartbeats) == 1
    assert os.readlink(heartbeats[0]).startswith(str(tmp_path))
    before = os.stat(heartbeats[0]).st_mtime
    until(lambda: os.stat(heartbeats[0]).st_mtime > before, "a heartbeat")
