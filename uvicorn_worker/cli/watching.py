"""What `--reload` watches, and how: with watchfiles where it is installed, by looking again and again otherwise.

    *.py of the folders         is watched, and what --reload-include names beside
    .*, *.swp, *~ and the like  is not, and what --reload-exclude names, patterns or folders
    environment files           are, wherever they are, and files that are named in place of folders

Both ways give the same files. A burst of saves is one set: a change is told when no other has followed for a moment.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Choice", "Watcher", "watches_by", "where_to_look"]

_INCLUDED = ("*.py",)
_EXCLUDED = (".*", ".py[cod]", ".sw.*", "~*", "*~", "*.py[cod]", "*.sw?")
# Never looked into while polling: they are large, and nobody edits what is in them.
_PASSED_OVER = frozenset({"node_modules", "__pycache__", "site-packages"})
# How long it must be quiet after a change, in seconds, and from one look to the next; unless --reload-delay says so.
QUIET_SECONDS = 0.05
LOOK_SECONDS = 0.25
# The longest that a burst of changes is waited for, and how often the caller is given a turn; in seconds.
_BURST_SECONDS = 1.6
_TURN_SECONDS = 0.25
# How many turns are left out before watchfiles is ended for one.
_LATE_TURNS = 4


def where_to_look(places: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The folders of reload_dirs, and the files among them; the working directory where no folder is.

    What isn't there is left out, and the log says so: a program may name what only some have.
    """
    folders = [Path(each).absolute() for each in places if _is_folder(each)]
    others = [each for each in places if not _is_folder(each)]
    files = [each for each in others if os.path.exists(each)]
    if missing := [each for each in others if each not in files]:
        said = "" if folders else " The working directory is watched."
        logging.getLogger("uvicorn.error").warning("option reload_dirs: there is no %s.%s", ", ".join(missing), said)
    return folders or [Path.cwd()], files


class Choice:
    """Which files count."""

    def __init__(self, includes: Sequence[str], excludes: Sequence[str], files: Sequence[str] = ()) -> None:
        """`includes` and `excludes` are patterns for the end of a path, or folders; `files` count in any case."""
        self._files = {Path(file).absolute() for file in files}
        self.folders = [Path(each).absolute() for each in includes if _is_folder(each)]
        self.includes = [each for each in _INCLUDED if each not in excludes]
        self.includes += [each for each in includes if not _is_folder(each)]
        self.excludes = [each for each in _EXCLUDED if each not in includes]
        self.excludes += [each for each in excludes if not _is_folder(each)]
        self.exclude_dirs = [Path(each).absolute() for each in excludes if _is_folder(each)]

    def __call__(self, path: Path) -> bool:
        """Whether a change of this file, of which the whole path is given, counts."""
        if path in self._files:
            return True
        if any(folder in path.parents for folder in self.exclude_dirs):
            return False
        if not any(path.match(pattern) for pattern in self.includes):
            return False
        # A file that is named as it is counts, whatever patterns say.
        return path.name in self.includes or not any(path.match(pattern) for pattern in self.excludes)

    def enters(self, folder: Path) -> bool:
        """Whether there may be files that count in it."""
        name = folder.name
        return not (name in _PASSED_OVER or name.startswith(".") or folder in self.exclude_dirs)

    @property
    def files(self) -> set[Path]:
        """The files that count in any case."""
        return set(self._files)


def watches_by() -> str:
    """What watches, by uvicorn's name for it."""
    try:
        found = importlib.util.find_spec("watchfiles") is not None
    except ValueError:
        # Somebody has put None in its place.
        found = False
    return "WatchFiles" if found else "StatReload"


def _is_folder(text: str) -> bool:
    try:
        return os.path.isdir(text)
    except (OSError, ValueError):
        return False


class Watcher:
    """The files that have changed, again and again, until `stop` is set."""

    def __init__(
        self,
        folders: Sequence[Path],
        choice: Choice,
        delay: float | None,
        stop: threading.Event,
        asks: Callable[[], bool] = bool,
    ) -> None:
        """`asks` says whether the caller has something to do; it gets a turn then, whatever is being changed.

        Raises OSError where a folder can't be read.
        """
        places = [*folders, *choice.folders]
        # One that is in another is watched with it.
        self._folders = [each for each in dict.fromkeys(places) if not any(other in each.parents for other in places)]
        self._choice = choice
        self._delay = delay
        self._stop = stop
        self._asks = asks
        self.name = watches_by()
        """What watches, by uvicorn's name for it."""
        self._seen = self._look()

    def __iter__(self) -> Iterator[set[Path]]:
        """Sets of files; an empty one a few times a second where nothing has changed."""
        if self.name == "WatchFiles":
            try:
                yield from self._watch()
            except (OSError, RuntimeError) as exc:
                # Of Linux' inotify a user has so many instances and watches, and editors take them.
                log = logging.getLogger("uvicorn.error")
                log.warning("watchfiles can't watch, so files are looked at again and again instead: %s", exc)
                self.name = "StatReload"
        if self.name == "StatReload":
            yield from self._poll()

    def _watch(self) -> Iterator[set[Path]]:
        import watchfiles

        step = int((self._delay or QUIET_SECONDS) * 1000)
        while not self._stop.is_set():
            alone = [
                each
                for each in self._choice.files
                if each.exists() and not any(f in each.parents for f in self._folders)
            ]
            end = _End(self._changed, self._asks, self._stop)
            changes = watchfiles.watch(
                *self._folders,
                *alone,
                watch_filter=lambda _, path: self._choice(Path(path)),
                step=max(step, 1),
                debounce=max(int(_BURST_SECONDS * 1000), step),
                stop_event=end,
                rust_timeout=int(_TURN_SECONDS * 1000),
                yield_on_timeout=True,
                raise_interrupt=False,
                ignore_permission_denied=True,
            )
            for found in changes:
                changed = self._until_quiet({Path(path) for _, path in found}, changes)
                if changed:
                    kept = {path: noted for path, noted in self._seen.items() if path not in changed}
                    self._seen = kept | _noted(changed)
                yield changed
                end.turn_was_given()
            if not end.is_ours:
                return
            yield end.missed

    def _until_quiet(self, changed: set[Path], changes: Iterator[set[tuple[Any, str]]]) -> set[Path]:
        """These files and those of `changes` that follow, once none of them changes any more.

        watchfiles waits until no other file changes: one that is saved again and again is the same one to it.
        """
        quiet, begun = self._delay or QUIET_SECONDS, time.monotonic()
        seen = _noted(changed)
        while time.monotonic() - begun < _BURST_SECONDS:
            age = time.time() - max((moment for moment, _ in seen.values()), default=0) / 1e9
            if not 0 <= age < quiet:
                break
            time.sleep(max(quiet - age, 0.001))
            if (now := _noted(changed)) != seen:
                # What has changed them is among what watchfiles has to tell.
                changed |= {Path(path) for _, path in next(changes, set())}
                now = _noted(changed)
            seen = now
        return changed

    def _poll(self) -> Iterator[set[Path]]:
        delay = self._delay or LOOK_SECONDS
        while not self._stop.wait(delay):
            found, begun = self._changed(), time.monotonic()
            changed = set(found)
            while found and time.monotonic() - begun < _BURST_SECONDS and not self._stop.is_set():
                time.sleep(min(QUIET_SECONDS, delay))
                found = self._changed()
                changed |= found
            yield changed

    def _changed(self) -> set[Path]:
        before, self._seen = self._seen, self._look()
        return {path for path in before.keys() | self._seen.keys() if before.get(path) != self._seen.get(path)}

    def _look(self) -> dict[Path, tuple[int, int]]:
        """Time and size of each file that counts; of large folders not all, where it is to end meanwhile."""
        found: dict[Path, tuple[int, int]] = {}
        for folder in self._folders:
            for where, folders, names in os.walk(folder):
                if self._stop.is_set():
                    return found
                here = Path(where)
                folders[:] = [name for name in folders if self._choice.enters(here / name)]
                for name in names:
                    if self._choice(here / name):
                        _note(here / name, found)
        for path in self._choice.files:
            _note(path, found)
        return found


class _End:
    """For watchfiles, which asks it at each step whether to end: one that has ended so is begun anew.

    It gives no turn otherwise for as long as files change that do not count, such as a log beside the application.
    """

    def __init__(self, look: Callable[[], set[Path]], asks: Callable[[], bool], stop: threading.Event) -> None:
        """`look` tells what has changed since the last look."""
        self._look = look
        self._asks = asks
        self._stop = stop
        self._has_looked = False
        self.missed: set[Path] = set()
        """What had changed before it began to watch."""
        self.is_ours = False
        """Whether it has ended for this, and not for what a handler of a signal has raised."""
        self.turn_was_given()

    def turn_was_given(self) -> None:
        """To whoever asks for one: it need not end for that soon, since to begin may take it long."""
        self._late = time.monotonic() + _LATE_TURNS * _TURN_SECONDS

    def is_set(self) -> bool:
        """Whether it is to end. It watches when it asks first."""
        if not self._has_looked:
            self._has_looked = True
            self.missed = self._look()
        is_asked = time.monotonic() >= self._late and self._asks()
        self.is_ours = bool(self.missed) or is_asked or self._stop.is_set()
        return self.is_ours


def _noted(paths: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Time and size of each of these files."""
    found: dict[Path, tuple[int, int]] = {}
    for path in paths:
        _note(path, found)
    return found


def _note(path: Path, found: dict[Path, tuple[int, int]]) -> None:
    try:
        stat = path.stat()
    except OSError:
        return
    found[path] = stat.st_mtime_ns, stat.st_size
