"""The launcher: where its settings and its application come from, and what is said of one that is not there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from gunicorn.app import base

from uvicorn_worker.core.errors import AppLoadError
from uvicorn_worker.master import Application, Arbiter


def app(environ: Any, start_response: Any) -> list[bytes]:
    return []


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "argv", ["x"])
    monkeypatch.delitem(sys.modules, "served", raising=False)
    (tmp_path / "served.py").write_text("def app(*given): ...\ndef make(): return app\nnumber = 7\napplication = app\n")
    return tmp_path


def test_settings_by_name_and_of_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "g.py").write_text("workers = 3\ntimeout = 9\n")
    made = Application(app, {"workers": 2}, str(folder / "g.py"))
    assert (made.cfg.workers, made.cfg.timeout) == (2, 9)
    assert made.cfg.worker_class_str == "uvicorn_worker.UvicornWorker"
    assert made.load() is app
    with pytest.raises(SystemExit):
        Application(app, {"wrkers": 2})
    assert "Gunicorn has no setting 'wrkers'" in capsys.readouterr().err


def test_an_application_that_a_file_names(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "g.py").write_text("wsgi_app = 'served:app'\n")
    assert Application(None, {}, str(folder / "g.py")).load().__name__ == "app"
    with pytest.raises(SystemExit):
        Application(None, {})
    assert "no application is named" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["served:app", "served", "served:make()"])
def test_names_that_gunicorn_takes(name: str) -> None:
    assert Application(name, {}).load().__name__ == "app"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("served:ap", "did you mean 'app'?"),
        ("servd:app", "there is no module 'servd'"),
        ("served:number", "int object is not callable"),
        ("served:nope()", "Failed to find attribute 'nope' in 'served'"),
    ],
)
def test_an_application_that_is_not_there(name: str, says: str) -> None:
    with pytest.raises(AppLoadError) as raised:
        Application(name, {}).load()
    assert says in str(raised.value)


def test_the_command_line_is_gunicorns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "served:app", "-w", "5"])
    made = Application()
    assert (made.cfg.workers, made.app_uri) == (5, "served:app")
    assert made.load().__name__ == "app"


def test_settings_that_can_not_be_loaded_again_leave_those_of_before(folder: Path) -> None:
    (folder / "g.py").write_text("workers = 3\n")
    made = Application(app, {}, str(folder / "g.py"))
    # Of another size: Gunicorn may have kept bytecode, which is that of a file changed within a second.
    (folder / "g.py").write_text("workers = 44\n")
    made.reload()
    assert made.cfg.workers == 44
    (folder / "g.py").write_text("1 / 0\n")
    before = made.cfg
    with pytest.raises(SystemExit):
        made.reload()
    assert made.cfg is before


def test_it_runs_our_arbiter_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    usual = base.Arbiter
    monkeypatch.setattr(base.Application, "run", lambda self: seen.append(base.Arbiter))
    with pytest.raises(SystemExit) as ended:
        Application(app, {}).run()
    assert ended.value.code == 0
    assert seen == [Arbiter]
    assert base.Arbiter is usual
