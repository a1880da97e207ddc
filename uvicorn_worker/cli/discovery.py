"""Which application is meant where none is named.

    [tool.uvicorn] app, [tool.fastapi] entrypoint, in pyproject.toml
    main.py, app.py, api.py, asgi.py, wsgi.py; then the first three of these in a folder app or src

Files are read and not run: what counts is a name that is assigned or defined at the top.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uvicorn_worker.core.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Discovered", "discover"]

_FILES = (
    "main.py", "app.py", "api.py", "asgi.py", "wsgi.py", "app/main.py", "app/app.py", "app/api.py", "app/asgi.py",
    "src/main.py", "src/app.py", "app/__init__.py",
)  # fmt: skip
_NAMES = ("app", "application", "api", "asgi")
_MAKE_WSGI = ("Flask", "get_wsgi_application", "Bottle")
_FACTORIES = ("create_app", "make_app", "get_app", "create_application", "build_app")


@dataclass(frozen=True)
class Discovered:
    """An application's name, how it is called, and where it was found."""

    app: str
    source: str
    factory: bool = False
    wsgi: bool = False


def discover(folder: str = ".") -> Discovered:
    """What a folder has to serve; raises `ConfigError` where there is nothing."""
    base = Path(folder)
    found = _from_pyproject(base)
    if found is not None:
        return found
    for name in _FILES:
        path = base / name
        if path.is_file() and (found := _from_file(path, name)) is not None:
            return found
    raise ConfigError(
        f"no application is named, and none was found in {base.absolute()}: [tool.uvicorn] app in pyproject.toml, "
        f"{', '.join(_FILES[:5])} with {', '.join(_NAMES)} were looked for. Name it, as in: uvicorn-worker main:app"
    )


def _from_pyproject(base: Path) -> Discovered | None:
    try:
        table: Any = tomllib.loads((base / "pyproject.toml").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    for tool, key in (("uvicorn", "app"), ("fastapi", "entrypoint")):
        section = table.get("tool", {})
        section = section.get(tool, {}) if isinstance(section, dict) else {}
        name = section.get(key) if isinstance(section, dict) else None
        if isinstance(name, str) and name:
            return Discovered(name, f"[tool.{tool}] in pyproject.toml")
    return None


def _from_file(path: Path, name: str) -> Discovered | None:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        # It may be the one that is meant: its import will say what is wrong with it.
        return Discovered(f"{_module(name)}:app", name)
    known = _defined(tree)
    module = _module(name)
    for each in _NAMES:
        if each in known:
            return Discovered(f"{module}:{each}", name, wsgi=_is_wsgi(tree, each))
    for each in _FACTORIES:
        if known.get(each) == "function":
            return Discovered(f"{module}:{each}", name, factory=True)
    return None


def _module(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _defined(tree: ast.Module) -> dict[str, str]:
    """The names at the top of a module, and what they are."""
    known: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            known[node.name] = "function"
        elif isinstance(node, ast.ClassDef):
            known[node.name] = "class"
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            known.update((target.id, "value") for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            known.update((alias.asname or alias.name, "import") for alias in node.names)
    return known


def _is_wsgi(tree: ast.Module, name: str) -> bool:
    """Whether it is made by a call of Flask or of Django's get_wsgi_application, or takes what WSGI gives."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return isinstance(node.value, ast.Call) and _last_name(node.value.func) in _MAKE_WSGI
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return [argument.arg for argument in node.args.args] == ["environ", "start_response"]
    return False


def _last_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
