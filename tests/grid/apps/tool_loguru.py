import logging
import sys

from fastapi_grid import app
from loguru import logger


class ToLoguru(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logger.opt(exception=record.exc_info).log(record.levelname, record.getMessage())


logger.remove()
# With enqueue a thread writes, which has to end with the process.
logger.add(sys.stdout, format="loguru {message}", enqueue=True)
logging.basicConfig(handlers=[ToLoguru()], level=logging.INFO, force=True)
for name in ("gunicorn.error", "gunicorn.access", "uvicorn.error", "uvicorn.access"):
    logging.getLogger(name).handlers[:] = []
    logging.getLogger(name).propagate = True


@app.get("/log")
async def log() -> str:
    logger.info("from a handler")
    return "logged"
