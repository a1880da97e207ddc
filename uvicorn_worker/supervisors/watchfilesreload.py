"""`WatchFilesReload`, where uvicorn has it: what watches with watchfiles, where that is installed."""

from uvicorn_worker.supervisors.reload import ChangeReload

__all__ = ["WatchFilesReload"]

WatchFilesReload = ChangeReload
