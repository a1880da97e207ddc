from __future__ import annotations

import logging
import os
import tempfile
from typing import Any

import pytest
from gunicorn.config import Config

from uvicorn_worker import UvicornWorker
from uvicorn_worker.worker.heartbeat_file import MemoryTmp

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no files in memory")


def nowhere(*_: Any, **__: Any) -> Any:
    raise OSError(30, "Read-only file system")


def make_worker(cfg: Config) -> UvicornWorker:
    return UvicornWorker(1, os.getppid(), [], None, 30, cfg, logging.getLogger("test"))


def test_a_heartbeat_is_seen() -> None:
    tmp = MemoryTmp(Config())
    tmp.notify()
    first = tmp.last_update()
    tmp.notify()
    assert tmp.last_update() >= first > 0
    tmp.close()
    with pytest.raises(ValueError, match="closed"):
        tmp.fileno()


def test_it_belongs_to_whom_the_workers_run_as(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda _, uid, gid: given.append((uid, gid)))
    cfg = Config()
    cfg.set("user", 65534)
    MemoryTmp(cfg).close()
    assert given == [(65534, os.getegid())]


def test_a_worker_has_it_where_no_file_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "mkstemp", nowhere)
    mask = os.umask(0o027)
    try:
        worker = make_worker(Config())
        assert isinstance(worker.tmp, MemoryTmp)
        # Gunicorn's own is 0 by default.
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)
    worker.tmp.close()


def test_a_folder_that_was_named_is_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "mkstemp", nowhere)
    cfg = Config()
    cfg.set("worker_tmp_dir", "/")
    with pytest.raises(OSError, match="Read-only"):
        make_worker(cfg)
