"""The table of the options of the command: none is without a test that shows its effect."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import new_authority
from tests.e2e.command.probe import FILES, SHOWN
from uvicorn_worker.cli import command as command_module
from uvicorn_worker.cli.command import command
from uvicorn_worker.cli.run import prepare
from uvicorn_worker.tls.contexts import check_tls

click_testing = pytest.importorskip("click.testing")

for name in ("every_option", "serving", "gunicorn", "reload"):
    importlib.import_module(f"tests.e2e.command.test_{name}")

# What a process could show no more of than that the option has its value: their effects are held by tests of their
# rooms, which need a clock, a kernel or a client that a command line can't give.
VALUES: dict[str, tuple[list[str], str, Any]] = {
    "--http2-engine": (["h2"], "http2_engine", "h2"),
    "--http2-early-hints": (["off"], "http2_early_hints", "off"),
    "--ws-max-queue": (["7"], "ws_max_queue", 7),
    "--no-early-hints": ([], "early_hints", False),
    "--early-hints": ([], "early_hints", True),
    "--pathsend": (["on"], "pathsend", "on"),
    "--no-sendfile": ([], "sendfile", False),
    "--sendfile": ([], "sendfile", True),
    "--timeout-drain-delay": (["2m"], "timeout_drain_delay", 120),
    "--timeout-drain-spread": (["1s"], "timeout_drain_spread", 1),
    # Without effect, as its help says.
    "--h11-max-incomplete-event-size": (["70000"], "h11_max_incomplete_event_size", 70000),
    "--workers-max-rss": (["500"], "limit_max_memory", 500),
    "--workers-lifetime": (["1h30m"], "worker_lifetime", 5400),
    "--workers-lifetime-jitter": (["90s"], "worker_lifetime_jitter", 90),
    "--no-factory": ([], "factory", False),
    "--no-reset-contextvars": ([], "reset_contextvars", False),
    "--no-lifespan-contextvars": ([], "lifespan_contextvars", False),
    "--no-permit-unconventional-http-method": ([], "permit_unconventional_http_method", False),
    "--no-permit-unconventional-http-version": ([], "permit_unconventional_http_version", False),
    "--no-permit-obsolete-folding": ([], "permit_obsolete_folding", False),
    "--no-casefold-http-method": ([], "casefold_http_method", False),
    "--no-strip-header-spaces": ([], "strip_header_spaces", False),
    "--no-http2": ([], "http2", "off"),
}


def run(*line: str) -> Any:
    """The command in this process, up to where it would serve."""
    return click_testing.CliRunner().invoke(command(), list(line), prog_name="uvicorn-worker")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def config_of(monkeypatch: pytest.MonkeyPatch, *line: str) -> Any:
    made: list[Any] = []
    monkeypatch.setattr(command_module, "launch", lambda app, options, master, said: made.append(prepare(app, options)))
    done = run(*line)
    assert done.exit_code == 0, done.output
    return made[0]


@pytest.mark.parametrize("option", VALUES)
def test_it_has_the_value_that_was_given(folder: Path, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    values, name, expected = VALUES[option]
    assert getattr(config_of(monkeypatch, "probe:app", option, *values), name) == expected


def test_ciphers_of_tls_1_2(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from uvicorn_worker.tls.contexts import make_context

    new_authority().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path("both.pem")
    line = ["--ssl-certfile", "both.pem", "--ssl-ciphers", "ECDHE-RSA-AES128-GCM-SHA256"]
    config = config_of(monkeypatch, "probe:app", *line)
    check_tls(config)
    names = {cipher["name"] for cipher in make_context(config).get_ciphers() if cipher["protocol"] == "TLSv1.2"}
    assert names == {"ECDHE-RSA-AES128-GCM-SHA256"}


def test_what_is_printed_instead_of_serving(folder: Path) -> None:
    assert "can be used" in run("probe:app", "--check-config").output
    assert 'root_path = "/r"' in run("probe:app", "--root-path", "/r", "--print-config").output
    assert "ExecStart=" in run("probe:app", "--print-systemd").output
    assert "proxy_pass http://app;" in run("probe:app", "--print-nginx").output
    assert run("--version").output.startswith("uvicorn-worker ")
    for shell in ("bash", "zsh", "fish"):
        assert "_uvicorn_worker_completion" in run("--show-completion", shell).output


PRINTED = {"--check-config", "--print-config", "--print-systemd", "--print-nginx", "--show-completion", "--version"}
# By name in the modules that were there before the table.
ELSEWHERE = {
    "--uds": "test_a_unix_socket_has_its_permissions_and_is_taken_away",
    "--uds-permissions": "test_a_unix_socket_has_its_permissions_and_is_taken_away",
    "--dev-cert": "test_a_certificate_for_localhost",
    "--reload": "test_ten_edits_in_a_row_under_load",
    "--reload-dir": "test_includes_and_excludes",
    "--reload-include": "test_includes_and_excludes",
    "--reload-exclude": "test_includes_and_excludes",
    "--reload-delay": "test_includes_and_excludes",
    "--log-format": "test_lines_of_json_and_a_worker_class",
}


def test_each_option_of_the_help_has_a_row() -> None:
    words = {word for each in command().params for word in (*each.opts, *each.secondary_opts) if word.startswith("-")}
    rows = {*SHOWN, *VALUES, *PRINTED, *ELSEWHERE, "--ssl-ciphers"}
    assert words - rows == set(), "these have no test that shows their effect"
    assert rows - words == set(), "these are no options"
    tests = (Path(__file__).parent / f"test_{name}.py" for name in ("serving", "gunicorn", "reload"))
    text = "".join(path.read_text("utf-8") for path in tests)
    assert [name for name in ELSEWHERE.values() if f"def {name}(" not in text] == []


def test_paths_that_are_json_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"/a": {"access_log": False}}
    assert config_of(monkeypatch, "probe:app", "--paths", json.dumps(table)).paths["/a"] == {"access_log": False}
