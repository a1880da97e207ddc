"""What mkdocs does beside mkdocs.yml: the reference of the API is made by mkdocstrings, where that is installed."""

from __future__ import annotations

import logging
from importlib.metadata import entry_points
from typing import Any

_OPTIONS = {
    "docstring_style": None,
    "filters": ["!^_"],
    "heading_level": 2,
    "members_order": "source",
    "separate_signature": True,
    "show_root_full_path": False,
    "show_root_heading": True,
    "show_signature_annotations": True,
    "show_source": False,
}


def on_config(config: Any) -> Any:
    """The pages can be built and checked without it: then the reference has its headings alone."""
    found = list(entry_points(group="mkdocs.plugins", name="mkdocstrings"))
    if not found:
        logging.getLogger("mkdocs.hooks").info("mkdocstrings is not installed (extra `docs`): docs/api.md stays empty")
        return config
    plugin = found[0].load()()
    plugin.load_config({"handlers": {"python": {"paths": ["."], "options": _OPTIONS}}}, config.config_file_path)
    # Its own on_config runs after this one, as that of any plugin.
    config.plugins["mkdocstrings"] = plugin
    return config
