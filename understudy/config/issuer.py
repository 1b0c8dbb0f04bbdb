"""``admin.issuer``: whose JSON Web Tokens the admin API believes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from understudy.access import Role
from understudy.access.algorithms import ALGORITHMS
from understudy.config.place import Place, Refused, shown
from understudy.config.setting import Kind, choice, listed, named, setting


def _read_text(value: object, _place: Place) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise Refused(f"must be one line of text, not {shown(value)}")
    return value


def _read_keys_url(value: object, _place: Place) -> str:
    """An https URL; http only to this machine, as the keys decide who is let in. Raises: Refused."""
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise Refused(f"must be a URL, not {shown(value)}")
    try:
        url = urlsplit(value)
        host = url.hostname or ""
    except ValueError:
        raise Refused(f"{shown(value)} is no URL") from None
    is_here = host in ("localhost", "127.0.0.1", "::1")
    if not host or url.username is not None or url.scheme not in ("https", "http"):
        raise Refused(f"{shown(value)} is no https URL", "for example https://login.example.com/jwks.json")
    if url.scheme == "http" and not is_here:
        raise Refused(f"{shown(value)} can be changed on its way to us", "https")
    return value


def _check_value(value: str, place: Place) -> None:
    if not value.isprintable():
        place.refuse("must be one line of text")


def _read_algorithm(value: object, _place: Place) -> str:
    if value not in ALGORITHMS:
        hint = f"one of {', '.join(ALGORITHMS)}: with any other, whoever can verify a token can make one"
        raise Refused(f"{shown(value)} is not allowed", hint)
    return str(value)


_TEXT: Final = Kind(read=_read_text, schema={"type": "string", "minLength": 1}, from_text=str)
_KEYS_URL: Final = Kind(
    read=_read_keys_url, schema={"type": "string", "pattern": "^https?://"}, from_text=str
)
_ALGORITHM: Final = Kind(
    read=_read_algorithm, schema={"type": "string", "enum": list(ALGORITHMS)}, from_text=str
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerSettings:
    """Who signs tokens, for whom, and which claim gives which role."""

    issuer: str = setting(_TEXT, what="What `iss` must say, exactly: https://login.example.com")
    audience: str = setting(_TEXT, what="What `aud` must name: a token for another program is none for us.")
    keys: str = setting(_KEYS_URL, what="URL of its public keys (JWK set). https, or this machine.")
    roles: Mapping[str, str] = setting(
        named(
            choice(tuple(Role), "role"),
            check_name=_check_value,
            pattern="^.+$",
            needed="must give a role to somebody",
        ),
        what="The role that a value of the claim gives: {sre: operator}. Of several, the highest.",
    )
    role_claim: str = setting(
        _TEXT, default="roles", what="The claim that is looked up in roles: a text, or a list of them."
    )
    algorithms: tuple[str, ...] = setting(
        listed(_ALGORITHM, at_least_one=True),
        default=("RS256", "ES256"),
        what="How tokens may be signed. None that is symmetric.",
        why="the two that issuers use and that RFC 7518 recommends.",
    )
