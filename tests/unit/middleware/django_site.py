"""A Django project of one module: its settings, pages and templates."""

from typing import Any

import django
from django.conf import settings

TEMPLATES = {
    "home": (
        "{% load understudy %}{% variant 'colour' as shade %}{{ shade }} "
        "{% ifvariant 'colour' 'blue' 'green' %}cold{% else %}warm{% endifvariant %} "
        "{% ifvariant flag name %}named{% endifvariant %}"
        "{% enabled 'banner' as is_on %}{% if is_on %}!{% endif %}"
    )
}

settings.configure(
    SECRET_KEY="for tests",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["understudy.middleware.django"],
    USE_TZ=True,
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", TEMPLATES)]},
        }
    ],
)
django.setup()

from django.http import HttpRequest, HttpResponse  # noqa: E402  Django must be set up first
from django.shortcuts import render  # noqa: E402
from django.urls import path  # noqa: E402

from understudy.middleware.django import variant, variants  # noqa: E402


def home(request: HttpRequest) -> Any:
    """A page that asks its flags itself."""
    return render(request, "home", {"flag": "colour", "name": "red"})


def blue(request: HttpRequest, number: int) -> Any:
    """The page of one variant."""
    return HttpResponse(f"blue {number}")


@variants("colour", {"blue": blue})
def colours(request: HttpRequest, number: int) -> Any:
    """The page of every other."""
    return HttpResponse(f"not blue {number} but {variant(request, 'colour')}")


async def blue_later(request: HttpRequest) -> Any:
    """The page of one variant, a coroutine."""
    return HttpResponse("blue later")


@variants("colour", {"blue": blue_later})
async def colours_later(request: HttpRequest) -> Any:
    """The page of every other, a coroutine."""
    return HttpResponse("not blue later")


urlpatterns = [path("", home), path("colours/<int:number>", colours), path("later", colours_later)]
