"""``admin.issuer``: whose JSON Web Tokens the admin API believes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from understudy.access import Role
from understudy.access.algorithms import ALGORITHMS
from understudy.config.environment import ENVIRONMENT_PATTERN, read_environment
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


def _read_roles(value: object, place: Place) -> str | dict[str, str]:
    """A role, or a mapping of roles by environment."""
    if not isinstance(value, Mapping):
        return str(_ROLE.read(value, place))
    roles: dict[str, str] = {}
    for name, role in value.items():
        at = place.key(str(name))
        try:
            roles[read_environment(name)] = _ROLE.read(role, at)
        except Refused as refused:
            at.refuse(refused.message, refused.hint)
    if not value:
        raise Refused("gives no role in any environment", "for example {dev: editor, prod: viewer}")
    return roles


_ROLE: Final = choice(tuple(Role), "role")
_ROLES: Final = Kind(
    read=_read_roles,
    schema={
        "anyOf": [
            _ROLE.schema,
            {
                "type": "object",
                "additionalProperties": _ROLE.schema,
                "propertyNames": {"pattern": ENVIRONMENT_PATTERN},
                "minProperties": 1,
            },
        ]
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerSettings:
    """Who signs tokens, for whom, and which claim gives which role."""

    issuer: str = setting(_TEXT, what="What `iss` must say, exactly: https://login.example.com")
    audience: str = setting(_TEXT, what="What `aud` must name: a token for another program is none for us.")
    keys: str = setting(_KEYS_URL, what="URL of its public keys (JWK set). https, or this machine.")
    roles: Mapping[str, str | Mapping[str, str]] = setting(
        named(
            _ROLES,
            check_name=_check_value,
            pattern="^.+$",
            needed="must give a role to somebody",
        ),
        what="The role that a value of the claim gives: {sre: operator}, or one for each environment:"
        " {shop: {dev: editor, prod: viewer}}. Of several, the highest.",
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
