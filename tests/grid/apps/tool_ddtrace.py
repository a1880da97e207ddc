import ddtrace.auto  # noqa: F401 - as `ddtrace-run` does
from common import event
from ddtrace import tracer
from fastapi_grid import app


@app.middleware("http")
async def noting(request, call_next):
    span = tracer.current_root_span()
    event("span", span.name if span else "none")
    return await call_next(request)
