"""Which application is meant where none is named: by reading files, without running them."""

from __future__ import annotations

from pathlib import Path

import pytest

from uvicorn_worker.cli.discovery import Discovered, discover
from uvicorn_worker.core.errors import ConfigError


def write(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"main.py": "app = object()"}, Discovered("main:app", "main.py")),
        ({"app.py": "application: object = 1"}, Discovered("app:application", "app.py")),
        ({"asgi.py": "from shop import api"}, Discovered("asgi:api", "asgi.py")),
        ({"main.py": "async def app(scope, receive, send): ..."}, Discovered("main:app", "main.py")),
        ({"main.py": "class app: ..."}, Discovered("main:app", "main.py")),
        ({"main.py": "def create_app(): ..."}, Discovered("main:create_app", "main.py", factory=True)),
        ({"main.py": "create_app = 1", "app.py": "app = 1"}, Discovered("app:app", "app.py")),
        ({"main.py": "app = Flask(__name__)"}, Discovered("main:app", "main.py", wsgi=True)),
        ({"main.py": "app = flask.Flask(__name__)"}, Discovered("main:app", "main.py", wsgi=True)),
        ({"main.py": "app = make()()"}, Discovered("main:app", "main.py")),
        (
            {"wsgi.py": "application = get_wsgi_application()"},
            Discovered("wsgi:application", "wsgi.py", wsgi=True),
        ),
        ({"main.py": "def app(environ, start_response): ..."}, Discovered("main:app", "main.py", wsgi=True)),
        ({"app/main.py": "app = 1"}, Discovered("app.main:app", "app/main.py")),
        ({"app/__init__.py": "app = 1"}, Discovered("app:app", "app/__init__.py")),
        # Its import will say what is wrong.
        ({"main.py": "app = ("}, Discovered("main:app", "main.py")),
        (
            {"pyproject.toml": "[tool.uvicorn]\napp = 'a:b'", "main.py": "app = 1"},
            Discovered("a:b", "[tool.uvicorn] in pyproject.toml"),
        ),
        (
            {"pyproject.toml": "[tool.fastapi]\nentrypoint = 'a:b'"},
            Discovered("a:b", "[tool.fastapi] in pyproject.toml"),
        ),
        ({"pyproject.toml": "[tool.uvicorn]\nport = 1", "main.py": "app = 1"}, Discovered("main:app", "main.py")),
        ({"pyproject.toml": "tool = 1", "main.py": "app = 1"}, Discovered("main:app", "main.py")),
        ({"pyproject.toml": "[tool]\nuvicorn = 1", "main.py": "app = 1"}, Discovered("main:app", "main.py")),
        ({"pyproject.toml": "[", "main.py": "app = 1"}, Discovered("main:app", "main.py")),
    ],
)
def test_what_is_found(tmp_path: Path, files: dict[str, str], found: Discovered) -> None:
    assert discover(write(tmp_path, files)) == found


@pytest.mark.parametrize("files", [{}, {"main.py": "x = 1\nprint('not run')"}, {"other.py": "app = 1"}])
def test_where_there_is_none_the_line_says_what_was_looked_for(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"none was found in .*main\.py, app\.py.*uvicorn-worker main:app"):
        discover(write(tmp_path, files))
