"""FastPySGI has no command for a port and an application by name that fits the table: this is one."""

from __future__ import annotations

import importlib
import sys

import fastpysgi  # type: ignore[import-not-found]

module, _, name = sys.argv[1].partition(":")
fastpysgi.server.loglevel = 0
fastpysgi.run(getattr(importlib.import_module(module), name), "127.0.0.1", int(sys.argv[2]), workers=1)
