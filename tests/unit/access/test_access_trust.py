"""JSON Web Tokens: the right one is believed, and forged ones of every kind are not."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from understudy.access import Role
from understudy.access.trust import LEEWAY_SECONDS, NotTrusted, Trust, UnknownKey, read_keys, verify

NOW = 1_700_000_000.0
TRUST = Trust(
    issuer="https://login.example",
    audience="understudy",
    algorithms=("RS256", "ES256", "EdDSA"),
    role_claim="roles",
    roles={"sre": Role.OPERATOR, "lead": Role.ADMIN},
)
CLAIMS: dict[str, Any] = {
    "iss": "https://login.example",
    "aud": ["other", "understudy"],
    "sub": "ann",
    "exp": NOW + 600,
    "iat": NOW,
    "roles": ["sre", "guests"],
}


@cache
def rsa_key(name: str = "ours") -> rsa.RSAPrivateKey:
    """One for each *name*."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    """On the curve of ES256."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def ed_key() -> ed25519.Ed25519PrivateKey:
    """For EdDSA."""
    return ed25519.Ed25519PrivateKey.generate()


@cache
def key_set() -> str:
    """What the issuer publishes, as JSON: three keys, and others that cannot verify."""
    keys: list[dict[str, Any]] = [
        {**RSAAlgorithm.to_jwk(rsa_key().public_key(), as_dict=True), "kid": "r", "use": "sig"},
        {**ECAlgorithm.to_jwk(ec_key().public_key(), as_dict=True), "kid": "e", "alg": "ES256"},
        {**OKPAlgorithm.to_jwk(ed_key().public_key(), as_dict=True), "kid": "o"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "oct", "alg": "HS256"},
        {**RSAAlgorithm.to_jwk(rsa_key("enc").public_key(), as_dict=True), "kid": "enc", "use": "enc"},
        {**RSAAlgorithm.to_jwk(rsa_key("hs").public_key(), as_dict=True), "kid": "hs", "alg": "HS256"},
        {**RSAAlgorithm.to_jwk(rsa_key("private"), as_dict=True), "kid": "private"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "tiny"},
        {"kty": "RSA", "kid": "empty"},
        {"kty": ["RSA"], "kid": "odd"},
    ]
    return json.dumps({"keys": keys})


KEYS = read_keys(json.loads(key_set()))


def signed(
    claims: dict[str, Any] | None = None, *, key: Any = None, alg: str = "RS256", **header: Any
) -> str:
    """A token as the issuer makes it, but for what is given."""
    # As bytes: `jwt.encode` would refuse claims that are wrong.
    return jwt.PyJWS().encode(
        json.dumps(CLAIMS if claims is None else claims).encode(),
        key or rsa_key(),
        algorithm=alg,
        headers={"kid": "r", **header},
    )


def encoded(value: object) -> str:
    """A part of a token."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def with_header(text: str, **header: Any) -> str:
    """*text* with its header changed after it was signed."""
    first, rest = text.split(".", 1)
    told = json.loads(base64.urlsafe_b64decode(first + "=="))
    return f"{encoded({**told, **header})}.{rest}"


def hmac_signed(secret: bytes) -> str:
    """Key confusion: the public key, which everybody has, as the secret of HS256."""
    parts = f"{encoded({'alg': 'HS256', 'kid': 'r', 'typ': 'JWT'})}.{encoded(CLAIMS)}"
    return f"{parts}.{encoded(hmac.new(secret, parts.encode(), hashlib.sha256).digest())}"


def pem(key: rsa.RSAPrivateKey) -> bytes:
    """The public key as servers are given it."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize(
    ("make", "role"),
    [
        (signed, Role.OPERATOR),
        (lambda: signed(key=ec_key(), alg="ES256", kid="e"), Role.OPERATOR),
        (lambda: signed(key=ed_key(), alg="EdDSA", kid="o"), Role.OPERATOR),
        (lambda: signed({**CLAIMS, "roles": "lead"}), Role.ADMIN),
        (lambda: signed({**CLAIMS, "roles": ["sre", "lead"]}), Role.ADMIN),
        (lambda: signed({**CLAIMS, "aud": "understudy"}), Role.OPERATOR),
        (lambda: signed({**CLAIMS, "exp": NOW - LEEWAY_SECONDS + 1}), Role.OPERATOR),
        (lambda: signed({**CLAIMS, "iat": NOW + LEEWAY_SECONDS, "nbf": NOW}), Role.OPERATOR),
        (lambda: signed(jku="https://evil.example", x5u="https://evil.example"), Role.OPERATOR),
    ],
)
def test_a_token_of_the_issuer_is_believed(make: Callable[[], str], role: Role) -> None:
    """With its subject and the highest of its roles; what its header says of keys is not read."""
    found = verify(make(), KEYS, TRUST, NOW)

    assert (found.subject, found.role) == ("ann", role)


def changed(**claims: Any) -> Callable[[], str]:
    """Makes a token with other claims; None leaves one out."""
    told = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return lambda: signed(told)


FORGED: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "dots": lambda: "..",
    "two parts": lambda: signed().rsplit(".", 1)[0],
    "four parts": lambda: signed() + ".x",
    "long": lambda: "a" * 9000 + ".b.c",
    "not ascii": lambda: signed() + "é",
    "no base64": lambda: "!!." + signed().split(".", 1)[1],
    "header no object": lambda: f"{encoded([1])}.{signed().split('.', 1)[1]}",
    "deep header": lambda: f"{encoded(b'[' * 5000)}.{signed().split('.', 1)[1]}",
    "alg none": lambda: f"{encoded({'alg': 'none', 'kid': 'r'})}.{encoded(CLAIMS)}.",
    "alg None": lambda: f"{encoded({'alg': 'None', 'kid': 'r'})}.{encoded(CLAIMS)}.",
    "alg none, signature kept": lambda: with_header(signed(), alg="none"),
    "alg missing": lambda: with_header(signed(), alg=None),
    "alg a list": lambda: with_header(signed(), alg=["RS256"]),
    "public key as secret": lambda: hmac_signed(pem(rsa_key())),
    "key set as secret": lambda: hmac_signed(key_set().encode()),
    "empty secret": lambda: hmac_signed(b""),
    "symmetric key of the set": lambda: jwt.encode(CLAIMS, b"secret" * 8, headers={"kid": "oct"}),
    "an algorithm not configured": lambda: signed(alg="RS512"),
    "RS256 with an EC key": lambda: signed(kid="e"),
    "ES256 with an RSA key": lambda: signed(key=ec_key(), alg="ES256", kid="r"),
    "another's key under our name": lambda: signed(key=rsa_key("evil")),
    "embedded key": lambda: signed(
        key=rsa_key("evil"), jwk=RSAAlgorithm.to_jwk(rsa_key("evil").public_key(), as_dict=True)
    ),
    "jku": lambda: signed(key=rsa_key("evil"), jku="https://evil.example/jwks.json"),
    "x5u": lambda: signed(key=rsa_key("evil"), x5u="https://evil.example/cert.pem"),
    "x5c": lambda: signed(key=rsa_key("evil"), x5c=["MIIB"]),
    "crit": lambda: signed(crit=["exp"]),
    "kid unknown": lambda: signed(kid="new"),
    "kid a path": lambda: signed(kid="../../dev/null"),
    "kid SQL": lambda: signed(kid="r' OR '1'='1"),
    "kid missing": lambda: with_header(signed(), kid=None),
    "kid no text": lambda: with_header(signed(), kid={"r": 1}),
    "encryption key": lambda: signed(key=rsa_key("enc"), kid="enc"),
    "key for HS256": lambda: signed(key=rsa_key("hs"), kid="hs"),
    "published private key": lambda: signed(key=rsa_key("private"), kid="private"),
    "claims changed": lambda: ".".join(
        [signed().split(".")[0], encoded({**CLAIMS, "roles": "lead"}), signed().split(".")[2]]
    ),
    "signature cut": lambda: signed()[:-4],
    "signature empty": lambda: signed().rsplit(".", 1)[0] + ".",
    "claims no object": lambda: f"{signed().split('.')[0]}.{encoded([1])}.{signed().split('.')[2]}",
    "expired": changed(exp=NOW - LEEWAY_SECONDS),
    "no exp": changed(exp=None),
    "exp text": changed(exp="tomorrow"),
    "exp true": changed(exp=True),
    "exp not a number": changed(exp=float("nan")),
    "exp beyond every float": changed(exp=10**400),
    "exp infinite": changed(exp=float("inf")),
    "nbf beyond every float": changed(nbf=-(10**400)),
    "deep claims": lambda: jwt.PyJWS().encode(
        b"[" * 3000 + b"]" * 3000, rsa_key(), algorithm="RS256", headers={"kid": "r"}
    ),
    "of the future": changed(nbf=NOW + LEEWAY_SECONDS + 1),
    "made in the future": changed(iat=NOW + 3600),
    "nbf text": changed(nbf="0"),
    "no iss": changed(iss=None),
    "other iss": changed(iss="https://login.example.evil"),
    "iss with a slash": changed(iss="https://login.example/"),
    "iss a list": changed(iss=["https://login.example"]),
    "no aud": changed(aud=None),
    "other aud": changed(aud="understudy2"),
    "aud empty": changed(aud=[]),
    "no sub": changed(sub=None),
    "sub empty": changed(sub=""),
    "sub two lines": changed(sub="ann\nadmin"),
    "sub long": changed(sub="a" * 201),
    "no role": changed(roles=None),
    "unknown role": changed(roles="admin"),
    "role no text": changed(roles=[{"lead": 1}, 1, None, True]),
    "role an object": changed(roles={"lead": True}),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_token_is_not_believed(kind: str) -> None:
    """And what is said of it repeats nothing of it."""
    text = FORGED[kind]()

    with pytest.raises(NotTrusted) as found:
        verify(text, KEYS, TRUST, NOW)

    assert not text or text not in str(found.value)
    assert "evil" not in str(found.value)


def test_a_key_that_is_not_known_is_told_apart() -> None:
    """Then it is worth asking the issuer again; for no other fault is it."""
    unknown = {"kid unknown", "kid a path", "kid SQL", "kid missing", "kid no text"}
    for kind in FORGED:
        with pytest.raises(NotTrusted) as found:
            verify(FORGED[kind](), KEYS, TRUST, NOW)
        names_a_key = kind in unknown | {"encryption key", "key for HS256", "published private key"}
        assert (kind, isinstance(found.value, UnknownKey)) == (kind, names_a_key)


def test_a_single_key_needs_no_name() -> None:
    """Small issuers leave `kid` out."""
    alone = {"r": KEYS["r"]}

    assert verify(jwt.encode(CLAIMS, rsa_key(), algorithm="RS256"), alone, TRUST, NOW).subject == "ann"


def test_only_public_keys_that_can_verify_are_read() -> None:
    """No secret, no private key, none for encryption, none that is short."""
    assert sorted(KEYS) == ["e", "o", "r"]
    assert KEYS["e"].algorithms == {"ES256"}


@pytest.mark.parametrize(
    "document", [None, [], {}, {"keys": {}}, {"keys": []}, {"keys": [1]}, {"keys": [{}] * 101}]
)
def test_what_is_no_key_set_is_refused(document: object) -> None:
    """The keys known before stay."""
    with pytest.raises(ValueError, match=r"JWK set|public key|more than"):
        read_keys(document)


BY_ENVIRONMENT = replace(
    TRUST,
    roles={
        "sre": Role.OPERATOR,
        "shop": {"dev": Role.ADMIN, "prod": Role.VIEWER},
        "leads": {"prod": Role.EDITOR, "qa": Role.VIEWER},
    },
)


@pytest.mark.parametrize(
    ("claim", "role", "roles"),
    [
        ("sre", Role.OPERATOR, {}),
        ("shop", None, {"dev": Role.ADMIN, "prod": Role.VIEWER}),
        (["shop", "leads"], None, {"dev": Role.ADMIN, "prod": Role.EDITOR, "qa": Role.VIEWER}),
        (
            ["sre", "shop", "leads"],
            Role.OPERATOR,
            {"dev": Role.ADMIN, "prod": Role.EDITOR, "qa": Role.OPERATOR},
        ),
    ],
)
def test_a_claim_may_give_roles_by_environment(claim: Any, role: Role | None, roles: dict[str, Role]) -> None:
    """The highest in each; a role for all counts everywhere, and nothing is lowered by another value."""
    found = verify(signed({**CLAIMS, "roles": claim}), KEYS, BY_ENVIRONMENT, NOW)

    assert (found.role, found.roles) == (role, roles)
