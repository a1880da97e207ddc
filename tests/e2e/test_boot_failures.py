"""An app that cannot start ends the master with its exit code, one traceback and no second try."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import H11, HTTPTOOLS, Gunicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Serve = Callable[..., Gunicorn]

WORKERS = 2
# Several workers fail at almost the same moment; which one the master sees first must not matter.
TIMES = 4


@dataclass(frozen=True)
class Failure:
    app: str
    env: Mapping[str, str]
    code: int
    says: str
    tracebacks: tuple[int, int]  # at least, at most


FAILURES = {
    "import": Failure("probe:app", {"PROBE_IMPORT": "error"}, 3, "the app refuses to be imported", (1, 1)),
    "module": Failure("no_such_module:app", {}, 3, "No module named 'no_such_module'", (1, 1)),
    # there is no traceback of the app's to show in these two; a line is enough
    "attribute": Failure("probe:nope", {}, 4, "'nope'", (0, 1)),
    "lifespan-failed": Failure("probe:app", {"PROBE_LIFESPAN": "failed"}, 3, "startup gave up", (0, 1)),
    # Starlette sends its traceback along with lifespan.startup.failed
    "starlette": Failure("starlette_app:app", {"STARLETTE_STARTUP": "raise"}, 3, "the database is away", (1, 1)),
}


# A signal that the master sends before a worker has set its handlers is lost. Here this happens for certain.
SLOW_SECOND_WORKER = """
import time

def post_fork(server, worker):
    if worker.age > 1:
        time.sleep(1)
"""


# Fails once its worker was told to leave.
LATE = """
import signal
import sys
import time

sys.stderr.write("loads\\n")
sys.stderr.flush()
while not signal.getsignal(signal.SIGTERM).__self__.should_exit:
    time.sleep(0.01)
raise KeyError("DATABASE")
"""


def check(server: Gunicorn, failure: Failure) -> None:
    assert server.wait_exit() == failure.code
    assert failure.says in server.log
    assert "(docs/troubleshooting.md#worker-failed-to-boot-exit-code-3-or-4)" in server.log
    least, most = failure.tracebacks
    assert least <= server.log.count("Traceback") <= most
    assert server.leftovers() == []
    booted = server.log.count("Booting worker")
    assert booted <= WORKERS
    assert len(server.events("import")) <= booted


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_failed_boot(serve: Serve, failure: Failure) -> None:
    check(serve(failure.app, worker=HTTPTOOLS, workers=WORKERS, env=failure.env), failure)


@pytest.mark.long
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_whichever_worker_fails_first(serve: Serve, worker: str, failure: Failure) -> None:
    servers = [serve(failure.app, worker=worker, workers=WORKERS, env=failure.env) for _ in range(TIMES)]
    for server in servers:
        check(server, failure)


def test_failed_boot_with_a_worker_that_missed_the_masters_signal(serve: Serve) -> None:
    failure = FAILURES["import"]
    files = {"gunicorn.conf.py": SLOW_SECOND_WORKER}
    check(serve(failure.app, worker=H11, workers=WORKERS, env=failure.env, files=files), failure)


def test_lifespan_on_makes_a_raising_startup_fatal(serve: Serve) -> None:
    failure = Failure("probe:app", {"PROBE_LIFESPAN": "raise"}, 3, "startup went wrong", (1, 1))
    server = serve(failure.app, worker="custom_workers.LifespanOnWorker", workers=WORKERS, env=failure.env)
    check(server, failure)


def test_lifespan_on_needs_an_app_that_knows_it(serve: Serve) -> None:
    failure = Failure("probe:app", {"PROBE_LIFESPAN": "unsupported"}, 3, "this app knows no lifespan", (1, 1))
    server = serve(failure.app, worker="custom_workers.LifespanOnWorker", workers=WORKERS, env=failure.env)
    check(server, failure)


def test_a_stop_while_the_workers_boot_is_a_stop_whatever_becomes_of_their_boot(serve: Serve) -> None:
    server = serve("late:app", worker=H11, workers=WORKERS, files={"late.py": LATE})
    server.wait_log(r"(?s)loads\n.*loads\n")
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert "ERROR" not in server.log
    assert "Traceback" not in server.log
    assert server.leftovers() == []
