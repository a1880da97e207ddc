from __future__ import annotations

from fastapi_grid import app
from nicegui import ui
from starlette_grid import app as _routes  # noqa: F401 - to have it imported


@ui.page("/page")
def page() -> None:
    ui.label("hello grid")


ui.run_with(app, storage_secret="grid")
