"""The Django application, for its template tags."""

from django.apps import AppConfig


class UnderstudyConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """Named in ``INSTALLED_APPS`` as ``understudy.middleware.django``; it has no models."""

    name = "understudy.middleware.django"
    label = "understudy"
    verbose_name = "Understudy"
