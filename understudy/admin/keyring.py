"""Who is asking: API tokens and sessions, known in memory, kept in the store.

A request never waits for the store here. What another process changed there is known within
``REFRESH_SECONDS``; while the store is away, the tokens that were known last go on working.
"""

import asyncio
import hashlib
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from understudy.access import (
    Backoff,
    Caller,
    Deed,
    Role,
    Token,
    digest,
    is_usable,
    network,
    read_token,
    secret_matches,
    token_text,
    words,
)
from understudy.access.token import SECRET_BYTES, SELECTOR_BYTES
from understudy.access.trust import NotTrusted, UnknownKey
from understudy.admin.issuer import Issuer
from understudy.admin.open_door import CREATE_FIRST, anyone
from understudy.admin.refusal import Refusal, too_often, unauthorized
from understudy.config import DEFAULT_ENVIRONMENT
from understudy.errors import StoreError
from understudy.store import AccessStore

log = logging.getLogger("understudy.control")

REFRESH_SECONDS: Final = 4.0
"""So that what another process revokes is refused, and its open streams are cut, within 5 s."""
LOOKED_SECONDS: Final = 4.0
"""How often an open stream looks whether its token still holds, whatever is heard meanwhile."""
FIRST_SECONDS: Final = 0.5
"""How soon the tokens are asked for again while none could be read yet, so that nobody gets in."""
MOST_FAILURES: Final = 10
"""Attempts to read the tokens for the first time, some 5 s, that are waited for before requests come."""
SESSION_SECONDS: Final = 12 * 3600.0
"""A working day: nobody logs in twice, and a browser that was left open does not stay logged in."""
MOST_SESSIONS: Final = 1000
_BEGIN_SECONDS: Final = 0.3
_NOTE_SECONDS: Final = 2.0
MOST_TOKENS: Final = 10_000

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    selector: str
    ends_at: float
    caller: Caller | None = None
    """Whose it is, if a JSON Web Token opened it: there is no token to look up."""


class Keyring:
    """Tells callers by their credentials. Open to callers on this machine until the first token is made."""

    def __init__(
        self,
        store: AccessStore,
        *,
        tokens: Iterable[Token] | None = None,
        issuer: Issuer | None = None,
        clock: Callable[[], float] = time.time,
        environment: str = DEFAULT_ENVIRONMENT,
    ) -> None:
        """*tokens* are those of *store* if they are known; else nobody is let in before `refresh`.

        *environment* is that of this process: what a request asks for unless its path names another.
        """
        self.store = store
        self.environment = environment
        self._clock = clock
        self.issuer = issuer
        self._tokens: dict[str, Token] | None = None
        self._reads = self._learned = self._failures = 0
        self._used: dict[str, float] = {}
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._turned = asyncio.Event()
        self.backoff = Backoff()
        self._was_closed = False
        if tokens is not None:
            self._learn(0, tokens)

    # -- what is known -------------------------------------------------------------------------------

    @property
    def is_known(self) -> bool:
        """Whether the store could be read yet. Before that nobody is let in."""
        return self._tokens is not None

    @property
    def is_awaited(self) -> bool:
        """Whether the tokens are about to be read, and not only failing to be: one that is damaged, say."""
        return not self.is_known and self._failures < MOST_FAILURES

    @property
    def is_open(self) -> bool:
        """Whether no token was ever made, so that everybody on this machine may do everything."""
        return self.is_known and not self._was_closed and self.issuer is None

    def tokens(self) -> list[Token]:
        """Every token, with its last use as this process knows it."""
        return sorted(self._known().values(), key=lambda token: (token.created_at, token.selector))

    async def refresh(self) -> None:
        """Note what was used, and read the tokens anew. Raises: StoreError."""
        used, self._used = self._used, {}
        try:
            await self.store.note_used(used)
        except StoreError:
            self._used = used | self._used
            await self._read()  # what others revoked counts although nothing can be noted
            raise
        await self._read()

    async def _read(self) -> None:
        self._reads = serial = self._reads + 1
        self._learn(serial, await self.store.tokens())

    def _learn(self, serial: int, tokens: Iterable[Token]) -> None:
        """Know *tokens*, unless a read that began after number *serial* was faster.

        What is revoked stays so, and what was closed stays closed: a store that was emptied, or put back from
        a copy, gives nobody anything.
        """
        if serial < self._learned:
            return
        known, self._learned = self._tokens, serial
        before = known or {}
        self._tokens = {token.selector: _still(token, before.get(token.selector)) for token in tokens}
        if before and not self._tokens:
            log.error("the store has no API tokens any more; nobody gets in before one is made there")
        self._was_closed = self._was_closed or bool(self._tokens)
        if known is None or _ends(known) != _ends(self._tokens):
            self._turn()

    async def begin(self) -> None:
        """Read the tokens if that takes no time; else `run` does, and nobody is let in before.

        Rules may be there before the tokens: from a copy, while what holds both is away.
        """
        try:
            async with asyncio.timeout(_BEGIN_SECONDS):
                await self.refresh()
        except (StoreError, TimeoutError) as error:
            self._failures += 1
            log.warning("the admin API lets nobody in before the tokens are read: %s", error)

    async def run(self) -> None:
        """Refresh for ever; a store that fails is told of elsewhere."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS if self.is_known else FIRST_SECONDS)
            try:
                await self.refresh()
            except StoreError:
                self._failures += 1
                log.debug("the tokens could not be read again; those known go on working")

    # -- who is asking -------------------------------------------------------------------------------

    def caller(self, *, peer: str, authorizations: list[str], session: str) -> Caller:
        """Who asks from address *peer* with these fields. Raises: Refusal 401, 429; StoreError."""
        self._known()
        if self.is_open:
            return anyone(peer)
        if len(authorizations) > 1:
            raise Refusal(400, "a request has at most one Authorization field")
        if authorizations:
            return self._bearer(peer, authorizations[0])
        if session:
            return self._of_session(peer, session)
        raise unauthorized("this needs an API token: Authorization: Bearer TOKEN")

    async def learning(self, ask: Callable[[], Answer]) -> Answer:
        """What *ask* answers; once more after the issuer's keys were fetched, if it named a new one."""
        try:
            return ask()
        except UnknownKey:
            if self.issuer is not None:
                await self.issuer.learn()
        try:
            return ask()
        except UnknownKey as error:
            raise unauthorized(str(error)) from None

    async def ended(self, caller: Caller) -> None:
        """Return once *caller* is let in no more: its token is revoked or has expired, its session is over.

        While no token exists everybody is let in, until the first one is made.
        """
        while self._holds(caller):
            turned, left = self._turned, caller.ends_at - self._clock()
            wait = min(max(left, 0.0), LOOKED_SECONDS) if caller.ends_at else LOOKED_SECONDS
            try:
                async with asyncio.timeout(wait):
                    await turned.wait()
            except TimeoutError:
                pass

    def _holds(self, caller: Caller) -> bool:
        now = self._clock()
        if (caller.ends_at and now >= caller.ends_at) or (
            caller.session and caller.session not in self._sessions
        ):
            return False
        if not caller.selector:
            return bool(caller.ends_at) or self.is_open
        token = self._known().get(caller.selector)
        return token is not None and is_usable(token, now)

    def _turn(self) -> None:
        self._turned.set()
        self._turned = asyncio.Event()

    def log_in(self, *, peer: str, text: str) -> tuple[str, Caller]:
        """The name of a new session of the token *text*, and whose it is. Raises: Refusal, StoreError."""
        self._known()
        if self.is_open:
            raise Refusal(409, f"there is no API token yet, so nobody has to log in; `{CREATE_FIRST}`")
        caller = self._bearer(peer, f"Bearer {text}")
        found, ends_at = read_token(text), self._clock() + SESSION_SECONDS
        session = _Session(selector=found[0] if found else "", ends_at=ends_at)
        if self.issuer is not None and not found:
            ends_at = min(ends_at, self.issuer.verify(text, self._clock()).expires_at)
            session = _Session(selector="", ends_at=ends_at, caller=caller)
        name = secrets.token_urlsafe(32)
        self._sessions[_key(name)] = session
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return name, caller

    def log_out(self, session: str) -> None:
        """End *session*, if there is one."""
        if self._sessions.pop(_key(session), None) is not None:
            self._turn()

    def _bearer(self, peer: str, field: str) -> Caller:
        scheme, _, text = field.partition(" ")
        found = read_token(text.strip(" ")) if scheme.lower() == "bearer" else None
        token = self._known().get(found[0]) if found else None
        now = self._clock()
        if self.issuer is not None and scheme.lower() == "bearer" and text.count(".") == 2:
            return self._of_issuer(self.issuer, peer, text.strip(" "), now)
        # A right one is always heard: who guesses at 256 bits behind the same address shall lock nobody out.
        if token is None or not secret_matches(token, found[1] if found else ""):
            self._failed((network(peer), token.selector if token else ""), now)
            raise unauthorized("this is no API token of this server")
        return self._caller(token, peer, now)

    def _failed(self, key: tuple[str, str], now: float) -> None:
        """Count a failure of *key*. Raises: Refusal 429 when it had to wait."""
        wait = self.backoff.wait_seconds(key, now)
        if wait > 0:
            raise too_often(wait)
        self.backoff.failed(key, now)

    def _of_issuer(self, issuer: Issuer, peer: str, text: str, now: float) -> Caller:
        """Whom *issuer* names. Nobody is kept out for another's forgeries: a signature cannot be guessed."""
        try:
            claims = issuer.verify(text, now)
        except UnknownKey:
            raise
        except NotTrusted as error:
            self._failed((network(peer), "."), now)
            raise unauthorized(str(error)) from None
        return Caller(
            name=f"{claims.subject} ({issuer.trust.issuer})",
            role=claims.role,
            roles=claims.roles,
            origin=peer,
            ends_at=claims.expires_at,
        )

    def _of_session(self, peer: str, name: str) -> Caller:
        now = self._clock()
        session = self._sessions.get(_key(name))
        token = self._known().get(session.selector) if session else None
        if session is not None and session.caller is not None and now < session.ends_at:
            return replace(session.caller, origin=peer, session=_key(name), ends_at=session.ends_at)
        if session is None or token is None or now >= session.ends_at:
            self.log_out(name)
            raise unauthorized("the session has ended; log in again")
        caller, ends_at = self._caller(token, peer, now), session.ends_at
        if caller.ends_at:
            ends_at = min(ends_at, caller.ends_at)
        return replace(caller, session=_key(name), ends_at=ends_at)

    def _caller(self, token: Token, peer: str, now: float) -> Caller:
        if not is_usable(token, now):
            raise unauthorized(
                f"the token {token.selector} is {'revoked' if token.revoked_at else 'expired'}"
            )
        self._used[token.selector] = now
        return Caller(
            name=f"{token.name} ({token.selector})",
            role=token.role,
            roles=token.roles,
            flag_set=token.flag_set,
            origin=peer,
            selector=token.selector,
            ends_at=token.expires_at,
        )

    def _known(self) -> dict[str, Token]:
        if self._tokens is None:
            raise StoreError("tokens: the store has not been read yet; see /readyz for the reason")
        return self._tokens

    # -- changes -------------------------------------------------------------------------------------

    async def create(
        self,
        *,
        name: str,
        role: Role | None,
        expires_at: float,
        by: Caller,
        reason: str = "",
        roles: Mapping[str, Role] | None = None,
        flag_set: str = "",
    ) -> tuple[Token, str]:
        """A new token, and its text, which is kept nowhere. Raises: Refusal 409, 422; StoreError."""
        known = self._known()
        if self.is_open and (role is not Role.ADMIN or roles or expires_at):
            detail = (
                "the first token must be an admin's of every environment, without an end: with it the API"
                " is closed to all others"
            )
            raise Refusal(422, f"{detail}; `{CREATE_FIRST}`")
        if len(known) >= MOST_TOKENS:
            raise Refusal(409, f"there are {len(known):,} tokens already")
        text = token_text(secrets.token_bytes(SELECTOR_BYTES), secrets.token_bytes(SECRET_BYTES))
        selector, secret = read_token(text) or ("", "")
        now = self._clock()
        token = Token(
            selector=selector,
            name=name,
            role=role,
            roles=dict(roles or {}),
            flag_set=flag_set,
            digest=digest(secret),
            created_at=now,
            created_by=by.name,
            expires_at=expires_at,
        )
        await self.store.add_token(token, deed=_deed("token.create", token, by, now, reason))
        await self.refresh()
        return token, text

    async def revoke(self, selector: str, *, by: Caller, reason: str = "") -> Token:
        """Revoke a token, from now on. Raises: Refusal 404, 409; StoreError."""
        await self.refresh()
        token, now = self._known().get(selector), self._clock()
        if token is None or token.revoked_at:
            raise Refusal(404, f"there is no token {selector!r} that works")
        if not self._is_spare(token, now):
            raise Refusal(409, "this is the last token of an admin that does not end: make another one first")
        revoked = await self.store.revoke_token(selector, deed=_deed("token.revoke", token, by, now, reason))
        await self.refresh()
        if revoked is None:
            raise Refusal(404, f"there is no token {selector!r} that works")
        return revoked

    async def note(self, action: str, by: Caller) -> None:
        """Tell the audit of *action*, which changes nothing in the store.

        Never raises: a store that fails must not keep anybody from the reload that mends it.
        """
        deed = Deed(
            at=self._clock(),
            who=by.name,
            origin=by.origin,
            action=action,
            environment=self.environment,
        )
        try:
            async with asyncio.timeout(_NOTE_SECONDS):
                await self.store.record(deed)
        except (StoreError, TimeoutError) as error:
            log.error("the audit was not told that %s asked for %s: %s", by.name, action, error)

    def _is_spare(self, token: Token, now: float) -> bool:
        """Whether somebody can still give tokens when *token* is gone."""
        if self.issuer is not None:
            return True
        lasting = [
            other.selector
            for other in self._known().values()
            if other.role_everywhere is Role.ADMIN and is_usable(other, now) and not other.expires_at
        ]
        return lasting != [token.selector]


def _still(token: Token, before: Token | None) -> Token:
    """*token* as the store has it, revoked if it was *before*."""
    if before is None or not before.revoked_at or token.revoked_at:
        return token
    return replace(token, revoked_at=before.revoked_at)


def _deed(action: str, token: Token, by: Caller, now: float, reason: str) -> Deed:
    target = f"{token.name} ({token.selector}), {words(token.role, token.roles)}"
    return Deed(at=now, who=by.name, origin=by.origin, action=action, target=target, reason=reason)


def _ends(tokens: dict[str, Token]) -> dict[str, tuple[float, float]]:
    return {selector: (token.revoked_at, token.expires_at) for selector, token in tokens.items()}


def _key(session: str) -> str:
    """Sessions are kept under a hash: neither a dump nor the time of a look-up tells their names."""
    return hashlib.sha256(session.encode("utf-8", "replace")).hexdigest()
