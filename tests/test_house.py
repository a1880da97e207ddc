"""The shape of the package: which module may import which, what is public, what is required.

The rooms import in one direction only:

    cli, master, worker -> server -> switching -> http1, http2, websocket, interfaces -> proxies, tls, logs -> core

Rooms on one level do not know each other. The root of the package hands
out the public names and may know every room, but touches the worker only when one of its classes is asked for.
"""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import uvicorn_worker

PACKAGE = Path(uvicorn_worker.__file__).parent
ROOT = "uvicorn_worker"

# A room may import those of a higher number.
LEVELS = {
    **dict.fromkeys(["__main__", "cli", "master", "worker"], 0),
    "server": 1,
    "switching": 2,
    **dict.fromkeys(["http1", "http2", "websocket", "interfaces"], 3),
    **dict.fromkeys(["proxies", "tls", "logs"], 4),
    "core": 5,
}


@dataclass(frozen=True)
class Import:
    importer: str  # dotted name of the module that imports
    imported: str  # dotted name of the module that is imported
    at_load: bool  # carried out when the importer is loaded, not in a function and not for type checkers only
    line: int

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: imports {self.imported}"


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def walk(node: ast.AST, at_load: bool = True) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """All import statements below `node`, with whether loading the module carries them out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, at_load
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from walk(child, at_load=False)
        elif isinstance(child, ast.If) and is_type_checking(child.test):
            yield from walk(ast.Module(body=child.body, type_ignores=[]), at_load=False)
            yield from walk(ast.Module(body=child.orelse, type_ignores=[]), at_load)
        else:
            yield from walk(child, at_load)


def imports_of(name: str, source: str, *, is_package: bool) -> Iterator[Import]:
    package = name if is_package else name.rpartition(".")[0]
    for node, at_load in walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, at_load, node.lineno)
            continue
        base = node.module or ""
        if node.level:
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parents, *filter(None, [node.module])])
        for alias in node.names:
            # `from package import module` imports the module.
            below = f"{base}.{alias.name}"
            yield Import(name, below if below in MODULES else base, at_load, node.lineno)


def all_imports() -> list[Import]:
    return [
        found
        for name, path in MODULES.items()
        for found in imports_of(name, path.read_text(encoding="utf-8"), is_package=path.name == "__init__.py")
    ]


IMPORTS = all_imports()


def top(name: str) -> str:
    return name.partition(".")[0]


def room(name: str) -> str:
    """The room of one of our modules; the root of the package is a room of its own."""
    return name.split(".")[1] if "." in name else ROOT


def is_allowed(found: Import) -> bool:
    if top(found.imported) != ROOT:
        return True
    importer, imported = room(found.importer), room(found.imported)
    if importer == imported:
        return True
    if importer == ROOT:
        return not (imported in ("worker", "cli", "__main__") and found.at_load)
    if imported == ROOT:
        # Only the outermost rooms may take something from the root (its version, say): the others are below it.
        return LEVELS[importer] == 0
    if importer == "__main__":
        return imported == "cli"
    return LEVELS[importer] < LEVELS[imported]


def wrong(name: str, source: str, *, is_package: bool = False) -> bool:
    return not all(is_allowed(found) for found in imports_of(name, source, is_package=is_package))


def loaded_with(*names: str) -> set[str]:
    """Everything that is loaded when the modules `names` are, inside and outside of the package."""
    loaded: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in loaded:
            continue
        loaded.add(name)
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        waiting += [found.imported for found in IMPORTS if found.importer == name and found.at_load]
    return loaded


def run_python(code: str) -> str:
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


class TestImports:
    def test_every_room_has_a_level(self) -> None:
        assert {room(name) for name in MODULES} - {ROOT} <= set(LEVELS)

    def test_the_arrows_point_one_way(self) -> None:
        assert [str(found) for found in IMPORTS if not is_allowed(found)] == []

    @pytest.mark.parametrize(
        ("name", "source"),
        [
            ("uvicorn_worker.core.config", "from uvicorn_worker.server import Server"),
            ("uvicorn_worker.http1.protocol", "from ..server import server"),
            ("uvicorn_worker.http1.protocol", "import uvicorn_worker.http2"),
            ("uvicorn_worker.http1.protocol", "def later():\n    from uvicorn_worker import worker"),
            ("uvicorn_worker.server.server", "from uvicorn_worker import Config"),
            ("uvicorn_worker.server.server", "if TYPE_CHECKING:\n    from uvicorn_worker.worker import UvicornWorker"),
            ("uvicorn_worker.cli", "import uvicorn_worker.worker"),
        ],
    )
    def test_a_wrong_arrow_is_found(self, name: str, source: str) -> None:
        assert wrong(name, source)

    def test_the_root_knows_the_worker_only_lazily(self) -> None:
        lazily = "def __getattr__(name):\n    from uvicorn_worker import worker"
        for_types = "if TYPE_CHECKING:\n    from uvicorn_worker.worker import UvicornWorker"
        assert not wrong(ROOT, lazily, is_package=True)
        assert not wrong(ROOT, for_types, is_package=True)
        assert wrong(ROOT, "from .worker import UvicornWorker", is_package=True)

    def test_gunicorn_is_imported_by_the_worker_only(self) -> None:
        importers = {room(found.importer) for found in IMPORTS if top(found.imported) == "gunicorn"}
        assert importers == {"worker"}

    def test_nothing_is_imported_that_is_not_required(self) -> None:
        imported = {top(found.imported) for found in IMPORTS}
        allowed = {ROOT, *sys.stdlib_module_names, *required(), *required(python_version="3.10")}
        assert imported - allowed == set()

    def test_the_h11_worker_loads_no_c_extension(self) -> None:
        assert not {"uvloop", "httptools"} & {top(name) for name in loaded_with("uvicorn_worker.worker")}

    def test_the_h11_worker_imports_where_there_are_none(self) -> None:
        blocked = "import sys; sys.modules['uvloop'] = sys.modules['httptools'] = None; "
        assert run_python(blocked + "from uvicorn_worker import UvicornH11Worker as W; print(W.__name__)") == (
            "UvicornH11Worker"
        )

    def test_config_and_server_load_neither_gunicorn_nor_uvloop(self) -> None:
        code = "import sys; from uvicorn_worker import Config, Server; print({'gunicorn', 'uvloop'} & set(sys.modules))"
        assert run_python(code) == "set()"


class TestPublicNames:
    def test_they_are_these(self) -> None:
        assert uvicorn_worker.__all__ == ["Config", "Server", "UvicornH2CWorker", "UvicornH11Worker", "UvicornWorker"]

    def test_each_of_them_is_there(self) -> None:
        assert all(isinstance(getattr(uvicorn_worker, name), type) for name in uvicorn_worker.__all__)

    def test_another_name_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match="UvicornH3Worker"):
            _ = uvicorn_worker.UvicornH3Worker

    def test_the_package_says_that_it_is_typed(self) -> None:
        assert (PACKAGE / "py.typed").exists()


def requirements() -> list[Requirement]:
    """What a plain installation requires, extras left out."""
    lines = importlib.metadata.requires("uvicorn-worker") or []
    return [requirement for requirement in map(Requirement, lines) if "extra" not in str(requirement.marker)]


def required(**environment: str) -> set[str]:
    """The names that are required in an environment; what `environment` leaves out is taken from this one."""
    return {item.name for item in requirements() if item.marker is None or item.marker.evaluate(environment)}


class TestDistribution:
    def test_its_version_is_that_of_the_package(self) -> None:
        assert importlib.metadata.version("uvicorn-worker") == uvicorn_worker.__version__

    def test_on_cpython_everything_is_required(self) -> None:
        names = required(sys_platform="linux", platform_python_implementation="CPython", python_version="3.11")
        assert names == {"gunicorn", "h11", "h2", "hpack", "httptools", "uvloop", "websockets"}

    def test_windows_does_without_uvloop(self) -> None:
        names = required(sys_platform="win32", platform_python_implementation="CPython", python_version="3.11")
        assert names == {"gunicorn", "h11", "h2", "hpack", "httptools", "websockets"}

    def test_pypy_does_without_c_extensions(self) -> None:
        names = required(sys_platform="linux", platform_python_implementation="PyPy")
        assert names == {"gunicorn", "h11", "h2", "hpack", "websockets"}

    def test_gunicorn_from_23_on(self) -> None:
        (gunicorn,) = (item for item in requirements() if item.name == "gunicorn")
        assert [version in gunicorn.specifier for version in ("22.0.0", "23.0.0", "27.0.1")] == [False, True, True]

    def test_python_from_3_10_on(self) -> None:
        assert importlib.metadata.metadata("uvicorn-worker")["Requires-Python"] == ">=3.10"
