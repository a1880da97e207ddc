"""The application that Gunicorn serves: Django for requests, Channels for WebSockets."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
# Before anything that imports models.
django_application = get_asgi_application()

from shop.consumers import Room  # noqa: E402 - Django has to be set up first

application = ProtocolTypeRouter(
    {"http": django_application, "websocket": URLRouter([path("rooms/<str:room>/", Room.as_asgi())])}
)
