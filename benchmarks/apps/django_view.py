"""The view of the Django scenarios: one that is async and returns JSON."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.urls import path


async def home(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"message": "Hello, World!"})


urlpatterns = [path("", home)]
