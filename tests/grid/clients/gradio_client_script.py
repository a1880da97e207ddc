"""A generator's pieces, by Gradio's client."""

from __future__ import annotations

import sys

from gradio_client import Client

job = Client(f"http://{sys.argv[1]}/ui/", verbose=False).submit("grid", api_name="/greet")
assert job.result(60) == "hello grid"
assert job.outputs() == ["hel grid", "hello grid"], job.outputs()
