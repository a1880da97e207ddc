"""The least that this project needs."""

import os

DEBUG = False
SECRET_KEY = os.environ.get("SECRET_KEY", "for this example alone")
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "127.0.0.1,localhost").split(",")
ROOT_URLCONF = "shop.urls"
ASGI_APPLICATION = "shop.asgi.application"
INSTALLED_APPS = ["channels"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
# In the memory of one process; for several, channels_redis.
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
USE_TZ = True
# Behind a proxy that ends TLS: the worker has read X-Forwarded-Proto already, and is_secure() is right by itself.
