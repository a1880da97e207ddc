"""Worker subclasses as public projects write them for uvicorn's worker; nothing here is made for ours.

`from uvicorn_worker import UvicornWorker` means either, so the same file serves with PyPI's uvicorn-worker.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

from eventlog import event
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from uvicorn_worker import UvicornWorker

try:
    from uvicorn_worker import Config, Server
except ImportError:  # uvicorn's worker, whose package has the worker classes alone
    from uvicorn import Config, Server  # type: ignore[assignment]

import uvicorn


class Reads(UvicornWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config = self.config
        event("config", f"{config.app} {config.lifespan} {config.limit_max_requests} {config.timeout_keep_alive}")


class AssignsInInit(UvicornWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config.lifespan = "off"
        self.config.root_path = "/assigned"


class AssignsInInitProcess(UvicornWorker):
    def init_process(self) -> None:
        self.config.lifespan = "off"
        self.config.forwarded_allow_ips = "*"
        self.config.root_path = "/assigned"
        super().init_process()


class AssignsTls(UvicornWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config.ssl_certfile = os.environ["CERTIFICATE"]


class LoadsAndAssignsTls(UvicornWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.environ["CERTIFICATE"])
        self.config.load()
        self.config.ssl = context


class StartsAgain(UvicornWorker):
    """Where what its application needs is not there yet: another exit code, for which the master starts another one."""

    async def _serve(self) -> None:
        try:
            await super()._serve()
        except SystemExit as exc:
            event("gave-up", exc.code)
            raise SystemExit(1 if os.environ.get("TRANSIENT") else exc.code) from exc


class AssignsNonsense(UvicornWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config.lifespan = "maybe"


class Replaces(UvicornWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config = Config(app=None, log_config=None, lifespan="off", root_path="/assigned")


class ReplacesByUvicorns(UvicornWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config = uvicorn.Config(app=None, log_config=None, lifespan="off", root_path="/assigned")  # type: ignore[arg-type]


class TellsTheRoot:
    """Around the application, by the `load()` of a Config."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app({**scope, "root_path": "/assigned"}, receive, send)


class Wrapping(Config):
    def load(self) -> None:
        super().load()
        self.loaded_app = TellsTheRoot(self.loaded_app)


class UvicornsWrapping(uvicorn.Config):
    def load(self) -> None:
        super().load()
        self.loaded_app = TellsTheRoot(self.loaded_app)


class WrapsInLoad(UvicornWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config = Wrapping(app=None, log_config=None, lifespan="off")


class WrapsInUvicornsLoad(UvicornWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config = UvicornsWrapping(app=None, log_config=None, lifespan="off")  # type: ignore[arg-type]


class LeavesOurInitOut(UvicornWorker):
    """Word for word what uvicorn's worker does, but for an option."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super(UvicornWorker, self).__init__(*args, **kwargs)
        self.config = Config(
            app=None,
            log_config=None,
            timeout_keep_alive=self.cfg.keepalive,
            timeout_notify=self.timeout,
            callback_notify=self.callback_notify,
            limit_max_requests=self.max_requests,
            forwarded_allow_ips=self.cfg.forwarded_allow_ips,
            root_path="/assigned",
        )


class HandlesTerm(UvicornWorker):
    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.handle_exit, signal.SIGTERM, None)
        await super()._serve()


class OwnServer(UvicornWorker):
    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = Server(config=self.config)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        event("served", server.started)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)


class RealSockets(UvicornWorker):
    async def _serve(self) -> None:
        self.config.app = self.wsgi
        await Server(config=self.config).serve(sockets=[item.sock for item in self.sockets])


class UvicornsServer(UvicornWorker):
    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = uvicorn.Server(config=self.config)
        await server.serve(sockets=self.sockets)


class UvicornsServerByName(UvicornWorker):
    """Not to be seen in the code of the method."""

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        await _serve_by(uvicorn.Server, self)


async def _serve_by(kind: Any, worker: Any) -> None:
    await kind(config=worker.config).serve(sockets=worker.sockets)


class UvicornsServerHidden(UvicornWorker):
    async def _serve(self) -> None:
        self.config.app = self.wsgi
        await _serve_by(_KIND[0], self)


_KIND = [uvicorn.Server]


class Kind(uvicorn.Server):
    """As workers have it that do something at a stop."""

    async def startup(self, sockets: Any = None) -> None:
        event("step", "startup")
        await super().startup(sockets=sockets)

    def handle_exit(self, sig: int, frame: Any) -> None:
        event("step", "handle_exit")
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: Any = None) -> None:
        event("step", "shutdown")
        await super().shutdown(sockets=sockets)


class UvicornsKind(UvicornWorker):
    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = Kind(config=self.config)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)


class Raises(UvicornWorker):
    async def _serve(self) -> None:
        raise RuntimeError("the override went wrong")


class RaisesWhileServing(UvicornWorker):
    async def _serve(self) -> None:
        serving = asyncio.ensure_future(super()._serve())
        await asyncio.sleep(0.2)
        serving.cancel()
        raise RuntimeError("the override went wrong")


class Exits(UvicornWorker):
    async def _serve(self) -> None:
        sys.exit(1)


class Returns(UvicornWorker):
    async def _serve(self) -> None:
        return


class OwnRun(UvicornWorker):
    def run(self) -> None:
        event("run")
        asyncio.run(self._serve())


class OtherThread(UvicornWorker):
    """Its own thread is kept for something else, as gevent's hub."""

    def init_signals(self) -> None:
        Worker.init_signals(self)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.alive = False
        self.own.should_exit = True

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        self.own = Server(config=self.config)
        await self.own.serve(sockets=self.sockets)

    def run(self) -> None:
        with ThreadPoolExecutor(1) as threads:
            served = threads.submit(super().run)
            while not served.done():
                time.sleep(0.05)
            served.result()


class OwnRunRaises(UvicornWorker):
    def run(self) -> None:
        raise RuntimeError("the override went wrong")


class Records(UvicornWorker):
    """Everything that can be overridden, with what it calls."""

    def init_signals(self) -> None:
        event("init_signals")
        super().init_signals()

    def init_process(self) -> None:
        event("init_process")
        super().init_process()

    def load_wsgi(self) -> None:
        event("load_wsgi")
        super().load_wsgi()
        event("wsgi", callable(self.wsgi))

    def run(self) -> None:
        event("run")
        super().run()

    def notify(self) -> None:
        event("notify")
        super().notify()

    async def callback_notify(self) -> None:
        event("callback_notify")
        await super().callback_notify()

    def _install_sigquit_handler(self) -> None:
        event("_install_sigquit_handler")
        super()._install_sigquit_handler()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        event("handle_exit", int(sig))
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        event("handle_quit", int(sig))
        super().handle_quit(sig, frame)


class DefaultSignals(UvicornWorker):
    """Signals as uvicorn's worker sets them."""

    def init_signals(self) -> None:
        for sig in self.SIGNALS:
            signal.signal(sig, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, self.handle_usr1)
        signal.siginterrupt(signal.SIGUSR1, False)


class OwnSigquitHandler(UvicornWorker):
    def _install_sigquit_handler(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, self.handle_exit, signal.SIGQUIT, None)


class OwnLoading(UvicornWorker):
    def load_wsgi(self) -> None:
        self.wsgi = self.app.wsgi()


class WithholdsTheHeartbeat(UvicornWorker):
    async def callback_notify(self) -> None:
        event("callback_notify")
