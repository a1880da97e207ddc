"""`WatchFilesReload` and `FileFilter`, where uvicorn has them: watchfiles is used where it is installed."""

from uvicorn_worker.supervisors.reload import ChangeReload, FileFilter

__all__ = ["FileFilter", "WatchFilesReload"]

WatchFilesReload = ChangeReload
