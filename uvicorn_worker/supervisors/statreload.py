"""`StatReload`, where uvicorn has it: it looks at the times of files, again and again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from uvicorn_worker.server import Config
from uvicorn_worker.supervisors.child import Target
from uvicorn_worker.supervisors.reload import ChangeReload

__all__ = ["StatReload"]


class StatReload(ChangeReload):
    """Looks at what `iter_py_files()` gives, which a subclass may write anew."""

    def __init__(self, config: Config, target: Target, sockets: Sequence[Any]) -> None:
        super().__init__(config, target, sockets)
        self.reloader_name = "StatReload"
        self.mtimes: dict[Path, float] = {}
        """When the files were changed that are known."""

    def _own_watch(self) -> None:
        self._own_say_folders()

    def iter_py_files(self) -> Iterator[Path]:
        """The files of the Config's folders that are looked at, and those that are named beside them."""
        for file in self._own_files:
            yield Path(file).resolve()
        for folder in self.reload_dirs:
            for path in folder.rglob("*.py"):
                yield path.resolve()

    def should_restart(self) -> Sequence[Path] | None:
        """The first file that has changed; None where none has."""
        self.pause()
        for file in self.iter_py_files():
            try:
                changed = file.stat().st_mtime
            except OSError:
                continue
            if changed > self.mtimes.setdefault(file, changed):
                return [file]
        return None

    def restart(self) -> None:
        """Another takes its place, and all files are new."""
        self.mtimes = {}
        super().restart()
