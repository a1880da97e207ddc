"""What is tried: the packages of each framework, the application that uses it, and what it has not."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ENTRIES", "FEATURES", "Entry"]

#: The columns of the grid; `tests.grid.checks` has a function for each.
FEATURES = (
    "routing",
    "stream",
    "upload",
    "SSE",
    "WebSocket",
    "lifespan",
    "error",
    "background",
    "client leaves",
    "own client",
    "reload",
    "stop",
)


@dataclass(frozen=True)
class Entry:
    """A framework. `packages` begins with the one that it is known by; `lacks` are features that it does not have."""

    name: str
    packages: tuple[str, ...]
    app: str
    lacks: frozenset[str] = frozenset()
    #: Options of Gunicorn beside the worker class.
    options: tuple[str, ...] = ()
    #: A script in `clients/`, run with the framework's environment and the server's address.
    client: str = ""
    #: The path that is asked for where there are no routes of ours.
    path: str = "/hello/grid"
    answers: str = "hello grid"
    #: What else is to be said.
    note: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def lacks(*features: str) -> frozenset[str]:
    return frozenset(features)


_ONLY_ITS_OWN = lacks("stream", "upload", "SSE", "WebSocket", "error", "background", "client leaves")

ENTRIES = (
    Entry("plain ASGI", (), "plain_grid:app"),
    Entry("FastAPI", ("fastapi",), "fastapi_grid:app"),
    Entry(
        "FastAPI of 2023",
        (
            "fastapi==0.95.2",
            "pydantic==1.10.13",
            "starlette==0.27.0",
            "anyio==3.7.1",
            "python-multipart==0.0.6",
            "gunicorn==20.1.0",
            "setuptools<81",
            "uvloop==0.17.0",
            "httptools==0.5.0",
            "h11==0.14.0",
            "h2==4.1.0",
            "hpack==4.0.0",
            "websockets==10.4",
        ),
        "fastapi_grid:app",
        note="With Python 3.11, Gunicorn 20.1 and other packages of then, as an application has them that was pinned.",
    ),
    Entry("Starlette", ("starlette",), "starlette_grid:app"),
    Entry("Starlette before 1", ("starlette<1",), "starlette_grid:app"),
    Entry("Starlette 0.37", ("starlette<0.38",), "starlette_grid:app", note="Before it looked at the spec version."),
    Entry("Django", ("django",), "django_grid:app", lacks("WebSocket", "lifespan", "background")),
    Entry("Channels", ("channels", "django"), "django_grid:app", lacks("lifespan", "background")),
    Entry("Litestar", ("litestar",), "litestar_grid:app"),
    Entry("Quart", ("quart",), "quart_grid:app", environment={"QUART_MAX_CONTENT_LENGTH": "0"}),
    Entry("BlackSheep", ("blacksheep",), "blacksheep_grid:app", lacks("background")),
    Entry("Sanic", ("sanic",), "sanic_grid:app", note="In its ASGI mode."),
    Entry("Falcon", ("falcon",), "falcon_grid:app"),
    Entry("Connexion", ("connexion",), "connexion_grid:app", lacks("WebSocket", "background"), note="`AsyncApp`."),
    Entry(
        "Strawberry",
        ("strawberry-graphql", "starlette", "httpx", "websockets"),
        "strawberry_grid:app",
        client="strawberry_client.py",
        note="Its own client: queries, and a subscription over a WebSocket that the client leaves.",
    ),
    Entry(
        "python-socketio",
        ("python-socketio", "starlette", "aiohttp"),
        "socketio_grid:app",
        client="socketio_client.py",
        note="Its own client: events and answers by polling, by WebSocket, and by an upgrade from one to the other.",
    ),
    Entry("sse-starlette", ("sse-starlette", "starlette"), "sse_starlette_grid:app"),
    Entry(
        "MCP SDK",
        ("mcp",),
        "mcp_grid:app",
        _ONLY_ITS_OWN,
        client="mcp_client.py",
        note="Its own client: a tool with progress, over streamable HTTP and over SSE.",
    ),
    Entry(
        "Datasette",
        ("datasette",),
        "datasette_grid:app",
        _ONLY_ITS_OWN | lacks("lifespan"),
        path="/_memory.json?sql=select+42",
        answers="42",
    ),
    Entry(
        "NiceGUI",
        ("nicegui", "aiohttp"),
        "nicegui_grid:app",
        client="nicegui_client.py",
        note="Its own client: the page, and its socket.io connection.",
    ),
    Entry(
        "Gradio",
        ("gradio", "gradio_client"),
        "gradio_grid:app",
        client="gradio_client_script.py",
        note="Its own client: a generator's pieces over SSE.",
    ),
    Entry(
        "Flask",
        ("flask",),
        "flask_grid:app",
        lacks("WebSocket", "lifespan"),
        options=("--env", "UVICORN_INTERFACE=wsgi"),
        note="By the option `interface = wsgi`.",
    ),
)

#: Those that run in CI, within two minutes.
IN_CI = ("FastAPI", "FastAPI of 2023", "Django", "Litestar", "Quart", "sse-starlette")
