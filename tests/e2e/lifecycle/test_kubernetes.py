"""``examples/kubernetes``: the numbers fit together."""

from __future__ import annotations

import re
import runpy
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.harness import Gunicorn, control_socket_option, until

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

EXAMPLE = Path(__file__).parents[3] / "examples" / "kubernetes"

pytestmark = pytest.mark.skipif(not EXAMPLE.is_dir(), reason="examples/ is not here")


def settings() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE / "gunicorn.conf.py"))


def manifest(name: str, field: str) -> int:
    """A number of a manifest, which is read as text: a parser of YAML for a few numbers is one dependency too many."""
    (found,) = re.findall(rf"\b{field}: (\d+)", (EXAMPLE / name).read_text())
    return int(found)


def test_the_times_fit() -> None:
    values = settings()
    delay = values["worker_class"].CONFIG_KWARGS["timeout_drain_delay"]
    assert delay < values["graceful_timeout"] < manifest("deployment.yaml", "terminationGracePeriodSeconds")
    assert manifest("deployment.yaml", "terminationGracePeriodSeconds") < manifest(
        "hpa.yaml", "stabilizationWindowSeconds"
    )


def test_the_memory_fits() -> None:
    text = (EXAMPLE / "deployment.yaml").read_text()
    limit = int(re.findall(r"limits: \{memory: (\d+)Mi\}", text)[0])
    workers = int(re.findall(r'WEB_CONCURRENCY, value: "(\d+)"', text)[0])
    assert settings()["worker_class"].CONFIG_KWARGS["limit_max_memory"] * workers + 100 <= limit


def test_a_budget_leaves_room_for_a_drain() -> None:
    assert manifest("hpa.yaml", "minReplicas") > manifest("pdb.yaml", "maxUnavailable")


def test_the_configuration_serves(serve: Serve) -> None:
    options = " ".join(("--bind 127.0.0.1:0", *control_socket_option()))
    env = {"GUNICORN_CMD_ARGS": options, "WEB_CONCURRENCY": "2"}
    server = serve(copy=EXAMPLE, argv=["app:app", "-c", "gunicorn.conf.py"], env=env)
    assert server.get("/health").text == "ready\n"
    until(lambda: len(server.workers()) == 2, "both workers")
    # TERM would be followed by the delay.
    server.signal(signal.SIGQUIT)
    assert server.wait_exit() == 0
