"""Who may come in while no token exists: every user of this machine, and nobody else."""

from ipaddress import ip_address
from typing import Final

from understudy.access import Caller, Role
from understudy.admin.refusal import unauthorized

CREATE_FIRST: Final = "understudy token create NAME --role admin"
OPEN: Final = (
    f"no API token exists: every user of this machine may change everything; `{CREATE_FIRST}` ends that"
)
THROUGH_PROXY: Final = (
    "there is no API token yet, and this came through a proxy, which anybody may use;"
    f" `{CREATE_FIRST}` on this machine itself"
)


def anyone(peer: str) -> Caller:
    """The caller while no token exists: any user of this machine. Raises: Refusal 401."""
    if peer and not _is_loopback(peer):
        raise unauthorized(f"there is no API token yet, and only this machine may make it: `{CREATE_FIRST}`")
    return Caller(name=f"admin API ({peer})" if peer else "admin API", role=Role.ADMIN, origin=peer)


def _is_loopback(peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
