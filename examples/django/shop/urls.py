"""What is where."""

from django.urls import path

from shop.views import hello, ticks

urlpatterns = [path("", hello), path("ticks/", ticks)]
