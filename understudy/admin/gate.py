"""What stands before each single endpoint: only who may is let through, and not too often."""

import math
import time
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from understudy.access import Allowance, Caller, Role, words
from understudy.admin.keyring import Keyring
from understudy.admin.login_page import login_page
from understudy.admin.open_door import THROUGH_PROXY
from understudy.admin.refusal import Refusal, unauthorized
from understudy.admin.request import CALLER, HELD
from understudy.admin.rights import ANYONE, NOTED, SHARED, TARGET, needed
from understudy.admin.safety import SAFE_METHODS, is_forwarded, values

COOKIE: Final = "understudy_session"
WRITES_A_SECOND: Final = 100.0
WRITES_AT_ONCE: Final = 300.0
"""Far above what people and pipelines do; a loop gone wild does not fill the store."""
EVALUATIONS_A_SECOND: Final = 20.0
EVALUATIONS_AT_ONCE: Final = 200.0
"""Of an evaluator's token, for each address: a page asks when it opens and when the rules turn, and an
office behind one address opens some pages a second. Who takes the token out of a page cannot flood us."""


class Gate:
    """Lets through to *app*, the endpoint at *path*, who may; the caller stands in the scope then."""

    def __init__(self, app: ASGIApp, *, path: str, keyring: Keyring, paces: "Paces") -> None:
        self._app = app
        self._path = path
        self._keyring = keyring
        self._paces = paces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        role = needed(self._path, scope["method"])
        if role is None:
            raise Refusal(403, "nobody may do this")
        if role != ANYONE:
            try:
                caller = await identify(scope, self._keyring)
            except Refusal as refusal:
                if self._path == "/" and refusal.status in (401, 429) and _is_for_people(scope):
                    await login_page(refusal)(scope, receive, send)
                    return
                raise
            held = permitted(caller, role, scope, path=self._path, keyring=self._keyring)
            target = self._check_target(caller, scope)
            is_change = scope["method"] not in SAFE_METHODS and Role(target or role).may(Role.OPERATOR)
            self._paces.check(caller, held, is_change=is_change)
            scope[HELD] = held
            scope[CALLER] = caller
            if action := NOTED.get((self._path, scope["method"])):
                await self._keyring.note(action, caller)
        await self._app(scope, receive, send)

    def _check_target(self, caller: Caller, scope: Scope) -> Role | None:
        """What is needed where something is carried to, if anything is. Raises: Refusal 403 without it."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        role = TARGET.get((self._path, method))
        if role is not None:
            for to in Request(scope).query_params.getlist("to"):
                _need(role, caller, caller.role_in(to), to)
        return role


class Paces:
    """How often each caller may change something, and how often the token of a page may be used."""

    def __init__(self) -> None:
        self._changes = Allowance(rate=WRITES_A_SECOND, burst=WRITES_AT_ONCE)
        self._evaluations = Allowance(rate=EVALUATIONS_A_SECOND, burst=EVALUATIONS_AT_ONCE)

    def check(self, caller: Caller, held: Role, *, is_change: bool) -> None:
        """*held* is the caller's role where it asks. Raises: Refusal 429."""
        now, wait = time.monotonic(), 0.0
        if held is Role.EVALUATOR:
            wait = self._evaluations.wait_seconds(f"{caller.name} {caller.origin}", now)
        elif is_change:
            wait = self._changes.wait_seconds(caller.name, now)
        if wait > 0:
            what = "changes" if is_change else "requests"
            seconds = str(max(1, math.ceil(wait)))
            raise Refusal(429, f"too many {what} at once", headers={"Retry-After": seconds})


def permitted(caller: Caller, role: Role, scope: Scope, *, path: str, keyring: Keyring) -> Role:
    """The role of *caller* wherever the request reads or changes. Raises: 403 if it is below *role*."""
    if path in SHARED:
        return _need(role, caller, caller.role_everywhere, "every environment")
    environment = asked_environment(scope, keyring)
    return _need(role, caller, caller.role_in(environment), environment)


def _need(role: Role, caller: Caller, held: Role | None, where: str) -> Role:
    """*held*, what *caller* holds in *where*. Raises: Refusal 403 when it is less than *role*."""
    if held is None or not held.may(role):
        place = f" in {where}" if caller.roles else ""
        detail = f"this needs the role {role}{place}; {caller.name} is {words(caller.role, caller.roles)}"
        raise Refusal(403, detail, needed=str(role), role=held and str(held))
    return held


def asked_environment(scope: Scope, keyring: Keyring) -> str:
    """The environment that the request in *scope* is about: its path names it, or it is this process's."""
    return str(scope.get("path_params", {}).get("environment", keyring.environment))


async def identify(scope: Scope, keyring: Keyring) -> Caller:
    """Who sends the request in *scope*; a new key of the issuer is waited for, shortly.

    Raises: Refusal 400, 401, 429; StoreError.
    """
    shown = values(scope["headers"], b"authorization")
    if scope["path"].startswith("/ofrep/"):
        # As OFREP has it, and nowhere else.
        shown += [f"Bearer {key}" for key in values(scope["headers"], b"x-api-key")]
    if keyring.is_open and is_forwarded(scope["headers"]):
        raise unauthorized(THROUGH_PROXY)
    return await keyring.learning(
        lambda: keyring.caller(peer=peer(scope), authorizations=shown, session=session(scope))
    )


def peer(scope: Scope) -> str:
    """The address that the request came from; empty for a Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client and client[0] else ""


def session(scope: Scope) -> str:
    """The session that the request names; empty when it names none."""
    for field in values(scope["headers"], b"cookie"):
        try:
            found = SimpleCookie(field).get(COOKIE)
        except CookieError:
            continue
        if found is not None:
            return found.value
    return ""


def _is_for_people(scope: Scope) -> bool:
    return any("text/html" in field for field in values(scope["headers"], b"accept"))
