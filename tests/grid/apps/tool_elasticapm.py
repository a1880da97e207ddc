from common import event
from elasticapm.contrib.starlette import ElasticAPM, make_apm_client
from elasticapm.traces import execution_context
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette_grid import app


async def noting(request, call_next):
    response = await call_next(request)
    transaction = execution_context.get_transaction()
    event("transaction", transaction.name if transaction else "none")
    return response


client = make_apm_client({"SERVICE_NAME": "grid", "SERVER_URL": "http://127.0.0.1:9", "CLOUD_PROVIDER": "none"})
app.user_middleware += [Middleware(ElasticAPM, client=client), Middleware(BaseHTTPMiddleware, dispatch=noting)]
