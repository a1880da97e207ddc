from __future__ import annotations

import gradio
from fastapi_grid import app as routes


def greet(name: str):
    yield f"hel {name}"
    yield f"hello {name}"


blocks = gradio.Interface(greet, "text", "text", api_name="greet")
app = gradio.mount_gradio_app(routes, blocks, path="/ui")
