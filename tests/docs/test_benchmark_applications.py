"""The applications of the benchmarks: each answers what its scenario asks for, served by ours."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from gunicorn.config import Config as GunicornConfig

pytest.importorskip("benchmarks.run", reason="benchmarks/ is not here")

from benchmarks import processes, report
from benchmarks.environments import APPS, REPOSITORY, Environment, clean_variables
from benchmarks.measure import Plan
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.servers import OURS, SERVERS

# What the application needs, by the scenario's name.
FRAMEWORKS = {
    "json": "starlette",
    "fastapi": "fastapi",
    "django": "django",
    "django-project": "django",
    "litestar": "litestar",
    "quart": "quart",
}
SCENARIO = {scenario.name: scenario for scenario in SCENARIOS}
SERVER = {server.name: server for server in SERVERS}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_application_answers_as_its_scenario_expects(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(FRAMEWORKS[name])
    if "control_socket_disable" not in GunicornConfig().settings:
        pytest.skip("this Gunicorn has no --no-control-socket, with which the benchmarks start it")
    scenario: Scenario = SCENARIO[name]
    monkeypatch.setattr(processes, "REPOSITORY", tmp_path)
    monkeypatch.setattr(processes, "BENCH", tmp_path)
    monkeypatch.setattr(processes, "clean_variables", lambda: {**clean_variables(), "PYTHONPATH": str(REPOSITORY)})
    here = Environment(Path(sys.executable).parent, "", {}, ())
    with processes.RunningServer(SERVER[OURS], here, scenario.app, core=None) as running:
        running.wait_ready()
        scenario.load.check(running.port)


def test_a_server_is_said_to_run_with_what_was_pinned_for_it_not_with_what_came_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(report, "wrk_version", lambda: "wrk")
    found = {"granian": "2.8.9", "Django": "5.2.19", "Hypercorn": "0.18.0", "h2": "4.4.1"}
    environments = {name: Environment(Path(), "CPython", found, ()) for name in ("granian", "hypercorn")}
    *_, granian, hypercorn = report.facts(Plan(1, 1, 1, 1, 1), environments).splitlines()
    assert granian == "- Granian 2.8.9: granian 2.8.9, Django 5.2.19"
    assert hypercorn == "- Hypercorn 0.18.0: h2 4.4.1, Hypercorn 0.18.0, Django 5.2.19"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks start eagerly from Python 3.12 on")
@pytest.mark.parametrize(("row", "steps"), [("eager", ["task", "maker"]), ("lazy", ["maker", "task"])])
def test_tasks_start_as_the_row_says(row: str, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvloop")
    monkeypatch.syspath_prepend(APPS)
    workers = importlib.import_module("task_workers")
    worker = getattr(workers, f"{row.capitalize()}Worker")
    assert SERVER[f"ours-{row}"].command[2] == f"task_workers.{worker.__name__}"
    loop = getattr(workers, worker.CONFIG_KWARGS["loop"].partition(":")[2])()
    seen: list[str] = []

    async def task() -> None:
        seen.append("task")

    async def maker() -> None:
        made = loop.create_task(task(), name="one")
        seen.append("maker")
        await made

    try:
        loop.run_until_complete(maker())
    finally:
        loop.close()
    assert seen == steps
