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


def unauthorized(detail: str) -> Refusal:
    """The refusal of who shows no credential, or a wrong one (RFC 6750, 3)."""
    return Refusal(401, detail, headers={"WWW-Authenticate": 'Bearer realm="understudy"'})


def too_often(wait: float) -> Refusal:
    """The refusal of who has shown wrong tokens, until *wait* seconds have passed."""
    seconds = max(1, round(wait + 0.5))
    return Refusal(429, f"too many wrong tokens; wait {seconds} s", headers={"Retry-After": str(seconds)})
