"""Files as WSGI frameworks send them; `/calls` says how often the kernel has sent one, and how much, since then."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import flask
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse
from django.urls import path

from uvicorn_worker.http1 import kernel_sending

FILE = Path(os.environ["E2E_DIR"]) / "download.bin"
sent: list[int] = []


def counted(out: int, file: int, offset: int, count: int) -> int:
    number = os.sendfile(out, file, offset, count)
    sent.append(number)
    return number


kernel_sending._sendfile = counted


def of_django(request: Any) -> FileResponse:
    return FileResponse(FILE.open("rb"))


settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="none")
urlpatterns = [path("django", of_django)]
django_app = get_wsgi_application()
flask_app = flask.Flask(__name__)


@flask_app.route("/flask")
def of_flask() -> flask.Response:
    return flask.send_file(FILE, conditional=True)


def app(environ: dict[str, Any], start_response: Any) -> Any:
    where = environ["PATH_INFO"]
    if where == "/django":
        return django_app(environ, start_response)
    if where == "/flask":
        return flask_app(environ, start_response)
    seen = json.dumps([len(sent), sum(sent)]).encode()
    sent.clear()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(seen)))])
    return [seen]
