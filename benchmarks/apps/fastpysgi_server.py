"""FastPySGI has no command that fits the table: this is one, `APP PORT --workers N`."""

from __future__ import annotations

import importlib
import sys

import fastpysgi  # type: ignore[import-not-found]

application, port, _, workers = sys.argv[1:]
module, _, name = application.partition(":")
fastpysgi.server.loglevel = 0
fastpysgi.run(getattr(importlib.import_module(module), name), "127.0.0.1", int(port), workers=int(workers))
