"""A shop in Django that decides by itself who meets its next release: a project of one module."""

# ruff: noqa: ARG001, E402  a view takes its request; Django is set up before its parts are imported

import time
from pathlib import Path
from typing import Any

import django
from django.conf import settings

HERE = Path(__file__).parent

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["understudy.middleware.django"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [HERE / "templates"]}],
)
django.setup()

from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.shortcuts import render
from django.urls import path

from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.middleware.django import variants

understudy = Understudy(HERE / "understudy.yaml")


def home(request: HttpRequest) -> Any:
    """A page whose template asks for the user's variant."""
    return render(request, "home.txt", content_type="text/plain")


def product(request: HttpRequest, number: int) -> Any:
    """One product, with when it was answered, which differs by itself."""
    price = float(f"{10 + number % 7}.90")
    return JsonResponse(
        {"id": number, "name": f"Lantern {number}", "price": price, "served_at": time.time_ns()},
        headers={"X-Release": "1"},
    )


def new_search(request: HttpRequest) -> Any:
    """The search of those who see the new page."""
    return JsonResponse({"search": "new"})


@variants("front_page", {"new": new_search})
def search(request: HttpRequest) -> Any:
    """The search of everybody else."""
    return JsonResponse({"search": "classic"})


async def report(request: HttpRequest) -> Any:
    """What was found so far; not for everybody, in a shop of your own."""
    return JsonResponse(await understudy.report())


urlpatterns = [
    path("", home),
    path("products/<int:number>", product),
    path("search", search),
    path("report", report),
]

app = UnderstudyMiddleware(get_asgi_application(), understudy=understudy)
