"""API tokens: a selector that finds the token, and a secret of which only the SHA-256 is kept.

A secret has 256 random bits, so a plain hash is as strong as a slow one: there is nothing to guess from.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from understudy.access.roles import Role, lowest

SELECTOR_BYTES: Final = 6
SECRET_BYTES: Final = 32
PREFIX: Final = "ust"
"""So that scanners of repositories can tell our tokens from other text."""

_TEXT: Final = re.compile(rf"{PREFIX}_(?P<selector>[0-9a-f]{{12}})_(?P<secret>[A-Za-z0-9_-]{{43}})", re.ASCII)
_NOBODY: Final = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is kept of an API token. Times are Unix seconds; 0 means never.

    ``role`` holds in every environment that ``roles`` does not name; None: there it may do nothing.
    ``flag_set`` is the one whose flags it may evaluate; empty: all.
    """

    selector: str
    name: str
    role: Role | None
    digest: str
    created_at: float
    created_by: str = ""
    expires_at: float = 0.0
    used_at: float = 0.0
    revoked_at: float = 0.0
    roles: Mapping[str, Role] = field(default_factory=dict)
    flag_set: str = ""

    def role_in(self, environment: str) -> Role | None:
        """What the token may do in *environment*; None: nothing."""
        return self.roles.get(environment, self.role)

    @property
    def role_everywhere(self) -> Role | None:
        """What the token may do in every environment, those to come included; None: nothing in some."""
        return lowest(self.role, self.roles)


def token_text(selector: bytes, secret: bytes) -> str:
    """The token as its owner keeps it, from random bytes of the two lengths above."""
    return f"{PREFIX}_{selector.hex()}_{urlsafe_b64encode(secret).decode().rstrip('=')}"


def read_token(text: str) -> tuple[str, str] | None:
    """Selector and secret in *text*; None when it is no token."""
    found = _TEXT.fullmatch(text)
    return (found["selector"], found["secret"]) if found else None


def digest(secret: str) -> str:
    """What is stored instead of *secret*."""
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def secret_matches(token: Token | None, secret: str) -> bool:
    """Whether *secret* is that of *token*; as long in answering when there is no such token."""
    known = _NOBODY if token is None else token.digest
    return hmac.compare_digest(known, digest(secret)) and token is not None


def is_usable(token: Token, now: float) -> bool:
    """Whether *token* is neither revoked nor expired at *now*."""
    return not token.revoked_at and (not token.expires_at or now < token.expires_at)
