"""Environments over HTTP: which there are, the rules of each, and a flag from one into another."""

import asyncio
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from understudy.access import Role
from understudy.admin.changes import changes
from understudy.admin.entity_tags import etag
from understudy.admin.environments import Environments
from understudy.admin.promotion import PARTS, Promotion, promoted
from understudy.admin.refusal import Refusal
from understudy.admin.request import author, caller_of, check_reason, json_answer, origin, within
from understudy.admin.rules import RulesEndpoints, change_answer, expected_version
from understudy.admin.versions import VersionEndpoints
from understudy.errors import ConfigError
from understudy.store import StoredRules


class EnvironmentEndpoints:
    """``/api/v1/environments`` and what lies below."""

    def __init__(self, environments: Environments | None) -> None:
        self._given = environments

    @property
    def _environments(self) -> Environments:
        if self._given is None:
            raise Refusal(501, "this admin server has no store, so no environments")
        return self._given

    async def known(self, request: Request) -> Response:
        """GET the environments of the store that the caller may view, with the newest version of each."""
        caller, own = caller_of(request), self._environments.own
        found = await within(self._environments.known())
        return json_answer(
            {
                "own": own,
                "environments": [
                    {
                        "name": environment.name,
                        "own": environment.name == own,
                        "version": environment.version,
                        "at": environment.at or None,
                        "services": environment.services,
                    }
                    for environment in found
                    if (role := caller.role_in(environment.name)) is not None and role.may(Role.VIEWER)
                ],
            }
        )

    async def rules(self, request: Request) -> Response:
        """GET the rules document of an environment, or PUT its next version (If-None-Match: * the first)."""
        return await RulesEndpoints(self._of(request)).document(request)

    async def history(self, request: Request) -> Response:
        """GET who changed the rules of an environment when and why, newest first."""
        return await RulesEndpoints(self._of(request)).history(request)

    async def version(self, request: Request) -> Response:
        """GET the rules document of an environment as it was in a version."""
        return await VersionEndpoints(self._of(request)).document(request)

    async def diff(self, request: Request) -> Response:
        """GET what changed in an environment from one version to another, by JSON Pointer."""
        return await VersionEndpoints(self._of(request)).diff(request)

    async def restore(self, request: Request) -> Response:
        """POST makes a version of an environment the newest again; flags that are killed stay killed."""
        return await VersionEndpoints(self._of(request)).restore(request)

    async def promotion(self, request: Request) -> Response:
        """GET what it would change to bring a flag into the environment `to` (`with` more), or POST it."""
        here, to = request.path_params["environment"], _target(request)
        if here == to:
            raise Refusal(400, f"to names {to}, where the flag comes from; name another environment")
        parts = _parts(request)
        target = self._environments.rules_of(to)
        source = await within(self._environments.rules_of(here).rules())
        before = await within(target.rules())
        key = request.path_params["key"]
        # In a thread: both documents are walked whole, which takes a second where they have 10,000 flags.
        promotion = await asyncio.to_thread(promoted, source.document, before.document, key, parts=parts)
        about = await asyncio.to_thread(_about, promotion, key, (here, source), (to, before))
        if request.method != "POST":
            about["errors"] = await self._errors(promotion, to)
            return json_answer(about, headers={"ETag": etag(before.version)})
        reason = check_reason(request.query_params.get("reason", ""))
        expected = await expected_version(request, target)
        if expected not in (None, before.version):
            detail = f"the rules of {to} are at version {before.version} by now; nothing was changed"
            raise Refusal(
                412, detail, headers={"ETag": etag(before.version)}, expected=expected, actual=before.version
            )
        if not about["changes"]:
            return json_answer({**about, "version": before.version}, headers={"ETag": etag(before.version)})
        words = f"promote {key} from {here} version {source.version}"
        change = await within(
            target.put_rules(
                promotion.document,
                expected=before.version,
                author=author(request),
                origin=origin(request),
                reason=f"{words}: {reason}" if reason else words,
            )
        )
        return change_answer(change, **about)

    async def _errors(self, promotion: Promotion, to: str) -> list[dict[str, str]]:
        try:
            await within(self._environments.parsed(promotion.document, to))
        except ConfigError as error:
            return [
                {"path": problem.path, "message": problem.message, "hint": problem.hint}
                for problem in error.problems
            ]
        return []

    def _of(self, request: Request) -> Any:
        return self._environments.rules_of(request.path_params["environment"])


def _target(request: Request) -> str:
    given = request.query_params.getlist("to")
    if len(given) != 1 or not given[0]:
        raise Refusal(400, "say once where the flag shall go: ?to=ENVIRONMENT")
    return given[0]


def _parts(request: Request) -> tuple[str, ...]:
    """The parts that shall travel, too. Raises: Refusal 400."""
    given = ",".join(request.query_params.getlist("with"))
    parts = tuple(part for part in given.split(",") if part)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise Refusal(400, f"with has no {unknown[0]!r}: it lists some of {', '.join(PARTS)}", known=PARTS)
    return parts


def _about(
    promotion: Promotion, key: str, source: tuple[str, StoredRules], target: tuple[str, StoredRules]
) -> dict[str, Any]:
    (here, rules), (to, before) = source, target
    return {
        "flag": key,
        "from": {"environment": here, "version": rules.version},
        "to": {"environment": to, "version": before.version},
        "flags": promotion.flags,
        "segments": promotion.segments,
        "changes": list(changes(before.document, promotion.document)),
        "stays": [asdict(stay) for stay in promotion.stays],
        "notes": promotion.notes,
    }
