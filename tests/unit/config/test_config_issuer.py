"""``admin.issuer``: what is believed, and what could be forged is refused."""

from pathlib import Path
from typing import Any

import pytest

from understudy.config import parse_settings
from understudy.errors import ConfigError

ISSUER: dict[str, Any] = {
    "issuer": "https://login.example.com",
    "audience": "understudy",
    "keys": "https://login.example.com/jwks.json",
    "roles": {"sre": "operator"},
}


def settings(issuer: Any) -> Any:
    """The settings with *issuer*."""
    document = {"services": {"v1": {"url": "http://127.0.0.1:9001"}}, "admin": {"issuer": issuer}}
    return parse_settings(document, base=Path(), environ={})


def test_an_issuer_has_algorithms_that_nobody_can_forge() -> None:
    """By default the two that issuers use."""
    issuer = settings(ISSUER).admin.issuer

    assert (issuer.algorithms, issuer.role_claim) == (("RS256", "ES256"), "roles")
    assert issuer.roles == {"sre": "operator"}


def test_a_value_of_the_claim_may_give_roles_by_environment() -> None:
    """Beside values that give one for all."""
    roles = {"sre": "operator", "shop": {"dev": "editor", "prod": "viewer"}}

    assert settings({**ISSUER, "roles": roles}).admin.issuer.roles == roles


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"algorithms": ["HS256"]}, "whoever can verify a token can make one"),
        ({"algorithms": ["none"]}, "is not allowed"),
        ({"algorithms": []}, "must name at least one"),
        ({"keys": "http://login.example.com/jwks.json"}, "can be changed on its way to us"),
        ({"keys": "ftp://login.example.com"}, "is no https URL"),
        ({"keys": "https://ann:secret@login.example.com"}, "is no https URL"),
        ({"keys": "https://["}, "is no URL"),
        ({"keys": 3}, "must be a URL"),
        ({"roles": {}}, "must give a role to somebody"),
        ({"roles": {"sre": "root"}}, "unknown role"),
        ({"roles": {"sre": {"dev": "root"}}}, "admin.issuer.roles.sre.dev: unknown role"),
        ({"roles": {"sre": {"Dev": "viewer"}}}, "did you mean dev?"),
        ({"roles": {"sre": {}}}, "gives no role in any environment"),
        ({"roles": {"sre": ["viewer"]}}, "admin.issuer.roles.sre"),
        ({"issuer": ""}, "must be one line of text"),
        ({"audience": ["a"]}, "must be one line of text"),
        ({"jku": True}, "unknown key"),
    ],
)
def test_what_cannot_be_trusted_is_refused(change: dict[str, Any], told: str) -> None:
    """With the place and the mend."""
    with pytest.raises(ConfigError, match=r"admin\.issuer") as found:
        settings({**ISSUER, **change})

    assert told in str(found.value)


@pytest.mark.parametrize("missing", ["issuer", "audience", "keys", "roles"])
def test_nothing_of_an_issuer_may_be_left_out(missing: str) -> None:
    """Without an audience every token of the company would be one for us."""
    with pytest.raises(ConfigError, match=rf"admin\.issuer.*{missing}"):
        settings({name: value for name, value in ISSUER.items() if name != missing})


def test_keys_on_this_machine_need_no_tls() -> None:
    """A sidecar's, or a test's."""
    assert (
        settings({**ISSUER, "keys": "http://127.0.0.1:9/jwks"}).admin.issuer.keys == "http://127.0.0.1:9/jwks"
    )
