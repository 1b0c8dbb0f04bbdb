"""JSON Web Tokens of an issuer that is trusted: who it says is asking, if the token is really its own.

The header of a token is written by whoever sends it, so it chooses nothing: the algorithm must be one that
the configuration names and that the kind of key allows, the key is one that was fetched before, and what
the header says of keys (``jku``, ``x5u``, ``jwk``, ``x5c``) is not read. RFC 8725 has the attacks.
"""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from understudy.access.algorithms import ALGORITHMS
from understudy.access.roles import Role

LEEWAY_SECONDS: Final = 30.0
"""How far the issuer's clock may be from ours."""
MOST_CHARACTERS: Final = 8192
_MOST_SUBJECT_CHARACTERS: Final = 200
_MOST_KEYS: Final = 100
_LAST_SECOND: Final = 2**53
"""Beyond it are no times (RFC 7519, 2), but integers that no float holds, infinity, and nonsense."""
_LEAST_RSA_BITS: Final = 2048
_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


class NotTrusted(Exception):
    """The token is not believed; the text says why, and nothing of the token."""


class UnknownKey(NotTrusted):
    """The token names a key that is not known, perhaps because it is new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom to believe: *issuer* and *audience* exactly, and which role a value of the claim gives: one for
    every environment, or roles by environment.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    role_claim: str
    roles: Mapping[str, Role | Mapping[str, Role]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A public key of the issuer, and the algorithms that it may be used with."""

    name: str
    algorithms: frozenset[str]
    public: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token says that is believed. ``expires_at`` is Unix time in seconds."""

    subject: str
    role: Role | None
    expires_at: float
    roles: Mapping[str, Role] = field(default_factory=dict)


def read_keys(document: object) -> dict[str, Key]:
    """The keys in a JWK set (RFC 7517) that can verify, by name; others are left out. Raises: ValueError."""
    keys = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(keys, list):
        raise ValueError("is no JWK set: it has no list of keys")
    if len(keys) > _MOST_KEYS:
        raise ValueError(f"has more than {_MOST_KEYS} keys")
    found = {key.name: key for entry in keys for key in _key(entry)}
    if not found:
        raise ValueError("has no public key that can verify")
    return found


def _key(entry: object) -> Iterator[Key]:
    if not isinstance(entry, Mapping) or entry.get("use", "sig") != "sig":
        return
    operations = entry.get("key_ops", ["verify"])
    algorithms = frozenset(_algorithms(entry))
    if "alg" in entry:
        algorithms &= {entry["alg"]}
    name = entry.get("kid", "")
    if not algorithms or not isinstance(name, str) or "verify" not in operations:
        return
    # With cryptography behind it: a tenth of a second, which only who has an issuer pays.
    import jwt
    from jwt.exceptions import PyJWTError

    try:
        public = jwt.PyJWK(dict(entry), algorithm=min(algorithms)).key
    except (PyJWTError, ValueError, TypeError, KeyError):
        return
    if getattr(public, "key_size", _LEAST_RSA_BITS) < _LEAST_RSA_BITS and entry["kty"] == "RSA":
        return
    if not hasattr(public, "private_bytes"):  # an issuer that publishes its private key is no issuer
        yield Key(name=name, algorithms=algorithms, public=public)


def _algorithms(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """What a key of this kind can verify; nothing for a symmetric one."""
    match entry.get("kty"):
        case "RSA":
            return tuple(name for name in ALGORITHMS if name[:2] in ("RS", "PS"))
        case "EC" if entry.get("crv") in _CURVES:
            return (_CURVES[str(entry["crv"])],)
        case "OKP" if entry.get("crv") == "Ed25519":
            return ("EdDSA",)
    return ()


def verify(text: str, keys: Mapping[str, Key], trust: Trust, now: float) -> Claims:
    """What the token *text* says at *now*, if it is to be believed. Raises: NotTrusted."""
    if len(text) > MOST_CHARACTERS or not text.isascii():
        raise NotTrusted("the token is no JSON Web Token")
    header = _header(text)
    algorithm = header.get("alg")
    if algorithm not in trust.algorithms or algorithm not in ALGORITHMS:
        raise NotTrusted("the token is signed with an algorithm that is not allowed")
    if "crit" in header:
        raise NotTrusted("the token asks for an extension that nobody here knows")
    import jwt
    from jwt.exceptions import PyJWTError

    key = _chosen(header.get("kid"), keys)
    if algorithm not in key.algorithms:
        raise NotTrusted("the token is signed with another algorithm than its key is for")
    options: Any = {
        "require": ["iss", "aud", "exp", "sub"],
        # Against the clock that is passed in, below.
        "verify_exp": False,
        "verify_nbf": False,
        "verify_iat": False,
    }
    try:
        claims = jwt.decode(
            text,
            key.public,
            algorithms=[str(algorithm)],
            audience=trust.audience,
            issuer=trust.issuer,
            options=options,
        )
    except (PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise NotTrusted(f"the token is not believed: {_why(error)}") from None
    expires_at = _checked_times(claims, now)
    role, roles = _roles(claims, trust)
    return Claims(subject=_subject(claims), role=role, roles=roles, expires_at=expires_at)


def _header(text: str) -> Mapping[str, Any]:
    encoded, dot, _ = text.partition(".")
    try:
        header = json.loads(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (ValueError, RecursionError):
        header = None
    if not dot or text.count(".") != 2 or not isinstance(header, dict):
        raise NotTrusted("the token is no JSON Web Token")
    return header


def _chosen(name: object, keys: Mapping[str, Key]) -> Key:
    if name is None and len(keys) == 1:
        return next(iter(keys.values()))
    if not isinstance(name, str) or name not in keys:
        raise UnknownKey("the token is signed with a key that its issuer does not publish")
    return keys[name]


def _why(error: Exception) -> str:
    """The kind of the error in words of ours: what it says itself may repeat the token."""
    words = {
        "InvalidSignatureError": "its signature is wrong",
        "InvalidIssuerError": "it is of another issuer",
        "InvalidAudienceError": "it is for another audience",
        "MissingRequiredClaimError": "it lacks one of iss, aud, exp and sub",
    }
    return words.get(type(error).__name__, "it is malformed")


def _checked_times(claims: Mapping[str, Any], now: float) -> float:
    """When the token ends. Raises: NotTrusted when that is past, or it has not begun."""
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    if any(isinstance(at, bool) or not isinstance(at, int | float) for at in times.values()) or any(
        not 0 <= at < _LAST_SECOND for at in times.values()
    ):
        raise NotTrusted("the token is not believed: its times are none")
    if not now < times["exp"] + LEEWAY_SECONDS:
        raise NotTrusted("the token has expired")
    if any(not times.get(name, now) <= now + LEEWAY_SECONDS for name in ("nbf", "iat")):
        raise NotTrusted("the token is of the future: are the clocks right?")
    return float(times["exp"])


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims["sub"]
    if (
        not isinstance(subject, str)
        or not subject.isprintable()
        or not 0 < len(subject) <= _MOST_SUBJECT_CHARACTERS
    ):
        raise NotTrusted("the token is not believed: its subject is no line of text")
    return subject


def _roles(claims: Mapping[str, Any], trust: Trust) -> tuple[Role | None, dict[str, Role]]:
    """The highest role that the claim gives: for every environment, and for those that it gives more in."""
    claim = claims.get(trust.role_claim)
    values = claim if isinstance(claim, list) else [claim]
    given = [trust.roles[value] for value in values if isinstance(value, str) and value in trust.roles]
    everywhere = [role for role in given if isinstance(role, Role)]
    somewhere = [roles for roles in given if not isinstance(roles, Role)]
    if not given:
        raise NotTrusted(f"the token gives no role here: claim {trust.role_claim}")
    named = {environment for roles in somewhere for environment in roles}
    return _highest(everywhere), {
        environment: highest
        for environment in named
        if (
            highest := _highest(
                [*everywhere, *(roles[environment] for roles in somewhere if environment in roles)]
            )
        )
    }


def _highest(roles: Sequence[Role]) -> Role | None:
    return next((role for role in reversed(Role) if role in roles), None)
