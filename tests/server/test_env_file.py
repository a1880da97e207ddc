"""Files of environment variables, and the variables that say something of the server."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.server import Config
from uvicorn_worker.server.env_file import forget_env_files, load_env_file, missing_env_files

NAMES = ("E2E_ONE", "E2E_TWO", "FORWARDED_ALLOW_IPS", "WEB_CONCURRENCY")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Does nothing."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    yield
    forget_env_files()
    assert "E2E_ONE" not in os.environ


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text("E2E_ONE=1\nexport E2E_TWO='two words'  # a comment\n")
    return path


class TestReading:
    def test_it_sets_what_is_not_set(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("E2E_ONE", "mine")
        load_env_file(str(file))
        assert (os.environ["E2E_ONE"], os.environ["E2E_TWO"]) == ("mine", "two words")
        monkeypatch.delenv("E2E_ONE")

    def test_a_second_time_it_is_as_the_file_is_then(self, file: Path) -> None:
        load_env_file(str(file))
        file.write_text("E2E_ONE=changed\n")
        load_env_file(str(file))
        assert os.environ["E2E_ONE"] == "changed"
        assert "E2E_TWO" not in os.environ
        # What others have set meanwhile stays.
        os.environ["E2E_ONE"] = "theirs"
        forget_env_files()
        assert os.environ.pop("E2E_ONE") == "theirs"

    def test_of_two_the_later_one_wins(self, file: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.write_text("E2E_ONE=other\n")
        load_env_file([str(file), str(other)])
        assert (os.environ["E2E_ONE"], os.environ["E2E_TWO"]) == ("other", "two words")

    def test_one_does_not_take_back_what_another_says(self, file: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.write_text("E2E_TWO=other\nE2E_ONE=other\n")
        load_env_file(str(file))
        load_env_file(str(other))
        load_env_file(None)
        assert (os.environ["E2E_ONE"], os.environ["E2E_TWO"]) == ("1", "two words")

    def test_it_is_not_utf_8(self, tmp_path: Path) -> None:
        path = tmp_path / "env"
        path.write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigError) as caught:
            Config(app, env_file=path)
        assert str(caught.value) == f"option env_file = {str(path)!r}: can't be read: it is not UTF-8"

    def test_it_may_not_be_read(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(*args: object, **options: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("builtins.open", refused)
        with pytest.raises(ConfigError, match="can't be read: Permission denied"):
            load_env_file(str(file))

    def test_the_package_is_not_installed(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
        with pytest.raises(ConfigError, match="the package python-dotenv is not installed"):
            load_env_file(str(file))

    def test_one_that_is_not_there_is_none_and_a_folder_is_no_file(
        self, file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What is for a developer's machine alone may be named in code; and a volume makes a folder of it."""
        there = Config(app, env_file=[str(tmp_path), str(tmp_path / "none"), str(file / "none"), str(file)])
        assert os.environ["E2E_ONE"] == "1"
        there.load()
        lines = missing_env_files(there.env_file)
        assert lines[1] == f"option env_file = {str(tmp_path / 'none')!r}: there is no such file"
        assert [record.getMessage() for record in caplog.records if record.name == "uvicorn.error"] == lines
        assert len(lines) == 3

    def test_a_pipe_is_read_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As of `--env-file <(...)`."""
        monkeypatch.setenv("E2E_TWO", "before")
        reading, writing = os.pipe()
        os.write(writing, b"E2E_ONE=1\nE2E_TWO=2\n")
        os.close(writing)
        try:
            there = Config(app, env_file=f"/dev/fd/{reading}")
            there.load()
        finally:
            os.close(reading)
        there.load()
        forget_env_files()
        assert not missing_env_files(there.env_file)
        assert (os.environ.pop("E2E_ONE"), os.environ["E2E_TWO"]) == ("1", "before")


class TestConfig:
    def test_what_it_says_is_there_as_soon_as_there_is_a_config(self, file: Path) -> None:
        Config("no.such:app", env_file=str(file))
        assert os.environ["E2E_ONE"] == "1"

    def test_it_may_say_how_many_serve_and_who_is_believed(self, file: Path) -> None:
        file.write_text("WEB_CONCURRENCY=3\nFORWARDED_ALLOW_IPS=192.0.2.1\n")
        config = Config(app, env_file=str(file))
        assert (config.workers, config.forwarded_allow_ips) == (3, "192.0.2.1,unix")
        config = Config(app, env_file=str(file), workers=2, forwarded_allow_ips="::1")
        assert (config.workers, config.forwarded_allow_ips) == (2, "::1")

    def test_the_application_is_imported_behind_it_and_it_is_read_anew_then(
        self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "needs_env.py").write_text(
            "import os\nword = os.environ['E2E_ONE']\nasync def app(scope, receive, send): pass\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        config = Config("needs_env:app", env_file=str(file))
        file.write_text("E2E_ONE=2\n")
        config.load()
        assert sys.modules.pop("needs_env").word == "2"

    @pytest.mark.parametrize(
        ("text", "workers"), [("4", 4), (" 4 ", 4), ("0", 1), ("", 1), ("auto", 1), ("\N{SUPERSCRIPT TWO}", 1)]
    )
    def test_web_concurrency(self, monkeypatch: pytest.MonkeyPatch, text: str, workers: int) -> None:
        monkeypatch.setenv("WEB_CONCURRENCY", text)
        assert Config(app).workers == workers
        assert Config(app, workers=None).workers == workers
        assert Config(app, workers=7).workers == 7

    def test_a_copy_is_the_same(self, file: Path) -> None:
        config = Config("a:app", env_file=str(file), root_path="/a")
        for other in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):  # noqa: S301
            assert other == config
        file.write_text("E2E_ONE=2\n")
        load_env_file(config.env_file)
        assert os.environ["E2E_ONE"] == "2"


PROGRAM = """
import json, os, pickle, sys
config = pickle.loads(bytes.fromhex(sys.argv[1]))
before = os.environ["E2E_ONE"]
from uvicorn_worker.server.env_file import load_env_file
load_env_file(config.env_file)
print(json.dumps([before, os.environ["E2E_ONE"], os.environ.get("E2E_TWO"), os.environ["E2E_MINE"]]))
"""


def test_a_process_that_inherits_what_a_file_has_said_reads_it_anew(file: Path) -> None:
    """As one that takes the place of another under `reload`."""
    config = Config("a:app", env_file=str(file))
    file.write_text("E2E_ONE=2\nE2E_MINE=file\n")
    sent = pickle.dumps(config).hex()
    words = [sys.executable, "-c", PROGRAM, sent]
    done = subprocess.run(words, env={**os.environ, "E2E_MINE": "mine"}, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["1", "2", None, "mine"]
