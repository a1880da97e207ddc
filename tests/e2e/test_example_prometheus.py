"""examples/prometheus: what its dashboard asks for is told by a real master, and a real Prometheus answers it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.frontends import running
from tests.e2e.harness import PATIENCE, Gunicorn, control_socket_option, until
from tests.programs import find, need
from uvicorn_worker.board.exposition import METRICS, PREFIX

Serve = Callable[..., Gunicorn]

FOLDER = Path(__file__).parents[2] / "examples" / "prometheus"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="examples/ is not here")

# What Grafana knows by itself, and what each of its variables stands for.
VARIABLES = {"$job": ".*", "$instance": ".*", "$__rate_interval": "1m"}
# Labels that Prometheus itself gives.
GIVEN = {"job", "instance"}


@pytest.fixture
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    return found


@pytest.fixture
def server(serve: Serve) -> Iterator[tuple[Gunicorn, str]]:
    """The example, with two workers, and the address of its metrics, which is kept for it."""
    pytest.importorskip("prometheus_client")
    text = (FOLDER / "gunicorn.conf.py").read_text("utf-8")
    assert text.count("127.0.0.1:9464") == 1
    # Bound and not listened at: nobody else gets the port, and whoever listens there beside is found by it.
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{kept.getsockname()[1]}"
        options = " ".join(("--bind 127.0.0.1:0 --workers 2", *control_socket_option()))
        server = serve(
            files={
                "app.py": (FOLDER / "app.py").read_text("utf-8"),
                "gunicorn.conf.py": text.replace("127.0.0.1:9464", address),
            },
            argv=["app:app"],
            env={"GUNICORN_CMD_ARGS": options},
        )
        server.wait_log("Ready in")
        yield server, address


def queries(dashboard: dict[str, Any]) -> dict[str, str]:
    """Each query by where it stands, as Grafana sends it."""
    found = {}
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for name, value in VARIABLES.items():
                query = query.replace(name, value)
            assert "$" not in query
            found[f"{panel['title']}, {target['refId']}"] = query
    return found


def scraped(address: str) -> dict[str, tuple[str, set[str], dict[str, set[str]]]]:
    """By the name of a sample: the type of its family, and its labels with their values."""
    parser = pytest.importorskip("prometheus_client.parser")
    text = httpx.get(f"http://{address}/metrics", timeout=PATIENCE, trust_env=False).text
    found: dict[str, tuple[str, set[str], dict[str, set[str]]]] = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            _, _, values = found.setdefault(sample.name, (family.type, set(sample.labels), {}))
            for label, value in sample.labels.items():
                values.setdefault(label, set()).add(value)
    return found


def test_the_dashboard_is_whole(dashboard: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert names == {"datasource", "job", "instance"}
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["targets"]
    # Each metric that there is can be seen.
    used = " ".join(queries(dashboard).values())
    assert [metric.name for metric in METRICS if not re.search(rf"\b{PREFIX}{metric.name}(_\w+)?\b", used)] == []


def test_each_name_and_label_of_its_queries_is_in_a_real_scrape(
    dashboard: dict[str, Any], server: tuple[Gunicorn, str]
) -> None:
    found = scraped(server[1])
    variables = [each for each in dashboard["templating"]["list"] if each["type"] == "query"]
    of_variables = [re.fullmatch(r"label_values\((.*), (\w+)\)", each["query"]["query"]) for each in variables]
    for match in of_variables:
        assert match is not None
        assert match[2] in GIVEN
    everything = {**queries(dashboard), **{match[0]: match[1] for match in of_variables if match}}
    for where, query in everything.items():
        names = re.findall(rf"\b({PREFIX}\w+)(?:\{{([^}}]*)\}})?(\[)?", query)
        assert names, where
        labels: set[str] = set()
        for name, matchers, is_range in names:
            assert name in found, where
            kind, known, values = found[name]
            labels |= known
            # What only grows is looked at by how much it has grown; what goes up and down, as it is.
            assert bool(is_range) == (kind in ("counter", "histogram")), where
            for label, value in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
                assert label in GIVEN or value in values[label], where
        for group in re.findall(r"by \(([^)]*)\)", query):
            assert set(group.split(", ")) <= labels | GIVEN, where
        if "histogram_quantile" in query:
            assert "_bucket{" in query, where
            assert re.search(r"by \(le\b", query), where
    legends = {
        label
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"])
        if not re.search(rf"by \([^)]*\b{label}\)", target["expr"]) and label not in GIVEN
    }
    assert legends == set()


def test_prometheus_takes_the_configuration() -> None:
    program = find("promtool")
    if program is None:
        pytest.skip("promtool is not installed")
    path = FOLDER / "prometheus.yml"
    done = subprocess.run([program, "check", "config", path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_answers_each_query(dashboard: dict[str, Any], server: tuple[Gunicorn, str], tmp_path: Path) -> None:
    need("prometheus")
    gunicorn, address = server
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))
    assert config["scrape_configs"][0]["static_configs"] == [{"targets": ["127.0.0.1:9464"]}]
    config["global"]["scrape_interval"] = "200ms"
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [address]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    arguments = [
        f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path}/data",
        "--web.listen-address=127.0.0.1:0",
    ]  # fmt: skip
    with running("prometheus", arguments, tmp_path), httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        log = tmp_path / "prometheus.log"
        listens = until(
            lambda: re.search(r'"Listening on".* address=(127\.0\.0\.1:\d+)', log.read_text()), "Prometheus to listen"
        )

        def ask(query: str) -> list[dict[str, Any]]:
            answer = client.get(f"http://{listens[1]}/api/v1/query", params={"query": query})
            if answer.status_code == 503:
                # It reads its storage.
                return []
            body = answer.json()
            assert body["status"] == "success", (query, body)
            found: list[dict[str, Any]] = body["data"]["result"]
            return found

        def total(query: str) -> float:
            return sum(float(sample["value"][1]) for sample in ask(query))

        until(lambda: total('up{job="shop"}') == 1, "the first scrape")
        began = time.monotonic()
        with gunicorn.client() as shop:
            for path in ("/", "/slow", "/error"):
                shop.get(path)
        until(lambda: total(f"{PREFIX}responses_total") == 3, "three responses")
        until(lambda: total(f"increase({PREFIX}responses_total[1m])") > 0, "a second scrape")
        for where, query in queries(dashboard).items():
            assert ask(query), (where, query)
        by_name = queries(dashboard)
        assert 0 < total(by_name["5xx, A"]) < 1
        assert total(by_name["Ready, A"]) == 1
        assert total(by_name["Workers missing, A"]) == 0
        assert 0 < total(by_name["Up, A"]) < time.monotonic() - began + PATIENCE
