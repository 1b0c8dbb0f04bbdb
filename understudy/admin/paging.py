"""Long lists in pages: after which entry one begins, and how long it is."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from understudy.admin.request import whole_number

USUAL: Final = 100
MOST: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """``names`` of this page, and the name to ask for the next page ``after``; None on the last."""

    names: list[str]
    next: str | None


def page(request: Request, names: Collection[str]) -> Page:
    """The page of *names*, sorted, that the query parameters ``limit`` and ``after`` ask for.

    A name that comes or goes meanwhile moves no other from page to page. Raises: Refusal 400.
    """
    limit = whole_number(request, "limit", usual=USUAL, least=1, most=MOST)
    after = request.query_params.get("after")
    left = sorted(name for name in names if after is None or name > after)
    return Page(names=left[:limit], next=left[limit - 1] if len(left) > limit else None)
