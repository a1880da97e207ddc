"""What is shown of an application that can't be loaded."""

from __future__ import annotations

import asyncio
import fractions
import importlib
import json
import sys
import traceback
from pathlib import Path

import pytest

from uvicorn_worker.server import failures
from uvicorn_worker.server.failures import failure_app, files_of, from_users, is_users, users_traceback


def test_whose_a_file_is() -> None:
    assert not is_users("<frozen importlib._bootstrap>")
    assert not is_users(json.__file__)
    assert not is_users(str(failures.__file__))
    assert not is_users(str(pytest.__file__))
    assert is_users("/srv/app.py")


def test_whose_it_is_where_python_itself_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a worker of another user than the master's: an import that fails for that is what is told."""
    monkeypatch.setitem(sys.modules, "sysconfig", None)
    libraries = failures._libraries.__wrapped__()
    monkeypatch.setattr(failures, "_libraries", lambda: libraries)
    assert not is_users(json.__file__)
    assert not is_users(str(pytest.__file__))
    assert is_users("/srv/app.py")


def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> BaseException:
    (tmp_path / "failing_one.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "failing_one", raising=False)
    with pytest.raises((KeyError, SyntaxError)) as caught:
        importlib.import_module("failing_one")
    return caught.value


def test_frames_of_the_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import json\ntry:\n    json.loads('x')\nexcept ValueError as exc:\n    raise KeyError('y') from exc\n"
    exc = imported(tmp_path, monkeypatch, source)
    text = users_traceback(exc)
    assert text.count("failing_one.py") >= 2
    assert "<frozen" not in text
    assert "decoder.py" not in text
    assert text.endswith("KeyError: 'y'\n")
    assert "JSONDecodeError" in text
    assert str(tmp_path / "failing_one.py") in set(files_of(exc))


def test_a_traceback_begins_with_the_users_first_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exc = imported(tmp_path, monkeypatch, "def fails():\n    raise KeyError('y')\n\nfails()\n")
    # The frame of this file is one of the user's, too.
    assert exc.__traceback__ is not None
    lines = traceback.format_exception(from_users(exc.with_traceback(exc.__traceback__.tb_next)))
    assert "failing_one.py" in lines[1]
    assert "importlib" not in "".join(lines)
    # A mistake in the grammar has no frame of the user's, and says itself where it is.
    mistake = imported(tmp_path, monkeypatch, "def app(:\n")
    assert mistake.__traceback__ is not None
    assert from_users(mistake.with_traceback(mistake.__traceback__.tb_next)).__traceback__ is None
    # Where none is the user's it stays whole.
    with pytest.raises(json.JSONDecodeError) as caught:
        eval("loads('x')", {"loads": json.loads})  # noqa: S307 - a frame without a file
    inner = caught.value.__traceback__
    assert inner is not None
    whole = from_users(caught.value.with_traceback(inner.tb_next)).__traceback__
    assert whole is inner.tb_next


def test_a_syntax_error_shows_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exc = imported(tmp_path, monkeypatch, "def app(:\n")
    text = users_traceback(exc)
    assert "def app(:" in text
    assert "<frozen" not in text
    assert str(tmp_path / "failing_one.py") in set(files_of(exc))


def test_where_none_is_the_users_all_are_shown() -> None:
    namespace = {"fractions": fractions}
    with pytest.raises(ValueError, match="Invalid literal") as caught:
        exec(compile("fractions.Fraction('x')", "<string>", "exec"), namespace)  # noqa: S102 - a frame without a file
    exc = caught.value.with_traceback(caught.value.__traceback__.tb_next if caught.value.__traceback__ else None)
    assert "fractions.py" in users_traceback(exc)


class TestPage:
    """What every request is answered that has nothing to serve it."""

    @staticmethod
    def answers(kind: str, *events: str) -> list[dict[str, object]]:
        sent: list[dict[str, object]] = []
        coming = iter(events)

        async def receive() -> dict[str, object]:
            return {"type": next(coming)}

        async def send(event: dict[str, object]) -> None:
            sent.append(event)

        app = failure_app(KeyError("no such thing"))
        asyncio.run(app({"type": kind}, receive, send))  # type: ignore[arg-type]
        return sent

    def test_a_request(self) -> None:
        start, body = self.answers("http")
        assert start["status"] == 500
        assert b"KeyError: 'no such thing'" in body["body"]  # type: ignore[operator]
        assert (b"content-type", b"text/plain; charset=utf-8") in start["headers"]  # type: ignore[operator]

    def test_a_websocket(self) -> None:
        assert self.answers("websocket") == [{"type": "websocket.close"}]

    def test_the_lifespan(self) -> None:
        told = self.answers("lifespan", "lifespan.startup", "lifespan.shutdown")
        assert [event["type"] for event in told] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
