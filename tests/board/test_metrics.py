"""The metrics, and what answers for them."""

from __future__ import annotations

import errno
import http.client
import re
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boards import add_worker
from tests.records import records_of
from uvicorn_worker.board import exposition
from uvicorn_worker.board import metrics as module
from uvicorn_worker.board.board import Board
from uvicorn_worker.board.exposition import METRICS, PREFIX, UNITS, check_metrics, expose, samples
from uvicorn_worker.board.metrics import MetricsSocket, MetricsThread
from uvicorn_worker.board.reading import read_board
from uvicorn_worker.core.errors import ConfigError

prometheus = pytest.importorskip("prometheus_client.parser")


@pytest.fixture
def board() -> Board:
    board = Board()
    board.wanted = 2
    return board


def values(text: str) -> dict[str, float]:
    """Every sample of an exposition, by its name and labels."""
    return {
        sample.name + "".join(f"|{value}" for value in sample.labels.values()): sample.value
        for family in prometheus.text_string_to_metric_families(text)
        for sample in family.samples
    }


class TestExposition:
    def test_values(self, board: Board) -> None:
        add_worker(
            board, http11_2xx=3, requests=2, lag=5 * 10**8, rss=1 << 20, spent=2 * 10**9, refused_flood=1,
            oldest_since=time.monotonic_ns() - 10**9, **{"took_0.001": 1, "took_0.5": 2},
        )  # fmt: skip
        add_worker(board, http11_2xx=4, requests=1, rss=1 << 20)
        board.keep_end([99, 1, 2, 0, *[0] * 7], "")
        body, content_type = expose(read_board(board), "")
        found = values(body.decode())
        assert content_type.startswith("text/plain")
        assert found["uvicorn_worker_responses_total|http/1.1|2xx"] == 7
        assert found["uvicorn_worker_requests_in_flight"] == 3
        assert found["uvicorn_worker_loop_lag_seconds"] == 0.5
        assert found["uvicorn_worker_resident_memory_bytes"] == 2 << 20
        assert found["uvicorn_worker_refused_total|flood"] == 1
        assert found["uvicorn_worker_ended_total|memory"] == 1
        assert found["uvicorn_worker_workers|serving"] == 2
        assert found["uvicorn_worker_workers_wanted"] == 2
        assert found["uvicorn_worker_ready"] == 1
        assert found["uvicorn_worker_oldest_request_seconds"] >= 1
        assert found["uvicorn_worker_request_duration_seconds_bucket|0.25"] == 1
        assert found["uvicorn_worker_request_duration_seconds_bucket|+Inf"] == 3
        assert found["uvicorn_worker_request_duration_seconds_count"] == 3
        assert found["uvicorn_worker_request_duration_seconds_sum"] == 2

    def test_paths(self, board: Board) -> None:
        for number in (1, 2):
            rows = add_worker(board).paths
            rows.begin(["/a", "/b"])
            # 1xx to 5xx, the buckets, the sum of the durations.
            rows.write([[0, number, 0, 0, 1, number, 1, *[0] * 15, 10**9], [0] * 23])
        found = values(expose(read_board(board), "")[0].decode())
        name = "uvicorn_worker_location_request_duration_seconds"
        assert found["uvicorn_worker_location_responses_total|/a|2xx"] == 3
        assert found["uvicorn_worker_location_responses_total|/a|5xx"] == 2
        assert found["uvicorn_worker_location_responses_total|/b|2xx"] == 0
        assert found[f"{name}_bucket|0.0005|/a"] == 3
        assert found[f"{name}_bucket|+Inf|/a"] == found[f"{name}_count|/a"] == 5
        assert found[f"{name}_sum|/a"] == 2
        assert found[f"{name}_count|/b"] == 0

    def test_openmetrics_where_it_is_asked_for(self, board: Board) -> None:
        parser = pytest.importorskip("prometheus_client.openmetrics.parser")
        body, content_type = expose(read_board(board), "application/openmetrics-text; version=1.0.0")
        assert content_type.startswith("application/openmetrics-text")
        assert {family.name for family in parser.text_string_to_metric_families(body.decode())} >= {
            "uvicorn_worker_responses", "uvicorn_worker_ready",
        }  # fmt: skip

    def test_names_are_those_of_the_table_and_keep_to_the_rules(self, board: Board) -> None:
        """https://prometheus.io/docs/practices/naming/, as promtool reads it."""
        names = [metric.name for metric in METRICS]
        assert len(set(names)) == len(names)
        for metric in METRICS:
            words = metric.name.split("_")
            assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", metric.name)
            # The ending of a counter is put behind the name, behind its unit; those of histograms are not for others.
            assert words[-1] not in ("total", "count", "sum", "bucket", "info", "created")
            assert metric.full_name.endswith("_total") is (metric.kind == "counter")
            # A unit is the last word, is a base unit, and is written out.
            assert not {"ms", "us", "ns", "milliseconds", "minutes", "kb", "mb", "kib", "mib", "percent"} & set(words)
            assert not set(UNITS) & set(words[:-1])
            assert metric.unit == (words[-1] if words[-1] in UNITS else "")
            # Neither its type nor its labels are in the name.
            assert not {"gauge", "counter", "histogram", *metric.labels} & set(words)
            assert all(re.fullmatch(r"[a-z]+", label) and label != "le" for label in metric.labels)
            assert metric.meaning
        assert [metric for metric, _ in samples(read_board(board))] == list(METRICS)
        assert METRICS[0].full_name == "uvicorn_worker_ready"

    def test_it_is_what_the_table_says(self, board: Board) -> None:
        """In both forms: the type, the unit where the form has one, and the labels of every sample."""
        add_worker(board).paths.begin(["/a"])
        parser = pytest.importorskip("prometheus_client.openmetrics.parser")
        text, _ = expose(read_board(board), "")
        open_text, _ = expose(read_board(board), "application/openmetrics-text; version=1.0.0")
        for has_units, families in (
            (False, prometheus.text_string_to_metric_families(text.decode())),
            (True, parser.text_string_to_metric_families(open_text.decode())),
        ):
            found = {family.name: family for family in families}
            assert list(found) == [PREFIX + metric.name for metric in METRICS]
            for metric in METRICS:
                family = found[PREFIX + metric.name]
                assert (family.type, family.documentation) == (metric.kind, metric.meaning)
                assert family.unit == (metric.unit if has_units else "")
                labels = {frozenset(sample.labels) - {"le"} for sample in family.samples}
                assert labels == {frozenset(metric.labels)}

    def test_promtool_has_nothing_to_say(self, board: Board) -> None:
        program = shutil.which("promtool")
        if program is None:
            pytest.skip("promtool is not installed")
        add_worker(board, http11_2xx=3)
        body, _ = expose(read_board(board), "")
        done = subprocess.run([program, "check", "metrics"], input=body, capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    def test_without_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(name: str) -> object:
            raise ModuleNotFoundError(name=name)

        check_metrics()
        monkeypatch.setattr("importlib.import_module", missing)
        with pytest.raises(ConfigError, match="extra `metrics`"):
            check_metrics()


class TestSockets:
    def test_the_same_one_as_long_as_the_option_is_the_same(self) -> None:
        sockets = MetricsSocket()
        first = sockets.at("127.0.0.1:0")
        assert first is sockets.at("127.0.0.1:0")
        assert first is not None
        assert not first.get_inheritable()
        second = sockets.at("[::1]:0")
        assert first.fileno() == -1
        assert sockets.at(None) is None
        assert second is None or second.fileno() == -1

    def test_unix(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        removed: list[object] = []
        monkeypatch.setattr("atexit.register", removed.append)
        path = tmp_path / "m.sock"
        sockets = MetricsSocket()
        for _ in range(2):
            # The second time it is there already.
            assert sockets.at(f"unix:{path}") is not None
            assert sockets.at(None) is None
        assert stat.S_ISSOCK(path.stat().st_mode)
        for remove in removed[::-1]:
            assert callable(remove)
            remove()
        assert not path.exists()

    def test_what_cannot_be_bound_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with records_of("uvicorn.error") as records:
            assert MetricsSocket().at(f"unix:{tmp_path / 'file'}") is None
            assert MetricsSocket().at("192.0.2.1:1") is None
        assert len(records.lines) == 2
        assert "is no socket" in records.lines[0]

    def test_where_there_are_no_unix_sockets(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # As in Python on Windows.
        monkeypatch.delattr(socket, "AF_UNIX")
        with records_of("uvicorn.error") as records:
            assert MetricsSocket().at(f"unix:{tmp_path / 'metrics.sock'}") is None
        assert "Python has no unix sockets on this system; give a host and a port" in records.lines[0]


class TestAnswers:
    @pytest.fixture
    def port(self, board: Board) -> Iterator[int]:
        sockets = MetricsSocket()
        sock = sockets.at("127.0.0.1:0")
        assert sock is not None
        thread = MetricsThread(sock, board)
        thread.start()
        thread.start()
        yield sock.getsockname()[1]
        thread.stop()
        thread.stop()
        sockets.at(None)
        assert not [each for each in threading.enumerate() if each.name == "uvicorn-worker-metrics"]

    def get(self, port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        client.request(method, path)
        answer = client.getresponse()
        found = answer.status, answer.read()
        client.close()
        return found

    @pytest.mark.parametrize("missing", ["threads", "descriptors"])
    def test_what_there_is_too_little_of_is_tried_for_again(
        self, board: Board, monkeypatch: pytest.MonkeyPatch, missing: str
    ) -> None:
        """The tick that starts it has other things to do, too."""

        def no_thread(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        def no_descriptor() -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        sockets = MetricsSocket()
        sock = sockets.at("127.0.0.1:0")
        assert sock is not None
        thread = MetricsThread(sock, board)
        with monkeypatch.context() as patch:
            if missing == "threads":
                patch.setattr(threading.Thread, "start", no_thread)
            else:
                patch.setattr(socket, "socketpair", no_descriptor)
            thread.start()
            thread.stop()
        thread.start()
        assert self.get(sock.getsockname()[1], "/live") == (200, b"live\n")
        thread.stop()
        sockets.at(None)

    def test_paths(self, port: int, board: Board) -> None:
        assert self.get(port, "/live") == (200, b"live\n")
        assert self.get(port, "/ready?x=1") == (503, b"not ready\n")
        slot = add_worker(board)
        assert self.get(port, "/ready") == (200, b"ready\n")
        assert self.get(port, "/ready", "HEAD") == (200, b"")
        slot.state = 4  # told to leave
        assert self.get(port, "/ready")[0] == 503
        assert self.get(port, "/other")[0] == 404
        assert self.get(port, "/metrics", "POST")[0] == 405
        status, body = self.get(port, "/metrics")
        assert status == 200
        assert b"uvicorn_worker_workers_wanted 2.0" in body

    def test_what_is_no_http(self, port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), 20) as client:
            client.sendall(b"hello\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
        with socket.create_connection(("127.0.0.1", port), 20) as client:
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")

    def test_one_that_says_nothing_does_not_hold_up_the_next_for_long(
        self, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_SECONDS", 0.05)
        with socket.create_connection(("127.0.0.1", port), 20):
            assert self.get(port, "/live")[0] == 200

    def test_one_that_says_a_little_again_and_again_is_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The time is that of the whole head."""
        monkeypatch.setattr(module, "_SECONDS", -1.0)
        ours, theirs = socket.socketpair()
        with ours, theirs, pytest.raises(TimeoutError):
            module._read_head(ours)

    def test_a_connection_that_another_worker_has_taken(self, board: Board) -> None:
        accepted = threading.Event()

        class Taken:
            """One that is ready, and then there is nothing."""

            def __init__(self, sock: socket.socket) -> None:
                self.sock = sock
                self.fileno = sock.fileno

            def accept(self) -> object:
                accepted.set()
                raise BlockingIOError

        ours, theirs = socket.socketpair()
        with ours, theirs:
            thread = MetricsThread(Taken(ours), board)  # type: ignore[arg-type]  # what is used of one
            theirs.sendall(b"x")
            thread.start()
            assert accepted.wait(20)
            thread.stop()

    def test_accept_and_its_field(self, port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), 20) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nACCEPT: application/openmetrics-text\r\n\r\n")
            answer = b""
            while data := client.recv(65536):
                answer += data
        assert b"content-type: application/openmetrics-text" in answer
        assert answer.endswith(b"# EOF\n")

    def test_an_error_is_logged_and_the_next_is_answered(self, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        with records_of("uvicorn.error") as records:
            monkeypatch.setattr(module, "expose", lambda reading, accept: 1 / 0)
            with pytest.raises((http.client.HTTPException, OSError)):
                self.get(port, "/metrics")
            assert self.get(port, "/live")[0] == 200
        assert any("metrics could not be told" in line for line in records.lines)


def test_the_prefix_is_that_of_the_package() -> None:
    assert exposition.PREFIX == "uvicorn_worker_"
