"""Template tags: ``{% variant "flag" %}``, ``{% enabled "flag" %}`` and ``{% ifvariant "flag" "a" %}``.

They need the request, which every template has that is rendered with one: ``render(request, …)``.
"""

from collections.abc import Sequence
from typing import Any

from django import template

from understudy.errors import DecisionMissing
from understudy.middleware.decision import Decision
from understudy.middleware.django.views import decision

register = template.Library()


def of(context: Any) -> Decision:
    """The decision of the request that a template is rendered for. Raises `DecisionMissing`."""
    request = getattr(context, "request", None) or context.get("request")
    if request is None:
        raise DecisionMissing("the template has no request: render(request, …) gives it one")
    return decision(request)


@register.simple_tag(takes_context=True)  # type: ignore[untyped-decorator]
def variant(context: Any, flag: str) -> str:
    """``{% variant "flag" as name %}``: the variant of the flag; empty when it has none."""
    return of(context).variant_of(flag)


@register.simple_tag(takes_context=True)  # type: ignore[untyped-decorator]
def enabled(context: Any, flag: str) -> bool:
    """``{% enabled "flag" as is_new %}``: whether the flag is true."""
    return of(context).is_enabled(flag)


class IfVariant(template.Node):  # type: ignore[misc]  # Django has no types
    """One of two parts of a template, by the variant of a flag."""

    child_nodelists = ("then", "otherwise")

    def __init__(self, flag: Any, names: Sequence[Any], then: Any, otherwise: Any) -> None:
        self._flag = flag
        self._names = names
        self.then = then
        self.otherwise = otherwise

    def render(self, context: Any) -> str:
        """The part that *context*'s request meets."""
        met = of(context).variant_of(self._flag.resolve(context))
        is_one = met in [name.resolve(context) for name in self._names]
        rendered: str = (self.then if is_one else self.otherwise).render(context)
        return rendered


@register.tag  # type: ignore[untyped-decorator]
def ifvariant(parser: Any, token: Any) -> IfVariant:
    """``{% ifvariant "flag" "a" "b" %}…{% else %}…{% endifvariant %}``: for variants a and b, or else."""
    name, *words = token.split_contents()
    if len(words) < 2:
        raise template.TemplateSyntaxError(f'{name} takes a flag and its variants: {{% {name} "flag" "a" %}}')
    flag, *names = [parser.compile_filter(word) for word in words]
    then = parser.parse(("else", "endifvariant"))
    otherwise = template.base.NodeList()
    if parser.next_token().contents == "else":
        otherwise = parser.parse(("endifvariant",))
        parser.delete_first_token()
    return IfVariant(flag, names, then, otherwise)
