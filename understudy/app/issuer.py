"""The issuer of JSON Web Tokens that the configuration names, ready to be asked."""

from collections.abc import Mapping

from understudy.access import Role
from understudy.access.trust import Trust
from understudy.admin import Issuer
from understudy.config import AdminSettings


def issuer_of(settings: AdminSettings) -> Issuer | None:
    """None when there is none; its keys have still to be fetched, by `Issuer.run`."""
    given = settings.issuer
    if given is None:
        return None
    trust = Trust(
        issuer=given.issuer,
        audience=given.audience,
        algorithms=given.algorithms,
        role_claim=given.role_claim,
        roles={value: _roles(role) for value, role in given.roles.items()},
    )
    return Issuer(trust, given.keys)


def _roles(given: str | Mapping[str, str]) -> Role | Mapping[str, Role]:
    if isinstance(given, str):
        return Role(given)
    return {environment: Role(role) for environment, role in given.items()}
