"""Ten requests run on a connection while its worker is replaced: what real clients make of how it is left.

Some fail every request that runs when any GOAWAY comes (httpx), so it has to wait for a moment without. Each client's
requests are held until the worker drains; then they are answered, and none may be lost.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.certificates import Site
from tests.e2e.frontends import haproxy
from tests.e2e.harness import PATIENCE, Gunicorn, until
from tests.e2e.http2.conftest import APPS, H2C
from tests.e2e.http2.test_fronts import HAPROXY
from tests.e2e.websocket.browser import find_chromium, open_page
from tests.programs import need, need_node_package

Serve = Callable[..., Gunicorn]
COUNT = 10


class Replaced:
    """A server whose only worker is replaced while requests to `/held` run."""

    def __init__(self, server: Gunicorn, how: str) -> None:
        self.server = server
        self.how = how
        scheme = "https" if "https://" in server.log else "http"
        self.quick = f"{scheme}://localhost:{server.port}/" if scheme == "https" else server.url
        self.url = f"{server.url}/held"

    def begin(self) -> None:
        """Replace the worker as soon as all the requests have begun, and let them end when it drains."""
        server = self.server
        server.wait_events("held", COUNT)
        if self.how == "recycle":
            self._reach_the_limit()
        else:
            server.signal(signal.SIGHUP if self.how == "reload" else signal.SIGTERM)
        server.wait_log("Draining")
        (server.dir / "open").touch()

    def _reach_the_limit(self) -> None:
        """Ask until the worker has enough; what it does not accept any more is answered by the next one."""
        server = self.server
        while "Limit of" not in server.log:
            with suppress(httpx.HTTPError), self.client() as client:
                client.get(self.quick)

    def client(self) -> httpx.Client:
        return httpx.Client(verify=False, trust_env=False, timeout=2)  # noqa: S501

    @contextmanager
    def during(self) -> Iterator[None]:
        """Do that beside what is done in the block."""
        with ThreadPoolExecutor(1) as pool:
            begun = pool.submit(self.begin)
            yield
            begun.result(PATIENCE)


@pytest.fixture(params=["reload", "recycle"])
def replaced(request: pytest.FixtureRequest, serve: Serve) -> Replaced:
    return start(request.param, serve)


def start(how: str, serve: Serve, *options: str) -> Replaced:
    recycling = ("--max-requests", "5") if how == "recycle" else ()
    server = serve("h2_probe:app", "--pythonpath", APPS, *recycling, *options, worker=H2C)
    server.wait_started()
    return Replaced(server, how)


def run_beside(
    replaced: Replaced, *command: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    with replaced.during():
        return subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False, env=env)


def test_httpx(replaced: Replaced) -> None:
    async def ask() -> list[str]:
        async with httpx.AsyncClient(http1=False, http2=True, trust_env=False, timeout=PATIENCE) as client:
            # So that all of them share a connection.
            assert (await client.get(f"{replaced.server.url}/page")).status_code == 200
            answers = await asyncio.gather(*[client.get(replaced.url) for _ in range(COUNT)])
            assert (await client.get(f"{replaced.server.url}/page")).status_code == 200
            return [answer.text for answer in answers]

    with replaced.during():
        assert asyncio.run(ask()) == ["held"] * COUNT


def test_grpcio(replaced: Replaced) -> None:
    grpc = pytest.importorskip("grpc")
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{replaced.server.port}", options=options) as channel:
        with replaced.during():
            held = channel.unary_unary("/echo.Echo/Held")
            calls = [held.future(b"%d" % number, timeout=2 * PATIENCE) for number in range(COUNT)]
            assert [call.result() for call in calls] == [b"%d" % number for number in range(COUNT)]
        assert channel.unary_unary("/echo.Echo/Unary")(b"next", timeout=PATIENCE) == b"next"


NODE = """
const http2 = require('node:http2');
const session = http2.connect(process.argv[2]);
session.on('error', () => {});
const one = () => new Promise(done => {
  const request = session.request({':path': '/held'});
  let text = '', status = 0;
  request.on('response', head => { status = head[':status']; });
  request.setEncoding('utf8');
  request.on('data', data => { text += data; });
  request.on('error', error => done(String(error)));
  request.on('end', () => done(status + ' ' + text));
});
Promise.all(Array.from({length: 10}, one)).then(all => { console.log(JSON.stringify(all)); session.close(); });
"""


def test_node(replaced: Replaced, tmp_path: Path) -> None:
    (tmp_path / "client.js").write_text(NODE)
    done = run_beside(replaced, need("node"), str(tmp_path / "client.js"), replaced.server.url)
    assert json.loads(done.stdout) == ["200 held"] * COUNT, done.stderr


# Options of undici's Agent; by itself it opens as many as it likes.
ONE_CONNECTION = {"connections": 1, "pipelining": 100}

UNDICI = """
const { fetch, Agent } = require('undici');
const [url, options] = process.argv.slice(2);
const dispatcher = new Agent({allowH2: true, connect: {rejectUnauthorized: false}, ...JSON.parse(options)});
const one = at => fetch(`${url}held?${at}`, {dispatcher}).then(
  async answer => `${answer.status} ${await answer.text()}`,
  error => `${error} ${error.cause}`,
);
Promise.all(Array.from({length: 10}, (_, at) => one(at))).then(all => {
  console.log(JSON.stringify(all));
  return dispatcher.close();
});
"""


@pytest.mark.parametrize(
    ("how", "options"),
    [("reload", {}), ("recycle", ONE_CONNECTION), ("stop", ONE_CONNECTION), ("stop", {})],
    ids=["reload", "recycle", "stop of one connection", "stop"],
)
def test_undici(how: str, options: dict[str, int], serve: Serve, site: Site, tmp_path: Path) -> None:
    """Node's fetch client; it speaks HTTP/2 over TLS."""
    node, env = need("node"), need_node_package("undici")
    (tmp_path / "client.js").write_text(UNDICI)
    files = ("--certfile", str(site.cert), "--keyfile", str(site.key))
    replaced = start(how, serve, *files, "--access-logfile", "-", "--access-logformat", "%(H)s %(U)s")
    done = run_beside(replaced, node, str(tmp_path / "client.js"), replaced.quick, json.dumps(options), env=env)
    assert json.loads(done.stdout) == ["200 held"] * COUNT, done.stderr
    server = replaced.server
    until(lambda: server.out.count("HTTP/2 /held") == COUNT, "ten access lines of HTTP/2")


@pytest.mark.parametrize("how", ["reload", "recycle"])
def test_curl(how: str, serve: Serve, site: Site) -> None:
    """Over TLS, since with prior knowledge curl 7.88 can't use a connection twice."""
    replaced = start(how, serve, "--certfile", str(site.cert), "--keyfile", str(site.key))
    options = ["--silent", "--show-error", "--parallel", "--cacert", str(site.ca), "--write-out", " %{http_version}\n"]
    done = run_beside(replaced, need("curl"), *options, *[replaced.quick + "held"] * COUNT)
    assert done.returncode == 0, done.stderr
    # What they say is mixed up.
    assert (done.stdout.count("held"), done.stdout.count("2")) == (COUNT, COUNT)


def test_nghttp(replaced: Replaced) -> None:
    urls = [f"{replaced.url}?{number}" for number in range(COUNT)]
    done = run_beside(replaced, need("nghttp"), "--verbose", "--null-out", *urls)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(":status: 200") == COUNT


def test_h2load(replaced: Replaced) -> None:
    done = run_beside(replaced, need("h2load"), "-n", str(COUNT), "-c", "1", "-m", str(COUNT), replaced.url)
    assert f"{COUNT} done, {COUNT} succeeded, 0 failed, 0 errored" in done.stdout, done.stdout


def test_haproxy(replaced: Replaced) -> None:
    server = replaced.server
    with haproxy(server.dir, HAPROXY.replace("option httpchk", "#").replace(" http-check", " #"), port=server.port):

        def get(_: Any) -> str:
            transport = httpx.HTTPTransport(uds=str(server.dir / "front.sock"))
            with httpx.Client(transport=transport, timeout=PATIENCE) as client:
                return client.get("http://localhost/held").text

        with replaced.during(), ThreadPoolExecutor(COUNT) as pool:
            assert list(pool.map(get, range(COUNT))) == ["held"] * COUNT


@pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed")
@pytest.mark.parametrize("how", ["reload", "recycle"])
def test_a_browser(how: str, serve: Serve, site: Site) -> None:
    replaced = start(how, serve, "--certfile", str(site.cert), "--keyfile", str(site.key))
    url = f"https://localhost:{replaced.server.port}"
    with open_page("--ignore-certificate-errors") as page:
        page.go(url + "/page")
        page.wait("document.readyState === 'complete'")
        with replaced.during():
            page.run(
                """
                const all = Array.from({length: 10}, (_, at) => fetch('/held?' + at).then(r => r.text(), String));
                Promise.all(all).then(texts => { window.texts = texts; });
                """
            )
            page.wait("window.texts")
        assert page.run("window.texts") == ["held"] * COUNT


class TestEarlyAnswers:
    """An answer that comes before a large upload was read is taken, and the upload with it."""

    @pytest.mark.parametrize("size", [100_000, 20_000_000])
    def test_curl(self, server: Gunicorn, tmp_path: Path, size: int) -> None:
        path = tmp_path / "upload"
        with path.open("wb") as file:
            file.truncate(size)
        options = ["--silent", "--show-error", "--http2-prior-knowledge", "--write-out", " %{http_code}"]
        command = [need("curl"), *options, "--data-binary", f"@{path}", f"{server.url}/early"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
        assert (done.returncode, done.stdout) == (0, "no 403"), done.stderr

    @pytest.mark.parametrize("size", [100_000, 5_000_000])
    def test_httpx(self, server: Gunicorn, size: int) -> None:
        with httpx.Client(http1=False, http2=True, trust_env=False, timeout=2 * PATIENCE) as client:
            assert client.post(f"{server.url}/early", content=bytes(size)).status_code == 403
            assert client.get(server.url).status_code == 200

    @pytest.mark.parametrize(("size", "declared"), [(100_000_000, True), (20_000_000, False)])
    def test_httpx_with_a_file(self, server: Gunicorn, tmp_path: Path, size: int, declared: bool) -> None:
        """Of a single value it copies the rest for each frame; a generator makes a body without a length."""
        path = tmp_path / "upload"
        with path.open("wb") as file:
            file.truncate(size)
        with (
            httpx.Client(http1=False, http2=True, trust_env=False, timeout=2 * PATIENCE) as client,
            path.open("rb") as file,
        ):
            content = file if declared else iter(lambda: file.read(65536), b"")
            assert client.post(f"{server.url}/early", content=content).status_code == 403
            assert client.get(server.url).status_code == 200
