"""The one way an endpoint says no."""

from collections.abc import Mapping
from typing import Any


class Refusal(Exception):
    """A request is refused with *status*, *detail* in words, and *members* that stand beside them."""

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        self.status = status
        self.detail = detail
        self.headers = headers
        self.members = members
        super().__init__(detail)
