"""Memory that others find: with memfd_create, and with a file where there is none."""

from __future__ import annotations

import atexit
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from uvicorn_worker.board.shared_memory import find_shared, make_shared, open_shared

NAME = "uvicorn-worker-test"
needs_memfd = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has none")


@needs_memfd
def test_it_is_found_by_the_process_and_read() -> None:
    memory = make_shared(NAME, 4096)
    memory[:5] = b"hello"
    [path] = find_shared(NAME, os.getpid())
    assert path in set(find_shared(NAME))
    read = open_shared(path, 4096)
    assert read is not None
    assert read[:5] == b"hello"
    memory[:5] = b"there"
    assert read[:5] == b"there"
    with pytest.raises(TypeError):
        read[:5] = b"wrong"


@needs_memfd
def test_it_is_gone_with_its_last_process() -> None:
    code = f"from uvicorn_worker.board.shared_memory import make_shared; m = make_shared({NAME!r}, 4096); input()"
    with subprocess.Popen([sys.executable, "-c", f"{code}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        assert list(find_shared(NAME, process.pid)) == []


@needs_memfd
def test_a_program_that_is_started_has_none_of_it() -> None:
    memory = make_shared(NAME, 4096)
    code = "import os; print([os.readlink(e.path) for e in os.scandir('/proc/self/fd') if os.path.lexists(e.path)])"
    done = subprocess.run([sys.executable, "-c", code], close_fds=False, capture_output=True, text=True, check=True)
    assert NAME not in done.stdout
    memory.close()


def test_of_another_size_or_gone_it_is_none(tmp_path: Path) -> None:
    (tmp_path / "board").write_bytes(b"x" * 10)
    assert open_shared(tmp_path / "board", 4096) is None
    assert open_shared(tmp_path / "nothing", 4096) is None


class TestFiles:
    @pytest.fixture(autouse=True)
    def _without_memfd(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delattr(os, "memfd_create", raising=False)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        monkeypatch.setattr(atexit, "register", self.registered.append)

    registered: list[object] = []  # noqa: RUF012 - of the one test

    def test_a_file_in_a_folder_of_the_users_own(self, tmp_path: Path) -> None:
        self.registered.clear()
        memory = make_shared(NAME, 4096)
        memory[:2] = b"hi"
        [path] = find_shared(NAME)
        assert path.parent == tmp_path / f"uvicorn-worker-{os.getuid()}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert list(find_shared(NAME, os.getpid())) == [path]
        assert list(find_shared(NAME, 1)) == []
        read = open_shared(path, 4096)
        assert read is not None
        assert read[:2] == b"hi"
        [remove] = self.registered
        assert callable(remove)
        remove()
        assert not path.exists()

    def test_a_folder_of_somebody_elses_is_not_used(self, tmp_path: Path) -> None:
        folder = tmp_path / f"uvicorn-worker-{os.getuid()}"
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        memory = make_shared(NAME, 4096)
        memory[:2] = b"hi"
        assert list(folder.iterdir()) == []
        assert list(find_shared(NAME)) == []

    def test_without_users_it_is_seen_by_this_process_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(os, "getuid")
        memory = make_shared(NAME, 4096)
        memory[:2] = b"hi"
        assert list(tmp_path.iterdir()) == []

    def test_what_a_killed_process_has_left_is_removed(self) -> None:
        make_shared(NAME, 4096)
        [path] = find_shared(NAME)
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            process.wait()
        left = path.with_suffix(f".{process.pid}")
        path.rename(left)
        assert list(find_shared(NAME)) == []
        assert not left.exists()

    def test_nothing_is_found_where_there_is_no_folder(self) -> None:
        assert list(find_shared(NAME)) == []
