"""Every fenced block of README and docs is what its info string says; the program that reads it is asked.

A block of a new language fails here until there is a reader for it.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gunicorn
import pytest
from gunicorn.config import Config as GunicornConfig

from tests.docs.blocks import ROOT, Block, blocks, commands
from tests.docs.programs import (
    check_apache,
    check_caddyfile,
    check_envoy,
    check_haproxy,
    check_lighttpd,
    check_nghttpx,
    check_nginx,
    check_vcl,
)
from tests.programs import find

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

yaml = pytest.importorskip("yaml")

pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="docs/ is not here")

# What fly.io and Railway know in the tables that pages use; Render's blueprint.
PLATFORM_KEYS = {
    "fly.toml": {"app", "kill_signal", "kill_timeout", "http_service"},
    "railway.toml": {"deploy"},
    "render.yaml": {"services"},
}


def is_configuration(block: Block) -> bool:
    """Whether Gunicorn reads it."""
    return block.title == "gunicorn.conf.py" or bool(re.search(r"(?m)^worker_class = ", block.text))


def check_python(block: Block, folder: Path) -> None:
    compile(block.text, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    if block.title.endswith(".py"):
        check_lint(block.text, folder)
    if is_configuration(block):
        check_configuration(block)


def check_lint(text: str, folder: Path) -> None:
    """What is called a file has all of its imports: no name is undefined."""
    program = find("ruff")
    if program is not None:
        (folder / "block.py").write_text(text)
        arguments = ["check", "--isolated", "--no-cache", "--quiet", "--select", "F,E9", "block.py"]
        done = subprocess.run(
            [program, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout


def check_configuration(block: Block) -> None:
    """Gunicorn takes each setting, and the worker class each option, as at a start."""
    names: dict[str, Any] = {"__file__": "gunicorn.conf.py", "__name__": "gunicorn_conf"}
    exec(compile(block.text, str(block), "exec"), names)  # noqa: S102 - it is ours
    config = GunicornConfig()
    # What a page does not repeat is named on the command line.
    config.set("worker_class", "uvicorn_worker.UvicornWorker")
    for name, value in names.items():
        if name in config.settings:
            if name not in FILES:
                set_as_newest(config, name, value)
        elif not name.startswith("__") and not callable(value) and not isinstance(value, type(os)):
            pytest.fail(f"{name} is no setting of Gunicorn's")
    chosen = config.worker_class
    chosen.check_config(config, None)


def set_as_newest(config: Any, name: str, value: Any) -> None:
    """Set it; what the pages show is of the newest Gunicorn, an older one may take another value (they say which)."""
    try:
        config.set(name, value)
    except ValueError:
        if gunicorn.version_info >= (27,):
            raise
        pytest.skip(f"this Gunicorn does not take {name} = {value!r}")


# Settings whose value must be there, on the machine that is configured.
FILES = {"certfile", "keyfile", "ca_certs", "chdir", "user", "group", "errorlog", "accesslog", "pidfile", "logconfig",
         "worker_tmp_dir"}  # fmt: skip


def check_console(block: Block, folder: Path) -> None:
    found = list(commands(block))
    assert found, "a console block shows a command behind $ or #"
    for command in found:
        done = subprocess.run(
            ["bash", "-n"], input=command.line, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
    del folder


def check_shell(block: Block, folder: Path) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    del folder


def check_toml(block: Block, folder: Path) -> None:
    table = tomllib.loads(block.text)
    if block.title in PLATFORM_KEYS:
        assert set(table) <= PLATFORM_KEYS[block.title]
        return
    (folder / "pyproject.toml").write_text(block.text)
    check = [sys.executable, "-c", "from uvicorn_worker.worker.settings import outer_options as o; print(list(o()))"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(check, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for name in table["tool"]["uvicorn"]:
        assert name.replace("-", "_") in done.stdout


def check_yaml(block: Block, folder: Path) -> None:
    for document in yaml.safe_load_all(block.text):
        if "static_resources" in document:
            check_envoy(block.text, folder)
        elif "apiVersion" in document:
            check_manifest(document)
        else:
            assert set(document) <= PLATFORM_KEYS[block.title]


def check_manifest(document: dict[str, Any]) -> None:
    assert {"apiVersion", "kind", "metadata", "spec"} <= set(document)
    try:
        schemas = importlib.import_module("kubernetes_validate")
    except ModuleNotFoundError:
        return
    schemas.validate(document, "1.31", strict=True)


def check_unit(block: Block, folder: Path) -> None:
    sections = re.findall(r"(?m)^\[(\w+)\]$", block.text)
    assert sections
    program = find("systemd-analyze")
    if program is None:
        return
    kind = Path(block.title).suffix
    assert kind in {".service", ".socket"}, "its title says what unit it is"
    gunicorn = Path(sys.executable).with_name("gunicorn")
    units = {name: folder / name for name in ("shop.service", "shop.socket")}
    for name, path in units.items():
        shutil.copy(ROOT / "examples" / "systemd" / name, path)
    units[f"shop{kind}"].write_text(block.text)
    service = units["shop.service"].read_text().replace("/srv/shop/.venv/bin/gunicorn", str(gunicorn))
    units["shop.service"].write_text(service)
    arguments = ["verify", "--man=no", *map(str, units.values())]
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert [line for line in done.stderr.splitlines() if "shop" in line] == []


def check_dockerfile(block: Block, folder: Path) -> None:
    text = block.text.replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if re.match(r"[A-Z]+ ", line)]
    words = [word for word, _ in lines]
    assert words[0] == "FROM"
    assert set(words) <= {"FROM", "RUN", "ENV", "COPY", "USER", "WORKDIR", "EXPOSE", "CMD", "STOPSIGNAL", "HEALTHCHECK"}
    assert "latest" not in text, "a version that is named is the same tomorrow"
    # Not as root, and TERM reaches Gunicorn.
    (user,) = [rest for word, rest in lines if word == "USER"]
    assert user.isdigit()
    assert user != "0"
    (command,) = [json.loads(rest) for word, rest in lines if word == "CMD"]
    assert command[0] == "gunicorn"
    assert "HEALTHCHECK" in words
    program = find("hadolint")
    if program is not None:
        (folder / "Dockerfile").write_text(block.text)
        arguments = ["--no-color", str(folder / "Dockerfile")]
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout


def check_json(block: Block, folder: Path) -> None:
    json.loads(block.text)
    del folder


def check_text(block: Block, folder: Path) -> None:
    """Lines of logs, drawings: what is in them is asked by tests of their pages."""
    assert block.text.strip()
    assert textwrap.dedent(block.text) == block.text or block.text.startswith(" ")
    del folder


READERS: dict[str, Callable[[Block, Path], None]] = {
    "python": check_python,
    "console": check_console,
    "sh": check_shell,
    "toml": check_toml,
    "yaml": check_yaml,
    "ini": check_unit,
    "dockerfile": check_dockerfile,
    "json": check_json,
    "text": check_text,
    "nginx": lambda block, folder: check_nginx(block.text, folder),
    "haproxy": lambda block, folder: check_haproxy(block.text, folder),
    "caddyfile": lambda block, folder: check_caddyfile(block.text, folder),
    "apache": lambda block, folder: check_apache(block.text, folder),
    "vcl": lambda block, folder: check_vcl(block.text, folder),
    "nghttpx": lambda block, folder: check_nghttpx(block.text, folder),
    "lighttpd": lambda block, folder: check_lighttpd(block.text, folder),
}


@pytest.mark.parametrize("block", blocks(), ids=str)
def test_block(block: Block, tmp_path: Path) -> None:
    assert block.language, "an info string that says what the block is"
    assert block.language in READERS, f"no reader for {block.language}"
    READERS[block.language](block, tmp_path)


def test_there_are_blocks_of_each_kind() -> None:
    """The reading itself: a fence that is not seen would be a test that is not run."""
    assert {block.language for block in blocks()} == set(READERS) - {"json"} | ({"json"} if blocks("json") else set())
    assert len(blocks()) > 120
