"""The Django application of the `django` scenario: no middleware, as where settings name none."""

from __future__ import annotations

from django.conf import settings
from django.core.asgi import get_asgi_application

settings.configure(ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF="django_view", SECRET_KEY="benchmarks")  # noqa: S106

app = get_asgi_application()
