"""The shape of the package: which module may import which, what is private, what is public, what is required.

The rooms import in one direction only, as `LEVELS` in tests/rooms.py says; imports that only type checkers carry out
count as others do. Rooms on one level do not know each other. The root of the package hands out the public names and
may know every room, but loads the core alone until another is asked for.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import uvicorn_worker
from tests.rooms import LEVEL_OF, STARTS
from uvicorn_worker.core.runtime import Runtime

PACKAGE = Path(uvicorn_worker.__file__).parent
ROOT = "uvicorn_worker"

# Gunicorn's side: no other room may import it.
GUNICORNS = {"master", "worker"}

MOST_LINES = 600

# Packages that an option needs, and that are imported where it is used.
EXTRAS = {"dotenv", "watchfiles", "yaml"}

# What breaks a rule today. Whoever mends it takes it off: a test fails on an entry that is no longer needed.
KNOWN_LONG: set[str] = set()
KNOWN_CIRCLES: set[str] = set()
KNOWN_PRIVATE: set[str] = set()
KNOWN_ASSIGNED: set[str] = set()


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
        return not found.at_load or imported == "core"
    if imported == ROOT:
        # Only the outermost rooms may take something from the root (its version, say): the others are below it.
        return LEVEL_OF[importer] == 0
    return LEVEL_OF[importer] < LEVEL_OF[imported] or (importer, imported) in STARTS


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


def circles(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """The circles of a graph of imports, each once; taken out of it one after the other."""
    left = {name: set(imported) for name, imported in graph.items()}
    found = []
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as exc:
            # Each imports the one before it.
            way = exc.args[1][::-1]
            found.append(" -> ".join(way))
            left[way[0]].discard(way[1])
        else:
            return found


def package_of(circle: str) -> str:
    return circle.partition(" -> ")[0].rpartition(".")[0]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names_of(tree: ast.AST) -> set[str]:
    """The private names that a module defines: functions, classes, variables, and attributes of `self`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            names.add(node.attr)
    return set(filter(is_private, names))


def is_standard(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in sys.stdlib_module_names


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def private_uses(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The private attributes that a module reads or writes; those of modules of the standard library are left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_standard(node.value):
            yield node.attr, node.lineno


def private_imports(tree: ast.AST) -> list[str]:
    return [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and top(node.module or ROOT) == ROOT
        for alias in node.names
        if is_private(alias.name)
    ]


def assigned_to_runtime(tree: ast.AST) -> set[str]:
    """The attributes of a `Runtime` that a module assigns or deletes."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del)):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if name.lstrip("_").removeprefix("own_") == "runtime":
                found.add(node.attr)
    return found


def too_long(lines: Mapping[str, int]) -> set[str]:
    return {name for name, count in lines.items() if count > MOST_LINES}


def strangers(trees: Mapping[str, ast.AST]) -> list[str]:
    """The uses of private names in rooms that do not define them."""
    homes: dict[str, set[str]] = defaultdict(set)
    for name, tree in trees.items():
        for private in private_names_of(tree):
            homes[private].add(room(name))
    return [
        f"{name}, line {line}: {private} belongs to {sorted(homes[private])}"
        for name, tree in trees.items()
        for private, line in private_uses(tree)
        if private not in KNOWN_PRIVATE and room(name) not in homes[private]
    ]


def unnamed(trees: Mapping[str, ast.AST], named: frozenset[str]) -> set[str]:
    """The attributes of a `Runtime` that are assigned outside of `core`, and are not named there."""
    return {
        f"{name}: runtime.{attribute}"
        for name, tree in trees.items()
        if room(name) != "core"
        for attribute in assigned_to_runtime(tree) - named - KNOWN_ASSIGNED
    }


def run_python(code: str) -> str:
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


class TestImports:
    def test_every_room_has_a_level(self) -> None:
        assert {room(name) for name in MODULES} - {ROOT} <= set(LEVEL_OF)

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
            ("uvicorn_worker.proxies.trust", "from uvicorn_worker.tls import extension"),
            ("uvicorn_worker.cli", "import uvicorn_worker.worker"),
        ],
    )
    def test_a_wrong_arrow_is_found(self, name: str, source: str) -> None:
        assert wrong(name, source)

    def test_the_root_knows_the_rooms_only_lazily(self) -> None:
        lazily = "def __getattr__(name):\n    from uvicorn_worker import worker"
        for_types = "if TYPE_CHECKING:\n    from uvicorn_worker.worker import UvicornWorker"
        assert not wrong(ROOT, lazily, is_package=True)
        assert not wrong(ROOT, for_types, is_package=True)
        assert not wrong(ROOT, "from .core.config import Config", is_package=True)
        for at_once in ("from .worker import UvicornWorker", "from .server import Server"):
            assert wrong(ROOT, at_once, is_package=True)

    def test_gunicorn_is_imported_on_its_side_only(self) -> None:
        importers = {room(found.importer) for found in IMPORTS if top(found.imported) == "gunicorn"}
        assert "worker" in importers
        assert importers <= GUNICORNS

    def test_nothing_is_imported_that_is_not_required(self) -> None:
        imported = {top(found.imported) for found in IMPORTS}
        # Python 3.11 has a module that Python 3.10 requires a package for, and PyPy goes without the extensions in C.
        elsewhere = [*required(python_version="3.10"), *required(platform_python_implementation="CPython")]
        allowed = {ROOT, *sys.stdlib_module_names, "tomllib", *required(), *elsewhere}
        assert imported - allowed == EXTRAS
        assert not any(found.at_load for found in IMPORTS if top(found.imported) in EXTRAS)

    def test_what_reads_imports_alone_finds_all(self) -> None:
        """PyInstaller and others of its kind leave out what nobody imports by a statement."""
        imported = {found.imported for found in IMPORTS}
        assert {f"{ROOT}.{name}" for name in uvicorn_worker._PARALLELS} <= imported
        assert {"uvloop", "httptools", *EXTRAS} <= {top(name) for name in imported}

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


GRAPH = {
    name: {found.imported for found in IMPORTS if found.importer == name and found.imported in MODULES}
    for name in MODULES
    if name != ROOT
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


class TestModules:
    def test_none_imports_itself_by_a_circle(self) -> None:
        # Whether the import is for types only makes no difference: who reads the one must read the other.
        assert [circle for circle in circles(GRAPH) if package_of(circle) not in KNOWN_CIRCLES] == []

    def test_a_circle_is_found(self) -> None:
        assert circles({"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": []}) in (
            ["a -> b -> c -> a"],
            ["b -> c -> a -> b"],
            ["c -> a -> b -> c"],
        )
        assert circles({"a": ["b", "c"], "b": ["c"], "c": []}) == []

    def test_none_is_long(self) -> None:
        lines = {name: path.read_bytes().count(b"\n") for name, path in MODULES.items()}
        assert too_long(lines) - KNOWN_LONG == set()

    def test_a_long_one_is_found(self) -> None:
        assert too_long({"a": MOST_LINES, "b": MOST_LINES + 1}) == {"b"}


class TestPrivateNames:
    def test_none_is_imported(self) -> None:
        assert {name: found for name, tree in TREES.items() if (found := private_imports(tree))} == {}

    def test_none_is_used_across_rooms(self) -> None:
        assert strangers(TREES) == []

    def test_a_stranger_is_found(self) -> None:
        trees = {
            "uvicorn_worker.http1.one": ast.parse("def f(self):\n    self._kept = 1"),
            "uvicorn_worker.http1.two": ast.parse("one._kept"),
            "uvicorn_worker.server.three": ast.parse("one.one._kept"),
        }
        assert strangers(trees) == ["uvicorn_worker.server.three, line 1: _kept belongs to ['http1']"]

    def test_a_use_is_found(self) -> None:
        source = (
            "import os\nfrom uvicorn_worker.core import _one\nos._exit(0)\nother._two = connection._three\nself._four()"
        )
        tree = ast.parse(source)
        assert private_imports(tree) == ["_one"]
        assert sorted(private_uses(tree)) == [("_four", 5), ("_three", 4), ("_two", 4)]


class TestRuntime:
    def test_what_is_assigned_outside_of_core_is_named_there(self) -> None:
        assert unnamed(TREES, Runtime.STATES) == set()

    def test_what_is_named_is_assigned(self) -> None:
        assigned = {
            attribute for name, tree in TREES.items() if room(name) != "core" for attribute in assigned_to_runtime(tree)
        }
        assert Runtime.STATES - assigned == set()
        assert set(Runtime.__slots__) >= Runtime.STATES

    def test_an_assignment_is_found(self) -> None:
        source = "runtime.a = 1\nself._runtime.b += 1\ndel connection.runtime.c\nruntime.d, x = 1, 2\nruntime.e.f = 1"
        assert assigned_to_runtime(ast.parse(source)) == {"a", "b", "c", "d"}
        trees: dict[str, ast.AST] = {
            f"{ROOT}.{each}.one": ast.parse("runtime.a = runtime.b = 1") for each in ("core", "server")
        }
        assert unnamed(trees, frozenset(["b"])) == {f"{ROOT}.server.one: runtime.a"}


class TestKnown:
    """An exception that is no longer needed is taken off, so that the lists end empty."""

    def test_long_modules(self) -> None:
        assert {name for name in KNOWN_LONG if MODULES[name].read_bytes().count(b"\n") <= MOST_LINES} == set()

    def test_circles(self) -> None:
        assert KNOWN_CIRCLES - {package_of(circle) for circle in circles(GRAPH)} == set()

    def test_private_names(self) -> None:
        used = {private for tree in TREES.values() for private, _ in private_uses(tree)}
        assert KNOWN_PRIVATE - used == set()

    def test_assigned(self) -> None:
        assigned = {a for name, tree in TREES.items() if room(name) != "core" for a in assigned_to_runtime(tree)}
        assert KNOWN_ASSIGNED - assigned == set()


def requirements() -> list[Requirement]:
    """What a plain installation requires, extras left out."""
    lines = importlib.metadata.requires("uvicorn-worker") or []
    return [requirement for requirement in map(Requirement, lines) if "extra" not in str(requirement.marker)]


def required(**environment: str) -> set[str]:
    """The names that are required in an environment; what `environment` leaves out is taken from this one."""
    return {item.name for item in requirements() if item.marker is None or item.marker.evaluate(environment)}


class TestDistribution:
    def test_its_version_is_that_of_the_package(self) -> None:
        # An editable installation goes on telling the version that it was made at.
        installed = importlib.metadata.distribution("uvicorn-worker")
        if Path(str(installed.locate_file(ROOT))).resolve() == PACKAGE.resolve():
            assert installed.version == uvicorn_worker.__version__

    def test_the_changelog_begins_with_its_version(self) -> None:
        changelog = Path(__file__).parent.parent / "CHANGELOG.md"
        if not changelog.exists():
            pytest.skip("these tests run beside an installed package")
        newest = re.search(r"^## \[(.*?)\]", changelog.read_text("utf-8"), re.MULTILINE)
        assert newest is not None
        assert newest[1] == uvicorn_worker.__version__

    def test_on_cpython_everything_is_required(self) -> None:
        names = required(sys_platform="linux", platform_python_implementation="CPython", python_version="3.11")
        assert names == {"gunicorn", "h11", "h2", "hpack", "httptools", "uvloop", "websockets"}

    def test_windows_does_without_uvloop(self) -> None:
        names = required(sys_platform="win32", platform_python_implementation="CPython", python_version="3.11")
        assert names == {"gunicorn", "h11", "h2", "hpack", "httptools", "websockets"}

    def test_pypy_does_without_c_extensions(self) -> None:
        names = required(sys_platform="linux", platform_python_implementation="PyPy", python_version="3.11")
        assert names == {"gunicorn", "h11", "h2", "hpack", "websockets"}

    @pytest.mark.parametrize(
        "pinned",
        [
            # As applications have them that were pinned in 2022 and 2023.
            {"gunicorn": "20.1.0", "h11": "0.14.0", "httptools": "0.5.0", "uvloop": "0.17.0", "websockets": "10.4"},
            {"gunicorn": "21.2.0", "h2": "4.1.0", "hpack": "4.0.0", "httptools": "0.6.1", "websockets": "12.0"},
            {"gunicorn": "27.0.1", "h11": "0.16.0", "h2": "4.4.1", "uvloop": "0.23.0", "websockets": "17.4"},
        ],
    )
    def test_what_others_pin_is_allowed(self, pinned: dict[str, str]) -> None:
        allowed = {item.name: item.specifier for item in requirements()}
        assert {name: version for name, version in pinned.items() if version not in allowed[name]} == {}

    def test_python_from_3_10_on(self) -> None:
        assert importlib.metadata.metadata("uvicorn-worker")["Requires-Python"] == ">=3.10"
