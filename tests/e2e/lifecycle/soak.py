"""Everything that can happen to workers, for minutes, under load: `make soak`.

    python -m tests.e2e.lifecycle.soak [--seconds 600] [--workers 3] [--worker CLASS] [--seed N] [--master] [--clients]

First a third of the time without any event: connections come and go, streams and uploads are cut by the client, and the
memory of the workers must not grow. Then all events mixed: HUP, HUP to an application that is broken and back, TTIN and
TTOU, USR2 with TERM of the old master, TERM of one worker, and max_requests and worker_lifetime all the time. With
--master it is the master of this package, and Gunicorn's own without. Half of the load comes directly, half through
nginx where that is installed. The exit code is 0 when not one request was lost.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.frontends import nginx
from tests.e2e.harness import HTTPTOOLS, Gunicorn, alive, control_socket_option, until
from tests.e2e.lifecycle import soak_clients
from tests.e2e.lifecycle.load import Load
from tests.programs import find

if TYPE_CHECKING:
    from collections.abc import Callable

# How much a worker may grow in the quiet part, once it is warm: what the allocator has at its discretion.
GROWTH_MIB = 4.0

GOOD = "from lifecycle_app import app\n"
# What a worker says that can't boot while others serve.
CANT = "Other workers serve on"

NGINX = """
upstream app {{
    server 127.0.0.1:{port} fail_timeout=0;
    keepalive 8;
}}
server {{
    listen unix:{dir}/front.sock;
    keepalive_requests 1000000;
    location / {{
        proxy_pass http://app;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        # A lost request is to be seen, and not tried again.
        proxy_next_upstream off;
    }}
}}
"""


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def rss(pid: int) -> float:
    """Resident memory in MiB; 0 for a process that is gone."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1048576
    return 0.0


class Soak:
    """One run; `masters` has the process ids of the masters that live."""

    def __init__(self, server: Gunicorn, loads: list[Load], choice: random.Random) -> None:
        self.server = server
        self.loads = loads
        self.choice = choice
        self.master = server.pid
        self.events = 0

    def workers(self) -> list[int]:
        """Workers of the master that counts now."""
        with suppress(OSError):
            text = Path(f"/proc/{self.master}/task/{self.master}/children").read_text()
            return [pid for pid in map(int, text.split()) if alive(pid)]
        return []

    def check(self) -> None:
        """Raise what a client has met."""
        for load in self.loads:
            if load.failed:
                load.stop()

    def abuse(self) -> None:
        """A few clients that leave in the midst of it."""
        for target in ("/stream", "/sleep?s=0.2", "/"):
            with self.server.connect(5) as connection:
                connection.request(target, "Content-Length: 100000" if target == "/" else "X: y")
                if target == "/stream":
                    connection.head()

    # The quiet part ----------------------------------------------------------------------------------

    def quiet(self, seconds: float) -> bool:
        """Watch the memory of the workers; whether it stays as it is."""
        begun = time.monotonic()
        warm: dict[int, float] = {}
        while (passed := time.monotonic() - begun) < seconds:
            self.check()
            self.abuse()
            if not warm and passed > seconds / 3:
                warm = {pid: rss(pid) for pid in self.workers()}
            time.sleep(0.05)
        growth = {pid: rss(pid) - before for pid, before in warm.items()}
        say(f"memory of the workers, MiB: {', '.join(f'{rss(pid):.1f} ({more:+.1f})' for pid, more in growth.items())}")
        return max(growth.values(), default=0.0) <= GROWTH_MIB

    # The other part ----------------------------------------------------------------------------------

    def hup(self) -> None:
        """New workers for old ones."""
        old = set(self.workers())
        os.kill(self.master, signal.SIGHUP)
        until(lambda: not old & set(self.workers()), "the end of the old workers", 60)

    def broken(self) -> None:
        """An application that can't be imported, then the good one: nobody is to notice."""
        application = self.server.dir / "soaked.py"
        reports = self.server.log.count(CANT)
        application.write_text("raise RuntimeError('broken on purpose')\n")
        os.kill(self.master, signal.SIGHUP)
        until(lambda: self.server.log.count(CANT) > reports, "a report", 60)
        application.write_text(GOOD)
        self.hup()

    def scale(self) -> None:
        """One more, one less."""
        os.kill(self.master, signal.SIGTTIN)
        time.sleep(1)
        os.kill(self.master, signal.SIGTTOU)

    def end_one(self) -> None:
        """TERM to one worker; the master forks another."""
        with suppress(ProcessLookupError, IndexError):
            os.kill(self.choice.choice(self.workers()), signal.SIGTERM)

    def upgrade(self) -> None:
        """USR2, then TERM to the old master once the new one serves."""
        old = self.master
        count = len(self.server.events("startup"))
        os.kill(old, signal.SIGUSR2)
        new = int(until(lambda: self.server.read("gunicorn.pid.2"), "the new master", 60))
        until(lambda: len(self.server.events("startup")) > count, "a new worker", 60)
        os.kill(old, signal.SIGTERM)
        until(lambda: not alive(old) or self._reaped(), "the end of the old master", 60)
        until(lambda: self.server.read("gunicorn.pid").strip() == str(new), "the new master to take over", 60)
        self.master = new

    def _reaped(self) -> bool:
        process = self.server.process
        return process is not None and process.poll() is not None

    def mixed(self, seconds: float) -> None:
        """One event after another."""
        ways: list[Callable[[], None]] = [self.hup, self.broken, self.scale, self.end_one, self.upgrade]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # Each of them before one comes again.
            for way in self.choice.sample(ways, len(ways)):
                if time.monotonic() < end:
                    way()
                    self.events += 1
                    self.abuse()
                    time.sleep(self.choice.uniform(0.5, 2.5))
                    self.check()


def run(args: argparse.Namespace) -> int:
    """One run; the exit code."""
    choice = random.Random(args.seed)
    options = ("--pid", "gunicorn.pid", "--max-requests", "20000", "--max-requests-jitter", "10000")
    lifetime = {"UVICORN_WORKER_LIFETIME": "20", "UVICORN_WORKER_LIFETIME_JITTER": "10"}
    quiet = args.seconds / 3
    has_nginx = find("nginx") is not None
    with ExitStack() as stack:
        for phase in ("quiet", "mixed"):
            chosen = ["-w", str(args.workers), "-b", "127.0.0.1:0", "-k", args.worker, *control_socket_option()]
            chosen += [*(options if phase == "mixed" else options[:2]), "--graceful-timeout", "20", "soaked:app"]
            server = Gunicorn(
                argv=chosen,
                script=not args.master,
                module="uvicorn_worker.master",
                files={"soaked.py": GOOD},
                env={"PYTHONDONTWRITEBYTECODE": "1", **(lifetime if phase == "mixed" else {})},
            )
            with server, nginx(server.dir, NGINX, port=server.port) if has_nginx else nullcontext():
                server.wait_started(args.workers)
                loads = [stack.enter_context(Load(("127.0.0.1", server.port)))]
                if has_nginx:
                    loads.append(stack.enter_context(Load(str(server.dir / "front.sock"))))
                soak = Soak(server, loads, choice)
                flat = True
                if phase == "quiet":
                    flat = soak.quiet(quiet)
                else:
                    soak.mixed(args.seconds - quiet)
                answered = [load.stop() for load in loads]
                workers = len(set().union(*answered))
                say(
                    f"{phase}: {sum(answered[0].values())} requests answered directly, "
                    + (f"{sum(answered[1].values())} through nginx, " if has_nginx else "(no nginx here) ")
                    + f"{soak.events} events, {workers} workers, none lost"
                )
                # Those of broken applications are reported with one.
                if server.log.count("Traceback") > server.log.count(CANT) or "WORKER TIMEOUT" in server.log:
                    say(server.log[-5000:])
                    return 1
                if not flat:
                    say(f"a worker grew by more than {GROWTH_MIB} MiB")
                    return 1
    return 0


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--worker", default=HTTPTOOLS)
    parser.add_argument("--master", action="store_true", help="with the master of this package")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clients", action="store_true", help="long streams of real clients over HTTP/2 instead")
    args = parser.parse_args()
    return soak_clients.run(args.seconds) if args.clients else run(args)


if __name__ == "__main__":
    sys.exit(main())
