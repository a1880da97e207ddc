"""Which files `--reload` watches, and what it tells of them: the same with watchfiles and without."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.cli.busy import busy
from tests.records import records_of
from uvicorn_worker.cli import watching
from uvicorn_worker.cli.watching import Choice, Watcher, where_to_look

Start = Callable[..., Iterator[set[Path]]]


class TestChoice:
    @pytest.mark.parametrize(
        ("name", "counts"),
        [
            ("app.py", True),
            ("deep/in/it.py", True),
            ("page.html", False),
            (".app.py.swp", False),
            (".hidden.py", False),
            ("~app.py", False),
            ("app.pyc", False),
        ],
    )
    def test_by_itself(self, tmp_path: Path, name: str, counts: bool) -> None:
        assert Choice([], [])(tmp_path / name) is counts

    def test_what_is_included_and_excluded(self, tmp_path: Path) -> None:
        choice = Choice(["*.html", ".hidden.py"], ["test_*"])
        assert choice(tmp_path / "page.html")
        assert choice(tmp_path / "app.py")
        assert choice(tmp_path / ".hidden.py"), "named as it is, it counts whatever patterns say"
        assert not choice(tmp_path / ".other.py")
        assert not choice(tmp_path / "test_app.py")

    def test_a_default_can_be_turned_around(self, tmp_path: Path) -> None:
        assert not Choice([], ["*.py"])(tmp_path / "app.py")
        assert Choice(["*.py", ".*"], [])(tmp_path / ".hidden.py")

    def test_folders(self, tmp_path: Path) -> None:
        (tmp_path / "more").mkdir()
        (tmp_path / "less").mkdir()
        choice = Choice([str(tmp_path / "more")], [str(tmp_path / "less")])
        assert choice.folders == [tmp_path / "more"]
        assert not choice(tmp_path / "less" / "app.py")
        assert choice(tmp_path / "more" / "app.py")
        assert not choice.enters(tmp_path / "less")

    def test_a_pattern_that_can_be_no_path(self, tmp_path: Path) -> None:
        assert Choice(["a\0b"], []).folders == []

    @pytest.mark.parametrize("name", ["node_modules", "__pycache__", "site-packages", ".git"])
    def test_folders_that_are_passed_over(self, tmp_path: Path, name: str) -> None:
        assert not Choice([], []).enters(tmp_path / name)
        assert Choice([], []).enters(tmp_path / "app")

    def test_environment_files_count_wherever_they_are(self, tmp_path: Path) -> None:
        choice = Choice([], [".*", str(tmp_path)], [str(tmp_path / ".env")])
        assert choice(tmp_path / ".env")
        assert choice.files == {tmp_path / ".env"}


class TestWhereToLook:
    def test_a_file_among_the_folders(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Reflex names its configuration so."""
        file = tmp_path / "rxconfig.py"
        file.write_text("")
        assert where_to_look([str(tmp_path), str(file)]) == ([tmp_path], [str(file)])
        assert caplog.text == ""

    @pytest.mark.parametrize("there", [True, False])
    def test_what_is_not_there(
        self, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "app").mkdir()
        found, files = where_to_look(["none", "nor this", *(["app"] if there else [])])
        assert (found, files) == ([tmp_path / "app" if there else tmp_path], [])
        said = "" if there else " The working directory is watched."
        assert [record.getMessage() for record in caplog.records] == [
            f"option reload_dirs: there is no none, nor this.{said}"
        ]

    def test_nothing_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert where_to_look([]) == ([tmp_path], [])


@pytest.fixture(params=["WatchFiles", "StatReload"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Start]:
    """A watcher of tmp_path/app: its sets of files, after the first that is empty."""
    if request.param == "WatchFiles":
        pytest.importorskip("watchfiles")
    else:
        monkeypatch.setitem(sys.modules, "watchfiles", None)
        monkeypatch.setattr(watching, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(watching, "_TURN_SECONDS", 0.05)
    (tmp_path / "app" / "sub").mkdir(parents=True)
    stop = threading.Event()
    begun: list[Iterator[set[Path]]] = []

    def start(*folders: Path, files: tuple[str, ...] = (), includes: tuple[str, ...] = ()) -> Iterator[set[Path]]:
        watcher = Watcher(folders or [tmp_path / "app"], Choice(includes, [], files), None, stop)
        assert watcher.name == request.param
        begun.append(iter(watcher))
        assert next(begun[-1]) == set()
        return begun[-1]

    yield start
    stop.set()
    for each in begun:
        assert [found for found in each if found] == []


def seen(watcher: Iterator[set[Path]]) -> set[Path]:
    """The next set that is not empty."""
    return next(found for found in watcher if found)


def changed(path: Path, text: str = "x = 1\n") -> Path:
    """A file is saved as editors do it, with another time."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.replace(path)
    return path


class TestWatcher:
    def test_what_is_made_changed_and_taken_away(self, start: Start, tmp_path: Path) -> None:
        old = changed(tmp_path / "app" / "old.py")
        watcher = start()
        new = changed(tmp_path / "app" / "sub" / "new.py")
        assert seen(watcher) == {new}
        changed(old, "x = 22\n")
        assert seen(watcher) == {old}
        new.unlink()
        assert seen(watcher) == {new}

    def test_what_does_not_count_is_not_told(self, start: Start, tmp_path: Path) -> None:
        watcher = start()
        changed(tmp_path / "app" / "notes.txt")
        (tmp_path / "app" / ".app.py.swp").write_text("")
        told = changed(tmp_path / "app" / "app.py")
        assert seen(watcher) == {told}

    def test_a_burst_is_one_set(self, start: Start, tmp_path: Path) -> None:
        watcher = start()
        told = {changed(tmp_path / "app" / f"a{number}.py") for number in range(5)}
        found = seen(watcher)
        while found != told:
            assert found < told
            found |= seen(watcher)

    def test_an_environment_file_outside_of_the_folders(self, start: Start, tmp_path: Path) -> None:
        env = tmp_path / ".env"
        env.write_text("A=1\n")
        watcher = start(files=(str(env), str(tmp_path / "none.env")))
        env.write_text("A=22\n")
        assert seen(watcher) == {env}

    def test_a_folder_within_another_is_told_of_once(self, start: Start, tmp_path: Path) -> None:
        watcher = start(tmp_path / "app", tmp_path / "app" / "sub")
        told = changed(tmp_path / "app" / "sub" / "a.py")
        assert seen(watcher) == {told}

    def test_what_changed_between_the_look_and_the_watch_is_told(self, start: Start, tmp_path: Path) -> None:
        path = changed(tmp_path / "app" / "a.py")
        stop = threading.Event()
        watcher = Watcher([tmp_path / "app"], Choice([], []), 0.01, stop)
        changed(path, "x = 22\n")
        assert seen(iter(watcher)) == {path}
        stop.set()


@pytest.mark.parametrize("error", [OSError(28, "OS file watch limit reached."), RuntimeError("Too many open files")])
def test_where_inotify_has_no_more_to_give_it_is_looked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    """Editors take what a user may have of it: watchfiles raises one or the other."""

    def watch(*folders: Any, **options: Any) -> Iterator[set[Any]]:
        raise error

    monkeypatch.setitem(sys.modules, "watchfiles", SimpleNamespace(watch=watch))
    monkeypatch.setattr(watching, "watches_by", lambda: "WatchFiles")
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.02)
    stop = threading.Event()
    watcher = Watcher([tmp_path], Choice([], []), None, stop)
    with records_of("uvicorn.error") as records:
        sets = iter(watcher)
        assert next(sets) == set()
    assert records.lines == [f"watchfiles can't watch, so files are looked at again and again instead: {error}"]
    assert watcher.name == "StatReload"
    path = changed(tmp_path / "a.py")
    assert seen(sets) == {path}
    stop.set()
    assert list(sets) == []


class TestBesideABusyFile:
    """watchfiles tells of nothing, and gives no turn, for as long as files change that do not count."""

    @pytest.fixture
    def writes(self, tmp_path: Path) -> Iterator[threading.Thread]:
        pytest.importorskip("watchfiles")
        (tmp_path / "app").mkdir()
        with busy(tmp_path / "app" / "app.log") as thread:
            yield thread

    def test_what_changed_before_it_watches_is_told(self, writes: threading.Thread, tmp_path: Path) -> None:
        path = changed(tmp_path / "app" / "a.py")
        stop = threading.Event()
        watcher = iter(Watcher([tmp_path / "app"], Choice([], []), None, stop))
        changed(path, "x = 22\n")
        assert seen(watcher) == {path}
        assert writes.is_alive()
        # And what comes later, once.
        changed(path, "x = 333\n")
        assert seen(watcher) == {path}
        assert writes.is_alive()
        stop.set()
        assert [found for found in watcher if found] == []

    def test_who_asks_for_a_turn_gets_one(
        self, writes: threading.Thread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(watching, "_TURN_SECONDS", 0.05)
        old, new = changed(tmp_path / "app" / "old.py"), tmp_path / "app" / "new.py"
        asked = [False, True]
        stop = threading.Event()
        watcher = iter(Watcher([tmp_path / "app"], Choice([], []), None, stop, lambda: bool(asked) and asked.pop(0)))
        assert next(watcher) == set()
        assert writes.is_alive()
        # It watches on, and knows of what it has told already.
        changed(new)
        assert seen(watcher) == {new}
        asked += [False, True]
        assert next(watcher) == set()
        old.unlink()
        assert seen(watcher) == {old}
        asked += [False, True]
        assert next(watcher) == set()
        assert writes.is_alive()
        stop.set()
        assert [found for found in watcher if found] == []


class TestSavedAgain:
    """watchfiles waits until no other file changes, and not until a file is saved no more."""

    now = 1000.0

    def save(self, path: Path) -> None:
        path.write_text("x = 1\n")
        os.utime(path, (self.now, self.now))

    def watch(
        self,
        monkeypatch: pytest.MonkeyPatch,
        folder: Path,
        told: Callable[[], Iterator[set[tuple[int, str]]]],
        slept: Callable[[], None],
    ) -> Iterator[set[Path]]:
        """A watcher of the folder, by a watchfiles that tells this; `slept` is called when a while has passed."""

        def sleep(seconds: float) -> None:
            self.now += seconds
            slept()

        watchfiles: Any = ModuleType("watchfiles")
        watchfiles.__spec__ = ModuleSpec("watchfiles", None)
        watchfiles.watch = lambda *_, **__: itertools.chain([set()], told())
        monkeypatch.setitem(sys.modules, "watchfiles", watchfiles)
        clock = SimpleNamespace(time=lambda: self.now, monotonic=lambda: self.now, sleep=sleep)
        monkeypatch.setattr(watching, "time", clock)
        return (found for found in Watcher([folder], Choice([], []), None, threading.Event()) if found)

    def test_it_is_told_once(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        path, other = tmp_path / "a.py", tmp_path / "b.py"
        saves = iter(range(3))

        def told() -> Iterator[set[tuple[int, str]]]:
            self.save(path)
            yield {(2, str(path))}
            for _ in range(3):
                yield {(2, str(path)), (1, str(other))}
            self.now += 10
            self.save(other)
            self.now += watching.QUIET_SECONDS
            yield {(2, str(other))}

        def slept() -> None:
            if next(saves, None) is not None:
                self.save(path)

        assert list(self.watch(monkeypatch, tmp_path, told, slept)) == [{path, other}, {other}]

    def test_one_without_an_end_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        path = tmp_path / "a.py"

        def told() -> Iterator[set[tuple[int, str]]]:
            while True:
                self.save(path)
                yield {(2, str(path))}

        begun = self.now
        assert next(self.watch(monkeypatch, tmp_path, told, lambda: self.save(path))) == {path}
        assert self.now - begun == pytest.approx(1.6, abs=0.1)

    @pytest.mark.parametrize("later", [0.06, -5.0])
    def test_one_that_is_saved_once_is_told_at_once(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, later: float
    ) -> None:
        """Also where the clock of a file system is ahead, and where the file is gone again."""
        path = tmp_path / "a.py"

        def told() -> Iterator[set[tuple[int, str]]]:
            self.save(path)
            self.now += later
            yield {(2, str(path))}
            path.unlink()
            yield {(3, str(path))}

        def slept() -> None:
            raise AssertionError("waited")

        assert list(self.watch(monkeypatch, tmp_path, told, slept)) == [{path}] * 2


def test_a_look_at_many_folders_ends_with_the_watcher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ctrl+C is not to wait for a walk through all that lies beside the application."""
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    for number in range(9):
        (tmp_path / f"folder{number}").mkdir()
    stop = threading.Event()
    entered: list[Path] = []

    class Entering(Choice):
        def enters(self, folder: Path) -> bool:
            entered.append(folder)
            if len(entered) > 9:
                stop.set()
            return super().enters(folder)

        def __call__(self, path: Path) -> bool:
            walked.append(path.parent)
            return super().__call__(path)

    for folder in [tmp_path, *tmp_path.iterdir()]:
        (folder / "app.py").touch()
    walked: list[Path] = []
    watcher = Watcher([tmp_path], Entering([], []), 0.01, stop)
    assert len(walked) == 10
    walked.clear()
    assert len(list(watcher)) == 1
    assert walked == [tmp_path]


def test_a_link_to_nothing_is_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Editors lock files by such links; what they point to has no time."""
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.01)
    stop = threading.Event()
    watcher = iter(Watcher([tmp_path], Choice([], []), None, stop))
    (tmp_path / "lock.py").symlink_to(tmp_path / "nowhere")
    assert next(watcher) == set()
    (tmp_path / "nowhere").write_text("x")
    assert seen(watcher) == {tmp_path / "lock.py"}
