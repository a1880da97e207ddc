"""`Application`: Gunicorn's launcher with our arbiter, for commands and launchers of one's own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.errors import AppImportError

from uvicorn_worker.core.errors import AppLoadError, ConfigError
from uvicorn_worker.master.arbiter import Arbiter
from uvicorn_worker.server.loading import import_name

__all__ = ["Application"]

DEFAULT_WORKER = "uvicorn_worker.UvicornWorker"


class Application(WSGIApplication):
    """Gunicorn for an ASGI application, with the worker classes of this package.

    `Application()` reads the command line and `gunicorn.conf.py` as the command `gunicorn` does. `Application(app,
    settings)` does not look at the command line: `app` is an application or where to import it from, and `settings` are
    Gunicorn's, by their names; `config` is the configuration file, read before them. `run()` does not return: it raises
    SystemExit.
    """

    cfg: Any

    drains_on_int = False
    """Whether INT, as of Ctrl+C, is a graceful stop."""

    def __init__(self, app: Any = None, settings: Mapping[str, Any] | None = None, config: str | None = None) -> None:
        self._own_app = app
        self._own_settings = settings
        self._own_config_file = config
        super().__init__("%(prog)s [OPTIONS] [APP_MODULE]", prog=None)

    def load_default_config(self) -> None:
        """Gunicorn's defaults, but for the worker class."""
        super().load_default_config()
        self.cfg.set("worker_class", DEFAULT_WORKER)

    def load_config(self) -> None:
        """From the command line, or from what the constructor was given; called again at each HUP."""
        if self._own_settings is None and self._own_app is None:
            super().load_config()
            return
        if self._own_config_file is not None:
            self.load_config_from_file(self._own_config_file)
        for name, value in (self._own_settings or {}).items():
            if name not in self.cfg.settings:
                raise ConfigError(f"Gunicorn has no setting {name!r}")
            self.cfg.set(name, value)
        self.app_uri = self._own_app if isinstance(self._own_app, str) else self.cfg.wsgi_app
        if isinstance(self._own_app, str):
            self.cfg.set("default_proc_name", self._own_app)
        elif self._own_app is None and self.app_uri is None:
            raise ConfigError("no application is named")
        self.chdir()

    def load(self) -> Any:
        """The application; in a worker, or in the master with preload_app."""
        if self._own_app is not None and not isinstance(self._own_app, str):
            return self._own_app
        uri = self.app_uri
        if self.cfg.paste is None and isinstance(uri, str) and ":" in uri and not uri.endswith(")"):
            # With the nearest name where there is none of this one, and what Gunicorn asks of an application.
            found = import_name(uri, "app")
            if not callable(found):
                raise AppLoadError(f"app {uri!r}: {type(found).__name__} object is not callable")
            return found
        try:
            # A module alone, and the call of a factory, are Gunicorn's ways to name one.
            return super().load()
        except AppImportError as exc:
            raise AppLoadError(str(exc)) from None

    def reload(self) -> None:
        """Load the configuration again; raises SystemExit where it can't be loaded, with what there was kept."""
        before = self.cfg
        try:
            super().reload()
        except BaseException:
            self.cfg = before
            raise

    def run(self) -> None:
        """Serve until the end."""
        # Gunicorn's classes name their arbiter in a module, where their run() looks it up.
        from gunicorn.app import base

        usual = base.Arbiter
        base.Arbiter = Arbiter
        try:
            super().run()
        finally:
            base.Arbiter = usual
        sys.exit(0)
