import logfire
from fastapi_grid import app
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

logfire.configure(
    send_to_logfire=False,
    console=False,
    additional_span_processors=[SimpleSpanProcessor(ConsoleSpanExporter())],
)
logfire.instrument_fastapi(app)
