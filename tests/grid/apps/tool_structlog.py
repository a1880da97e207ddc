import structlog
from fastapi_grid import app

structlog.configure(
    processors=[structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer()],
    logger_factory=structlog.PrintLoggerFactory(),
)


@app.get("/log/{name}")
async def log(name: str) -> str:
    # What one request binds, another one must not have.
    before = structlog.contextvars.get_contextvars()
    structlog.contextvars.bind_contextvars(name=name)
    structlog.get_logger().info("handled", before=before)
    return "logged"
