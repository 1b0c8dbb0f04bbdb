"""An API token made in the store itself, for the day on which no token of an admin is left.

Whoever may write to the store could write a token there anyway; this way it is one that works, and the
audit tells of it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from understudy.access import Caller, Role, Token
from understudy.admin.access import read_wanted, read_wanted_set
from understudy.admin.keyring import Keyring
from understudy.store import Store


async def make_token(
    store: Store, wanted: Mapping[str, Any], *, user: str, clock: Callable[[], float]
) -> tuple[Token, str]:
    """Open *store*, make the token that *wanted* (as ``POST /api/v1/tokens`` has it) describes, and close.

    The token and its text, which is kept nowhere. Processes that run know it within five seconds. *user* is
    who does it, for the audit. Raises: Refusal, StoreError.
    """
    name, role, roles, days, reason = read_wanted(wanted)
    flag_set = read_wanted_set(wanted, role, roles)
    by = Caller(name=f"{user} (in the store)", role=Role.ADMIN, origin="store")
    await store.open()
    try:
        keyring = Keyring(store, clock=clock)
        await keyring.refresh()
        ends_at = clock() + days * 86_400.0 if days else 0.0
        return await keyring.create(
            name=name,
            role=role,
            roles=roles,
            flag_set=flag_set,
            expires_at=ends_at,
            by=by,
            reason=reason,
        )
    finally:
        await store.close()
