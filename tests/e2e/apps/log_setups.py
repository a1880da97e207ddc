"""Applications that arrange logging for themselves, each as their users have it: SETUP names one, WHERE the place.

`SETUP` is done at import, or in the lifespan startup where `WHERE` says so; hooks.py-like configuration files call
`set_up()` by themselves.
"""

from __future__ import annotations

import inspect
import logging
import logging.config
import os
import sys
from typing import Any

NAMES = ("uvicorn", "uvicorn.error", "uvicorn.access")


class Intercept(logging.Handler):
    """As in loguru's documentation: standard logging goes through loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        from loguru import logger

        level: str | int
        try:
            level = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno
        frame, depth = inspect.currentframe(), 0
        while frame and (depth == 0 or frame.f_code.co_filename == logging.__file__):
            frame = frame.f_back
            depth += 1
        logger.opt(depth=depth, exception=record.exc_info).log(level, record.getMessage())


def use_loguru() -> None:
    from loguru import logger

    logger.remove()
    # Without the values of variables, among which a traceback would show request lines again.
    logger.add(sys.stdout, format="loguru {message}", diagnose=False)


def loguru_root() -> None:
    """Handlers cleared, propagate on, one handler at the root."""
    use_loguru()
    logging.basicConfig(handlers=[Intercept()], level=0, force=True)
    for name in NAMES:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def loguru_each() -> None:
    """A handler of its own for each logger, which do not propagate."""
    use_loguru()
    for name in NAMES:
        logging.getLogger(name).handlers = [Intercept()]
        logging.getLogger(name).propagate = False


def structlog_root() -> None:
    """structlog's ProcessorFormatter on the root logger, as in its handbook."""
    import structlog

    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    # Access lines are made by a middleware in that recipe, and uvicorn's are to be silent.
    logging.getLogger("uvicorn.access").handlers.clear()
    logging.getLogger("uvicorn.access").propagate = False


def json_formatter() -> None:
    """python-json-logger in the place of the formatters of the handlers that are there."""
    from pythonjsonlogger.json import JsonFormatter

    for name in ("uvicorn.access", "uvicorn.error"):
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(JsonFormatter("%(levelname)s %(name)s %(message)s"))


def dict_config() -> None:
    """logging's own dictConfig, for uvicorn's loggers and the application's."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": {"format": "%(name)s %(levelname)s %(message)s"}},
            "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "plain"}},
            "loggers": {
                "uvicorn.error": {"handlers": ["out"], "level": "INFO", "propagate": False},
                "uvicorn.access": {"handlers": ["out"], "level": "INFO", "propagate": False},
            },
            "root": {"handlers": ["out"], "level": "INFO"},
        }
    )


def uvicorn_formatter() -> None:
    """uvicorn's own formatter with the time before it, on the first handler: the best known answer on the web."""
    from uvicorn.logging import AccessFormatter

    handler = logging.getLogger("uvicorn.access").handlers[0]
    handler.setFormatter(AccessFormatter('when %(client_addr)s - "%(request_line)s" %(status_code)s', use_colors=False))


class NoHealthChecks(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        args: Any = record.args
        return "/health" not in record.getMessage() and (not args or len(args) < 3 or args[2] != "/health")


def filter_on_logger() -> None:
    logging.getLogger("uvicorn.access").addFilter(NoHealthChecks())


def filter_on_handlers() -> None:
    for handler in logging.getLogger("uvicorn.access").handlers:
        handler.addFilter(NoHealthChecks())


def own_handler_beside() -> None:
    """One more handler, beside those that are there."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("own %(message)s"))
    logging.getLogger("uvicorn.access").addHandler(handler)


def silent() -> None:
    logging.getLogger("uvicorn.access").handlers.clear()


def set_up() -> None:
    globals()[os.environ["SETUP"]]()


WHERE = os.environ.get("WHERE", "import")
if WHERE == "import" and "SETUP" in os.environ:
    set_up()


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        if WHERE == "lifespan":
            set_up()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
    if scope["path"] == "/error":
        raise RuntimeError("this view fails")
    if scope["type"] == "websocket":
        await send({"type": "websocket.send", "text": "ok"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
