"""The decision of a Django request, and views chosen by variant."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest

from understudy.middleware.decision import Decision
from understudy.middleware.environ import scope_of
from understudy.middleware.found import KEY, decision_in
from understudy.middleware.request import AsgiRequest
from understudy.middleware.understudy import Understudy

View = Callable[..., Any]

MEND: Final = "wrap the application in wsgi.py or asgi.py with the middleware (docs/frameworks.md)"


def decision(request: HttpRequest) -> Decision:
    """The decision of *request*, under WSGI or ASGI.

    One that came past the middleware, as those of Django's test client do, is decided by
    ``settings.UNDERSTUDY``, an `Understudy`; without that raises `DecisionMissing`.
    """
    scope = getattr(request, "scope", None)
    place = request.META if scope is None else scope
    if KEY not in place:
        understudy = getattr(settings, "UNDERSTUDY", None)
        if isinstance(understudy, Understudy):
            place[KEY] = understudy.decide(AsgiRequest(scope_of(request.META) if scope is None else scope))
    return decision_in(place, MEND)


def variant(request: HttpRequest, flag: str) -> str:
    """The variant of *flag* for *request*; empty when it has none or is not known."""
    return decision(request).variant_of(flag)


def variants(flag: str, views: Mapping[str, View]) -> Callable[[View], View]:
    """Decorate a view: requests whose variant of *flag* is one of *views* are answered by that one.

        @variants("checkout", {"one_page": one_page})
        def checkout(request): ...  # whoever has another variant, or none

    Raises TypeError when some views are coroutines and others are not, or are exempt from CSRF and others
    are not: Django treats the decorated view as a whole.
    """

    def decorate(view: View) -> View:
        _check_alike(flag, view, views)
        if iscoroutinefunction(view):

            @functools.wraps(view)
            async def chosen_async(request: HttpRequest, *args: Any, **named: Any) -> Any:
                return await views.get(variant(request, flag), view)(request, *args, **named)

            return chosen_async

        @functools.wraps(view)
        def chosen(request: HttpRequest, *args: Any, **named: Any) -> Any:
            return views.get(variant(request, flag), view)(request, *args, **named)

        return chosen

    return decorate


def _check_alike(flag: str, view: View, views: Mapping[str, View]) -> None:
    questions: dict[str, Callable[[View], bool]] = {
        "a coroutine": iscoroutinefunction,
        "exempt from CSRF": lambda one: bool(getattr(one, "csrf_exempt", False)),
    }
    for name, one in views.items():
        for what, is_so in questions.items():
            if is_so(one) != is_so(view):
                raise TypeError(
                    f"flag {flag!r}: the view of variant {name!r} is {'' if is_so(one) else 'not '}{what}, "
                    f"and the decorated view is {'' if is_so(view) else 'not '}so: make them alike"
                )
