"""Tokens, sessions and the audit over HTTP."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from understudy.access import Caller, Role, Token
from understudy.admin.gate import COOKIE, identify, peer, session
from understudy.admin.keyring import SESSION_SECONDS, Keyring
from understudy.admin.login_page import login_page
from understudy.admin.open_door import OPEN
from understudy.admin.payload import JSON, MOST_REASON_BYTES, parse_body, read_body
from understudy.admin.refusal import Refusal
from understudy.admin.request import caller_of, check_reason, json_answer, whole_number, within
from understudy.config import Refused, read_environment
from understudy.errors import StoreError

_FORM: Final = "application/x-www-form-urlencoded"
_MOST_NAME_CHARACTERS: Final = 100
_MOST_DAYS: Final = 3650
_DAY_SECONDS: Final = 86_400.0
_MOST_ENTRIES: Final = 1000
MOST_ENVIRONMENTS: Final = 100
_KEYS: Final = ("name", "role", "roles", "flag_set", "expires_in_days", "reason")
_FLAG_SET: Final = re.compile(r"[^=,\s]{1,100}")
"""What a selector can name."""


class AccessEndpoints:
    """``/api/v1/access``, ``/session``, ``/tokens`` and ``/audit``."""

    def __init__(self, keyring: Keyring, *, clock: Callable[[], float] = time.time) -> None:
        self._keyring = keyring
        self._store = keyring.store
        self._clock = clock

    async def access(self, request: Request) -> Response:
        """GET whether everybody on this machine may do everything, and as whom the asker is known."""
        try:
            caller: Caller | None = await identify(request.scope, self._keyring)
        except (Refusal, StoreError):
            caller = None
        you = None if caller is None else self._about_caller(caller)
        is_open = self._keyring.is_open
        detail = OPEN if is_open else "an API token is needed"
        return json_answer({"open": is_open, "detail": detail, "you": you})

    def _about_caller(self, caller: Caller) -> dict[str, Any]:
        """``role`` is the one in the environment of this process; ``roles`` those given by name."""
        environment = self._keyring.environment
        return {
            "name": caller.name,
            "role": caller.role_in(environment),
            "environment": environment,
            "role_elsewhere": caller.role,
            "roles": dict(caller.roles),
        }

    async def session(self, request: Request) -> Response:
        """POST a token (JSON, or the form of the page) for a session cookie of 12 hours; DELETE ends it."""
        if request.method == "DELETE":
            self._keyring.log_out(session(request.scope))
            answer = Response(status_code=204)
            answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
            return answer
        is_form = request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM
        try:
            text = await _sent_token(request, is_form=is_form)
            name, caller = await self._keyring.learning(
                lambda: self._keyring.log_in(peer=peer(request.scope), text=text)
            )
        except Refusal as refusal:
            if is_form and refusal.status in (401, 429):
                return login_page(refusal)
            raise
        answer = (
            RedirectResponse("/", status_code=303) if is_form else json_answer(self._about_caller(caller))
        )
        answer.set_cookie(
            COOKIE,
            name,
            max_age=int(SESSION_SECONDS),
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    async def tokens(self, request: Request) -> Response:
        """GET every token (never its secret), or POST the name and role of a new one, shown this once."""
        if request.method != "POST":
            await within(self._keyring.refresh())
            return json_answer({"tokens": [_about(token) for token in self._keyring.tokens()]})
        body = await read_body(request, most_bytes=MOST_REASON_BYTES)
        given = await parse_body(request, body, kinds=(JSON,))
        name, role, roles, days, reason = read_wanted(given)
        flag_set = read_wanted_set(given, role, roles)
        token, text = await within(
            self._keyring.create(
                name=name,
                role=role,
                roles=roles,
                flag_set=flag_set,
                expires_at=self._clock() + days * _DAY_SECONDS if days else 0.0,
                by=caller_of(request),
                reason=reason,
            )
        )
        return json_answer({"token": text, **_about(token)}, status_code=201)

    async def revoke(self, request: Request) -> Response:
        """DELETE a token: it ends at once, with its sessions."""
        reason = check_reason(request.query_params.get("reason", ""))
        selector = request.path_params["selector"]
        by = caller_of(request)
        return json_answer(_about(await within(self._keyring.revoke(selector, by=by, reason=reason))))

    async def audit(self, request: Request) -> Response:
        """GET the audit beyond entry ``after``, ``limit`` entries (1000) at most, and the chain's head."""
        after = whole_number(request, "after", usual=0, least=0, most=2**53)
        limit = whole_number(request, "limit", usual=_MOST_ENTRIES, least=1, most=_MOST_ENTRIES)
        # The head first: what is written in between is beyond it, and not missing.
        head = await within(self._store.audit_head())
        entries = await within(self._store.audit(after=after, limit=limit))
        return json_answer(
            {
                "entries": [entry.plain() for entry in entries],
                "head": {"number": head.number, "hash": head.hash},
            }
        )


async def _sent_token(request: Request, *, is_form: bool) -> str:
    body = await read_body(request, most_bytes=MOST_REASON_BYTES)
    if is_form:
        fields: object = dict(parse_qsl(body.decode("latin-1"), max_num_fields=10))
    else:
        fields = await parse_body(request, body, kinds=(JSON,))
    token = fields.get("token") if isinstance(fields, Mapping) and set(fields) == {"token"} else None
    if not isinstance(token, str):
        raise Refusal(422, 'the body is {"token": "…"} and nothing else')
    return token.strip()


def read_wanted(given: object) -> tuple[str, Role | None, dict[str, Role], int, str]:
    """Name, role, roles by environment, days (0: for ever) and reason of a new token.

    Raises: Refusal 422 with every mistake.
    """
    if not isinstance(given, Mapping):
        given = {"": given}
    errors = [
        _error(str(key), "unknown key", f"one of {', '.join(_KEYS)}") for key in given if key not in _KEYS
    ]
    name, role, days = given.get("name"), given.get("role"), given.get("expires_in_days", 0)
    roles: Any = given.get("roles") or {}
    errors += _mistaken_roles(roles)
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        errors.append(_error("name", "must be one line of text: whose token, or what for"))
    elif len(name) > _MOST_NAME_CHARACTERS:
        errors.append(_error("name", f"must be at most {_MOST_NAME_CHARACTERS} characters long"))
    if role not in list(Role) and not (role is None and roles):
        errors.append(_error("role", "must be a role", f"one of {', '.join(Role)}"))
    if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= _MOST_DAYS:
        errors.append(_error("expires_in_days", f"must be a whole number up to {_MOST_DAYS}; 0: never"))
    if errors:
        raise Refusal(
            422, "; ".join(f"{error['path']}: {error['message']}" for error in errors), errors=errors
        )
    return (
        str(name).strip(),
        None if role is None else Role(str(role)),
        {environment: Role(held) for environment, held in roles.items()},
        int(str(days)),
        check_reason(given.get("reason", "")),
    )


def read_wanted_set(given: object, role: Role | None, roles: Mapping[str, Role]) -> str:
    """The flag set that a new token is held to; empty: none. Raises: Refusal 422."""
    flag_set = given.get("flag_set", "") if isinstance(given, Mapping) else ""
    if flag_set == "":
        return ""
    error = None
    if not isinstance(flag_set, str) or not _FLAG_SET.fullmatch(flag_set):
        error = _error("flag_set", "must be the flagSetId of some flags", "without spaces, commas and =")
    elif {role, *roles.values()} != {Role.EVALUATOR}:
        error = _error("flag_set", "is for an evaluator: every other role reads all rules", "role: evaluator")
    if error is not None:
        raise Refusal(422, f"{error['path']}: {error['message']}", errors=[error])
    return str(flag_set)


def _mistaken_roles(roles: object) -> list[dict[str, str]]:
    if not isinstance(roles, Mapping):
        return [_error("roles", "must be an object of roles by environment", '{"dev": "editor"}')]
    errors = []
    for environment, role in roles.items():
        try:
            read_environment(environment)
        except Refused as refused:
            errors.append(_error(f"roles.{environment}", refused.message, refused.hint))
        if role not in list(Role):
            errors.append(_error(f"roles.{environment}", "must be a role", f"one of {', '.join(Role)}"))
    if len(roles) > MOST_ENVIRONMENTS:
        errors.append(_error("roles", f"names more than {MOST_ENVIRONMENTS} environments"))
    return errors


def _error(path: str, message: str, hint: str = "") -> dict[str, str]:
    return {"path": path, "message": message, "hint": hint}


def _about(token: Token) -> dict[str, Any]:
    return {
        "selector": token.selector,
        "name": token.name,
        "role": token.role,
        "roles": dict(token.roles),
        "flag_set": token.flag_set,
        "created_at": token.created_at,
        "created_by": token.created_by,
        "expires_at": token.expires_at or None,
        "used_at": token.used_at or None,
        "revoked_at": token.revoked_at or None,
    }
