import sentry_sdk
from common import event


class Transport(sentry_sdk.transport.Transport):
    def capture_envelope(self, envelope) -> None:
        for item in envelope.items:
            if item.type == "transaction":
                event("transaction", item.payload.json["transaction"])
            elif item.type == "event":
                event("error", item.payload.json["exception"]["values"][-1]["value"])


sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=Transport, traces_sample_rate=1.0)

from fastapi_grid import app  # noqa: E402, F401 - its framework is hooked before
