"""Whether what is imported is this package alone, and not a mixture with PyPI's package of the same name.

Both are called uvicorn-worker and have a folder uvicorn_worker. pip replaces the one by the other; but `--target`, an
image built of layers or a copy lay them over each other, and then the files of one serve under the metadata of both.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["mixture"]

_NAME = "uvicorn-worker"
_FOLDER = Path(__file__).resolve().parent.parent


def mixture(folder: Path = _FOLDER) -> str:
    """A line that says that files of two packages lie over each other in this folder; empty where they do not."""
    versions = _versions(folder)
    if len(versions) > 1:
        found = f"{' and '.join(versions)} of {_NAME} are installed over each other"
    elif _is_foreign(folder / "_workers.py"):
        found = f"files of another package called {_NAME} lie among these"
    else:
        return ""
    return f"{found} in {folder}: remove that folder and each {_NAME} of `pip list`, and install one of them"


def _versions(folder: Path) -> list[str]:
    """The versions that are described beside this folder, where there may be several."""
    try:
        names = [name.lower().replace("-", "_") for name in os.listdir(folder.parent)]
    except OSError:
        return []
    if sum(name.startswith("uvicorn_worker") and name.endswith("_info") for name in names) < 2:
        # To ask the metadata takes ten times as long, at each start.
        return []
    from importlib import metadata

    return sorted(
        {
            item.version
            for item in metadata.distributions(name=_NAME)
            if Path(str(item.locate_file(folder.name))).resolve() == folder
        }
    )


def _is_foreign(module: Path) -> bool:
    """Whether it is the module in which PyPI's package has its classes; ours of this name only passes on."""
    try:
        return b"from uvicorn." in module.read_bytes()
    except OSError:
        return False
