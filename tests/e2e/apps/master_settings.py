"""A Gunicorn configuration file (``-c python:master_settings``) that sets whatever is the master's own business."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from eventlog import event
from gunicorn.config import KNOWN_SETTINGS

HERE = Path(os.environ["E2E_DIR"])

workers = 2
user = os.geteuid()
group = os.getegid()
initgroups = os.geteuid() == 0
umask = 0o027
pidfile = str(HERE / "master.pid")
# By which the masters of two runs would end the dirty arbiters of each other.
proc_name = f"e2e-{HERE.name}"
default_proc_name = "e2e-default"
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - what handbooks recommend
pythonpath = str(HERE)
chdir = str(HERE)
raw_env = ["E2E_RAW=from the master"]
enable_stdio_inheritance = True
capture_output = False
spew = False
tmp_upload_dir = str(HERE)
control_socket_disable = False
control_socket = str(HERE / "ctl.sock")
control_socket_mode = 0o600
enable_backlog_metric = False
dirty_apps = ["dirty_app:DirtyEcho"]
dirty_workers = 1
dirty_threads = 1
dirty_timeout = 30
dirty_graceful_timeout = 2


def _hook(name: str) -> Any:
    def one(server: Any) -> None:
        event(name)

    def two(server: Any, worker: Any) -> None:
        event(name)

    def three(server: Any, new: Any, old: Any) -> None:
        event(name)

    return {1: one, 2: two, 3: three}[ARITIES[name]]


ARITIES = {
    "on_starting": 1, "when_ready": 1, "on_reload": 1, "on_exit": 1, "pre_exec": 1, "pre_fork": 2, "post_fork": 2,
    "post_worker_init": 1, "child_exit": 2, "worker_exit": 2, "nworkers_changed": 3, "on_dirty_starting": 1,
    "dirty_post_fork": 2, "dirty_worker_init": 1, "dirty_worker_exit": 2,
}  # fmt: skip
HOOKS = [name for name in ARITIES if any(setting.name == name for setting in KNOWN_SETTINGS)]
globals().update({name: _hook(name) for name in HOOKS})

# What the installed Gunicorn does not know it would warn of.
for _setting in [name for name in list(globals()) if name.startswith(("dirty_", "control_", "enable_backlog"))]:
    if not any(setting.name == _setting for setting in KNOWN_SETTINGS):
        del globals()[_setting]
