"""flagd's HTTP sync: the flags as a definition, for providers that evaluate in their own process."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.decider import Decider, Deciding
from understudy.admin.ofrep_request import tagged
from understudy.admin.payload import json_bytes

_CACHING: Final = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}


class SyncEndpoints:
    """``GET /api/v1/sync/flags.json``, from the rules in force."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider
        self._made: tuple[Deciding, bytes, str] | None = None

    async def definition(self, request: Request) -> Response:
        """The flagd definition; 304 when If-None-Match has it. Routes and compare rules are not in it."""
        deciding = await self._decider.deciding()
        if self._made is None or self._made[0] is not deciding:
            body = json_bytes(definition(deciding))
            self._made = (deciding, body, blake2b(body, digest_size=16).hexdigest())
        _, body, opaque = self._made
        return tagged(request, body, opaque, headers=_CACHING)


def definition(deciding: Deciding) -> dict[str, Any]:
    """The flags in flagd's format. A killed one has its safe variant as its only answer.

    Flags whose rules ask other flags are left out: flagd has no such operation, and one that it does not know
    costs the whole definition.
    """
    rules = deciding.in_force.rules
    killed, ours = frozenset(rules.killed), _asking(rules.evaluators)
    flags: dict[str, Any] = {}
    for key, flag in rules.flags.items():
        if key in killed:
            flags[key] = _killed(deciding, key, flag)
        elif not _asks(flag.get("targeting"), ours):
            flags[key] = {"state": "ENABLED", **flag}
    found: dict[str, Any] = {"flags": flags}
    if rules.evaluators:
        found["$evaluators"] = {name: rule for name, rule in rules.evaluators.items() if name not in ours}
    if rules.metadata:
        found["metadata"] = dict(rules.metadata)
    return found


def _killed(deciding: Deciding, key: str, flag: Mapping[str, Any]) -> dict[str, Any]:
    safe = deciding.evaluate(key, {}).variant or None
    rest = {name: value for name, value in flag.items() if name != "targeting"}
    metadata = {**(rest.get("metadata") or {}), "killed": True}
    return {**rest, "state": "ENABLED", "defaultVariant": safe, "metadata": metadata}


def _asking(evaluators: Mapping[str, Any]) -> frozenset[str]:
    """The shared rules that ask flags, themselves or through others."""
    found: frozenset[str] = frozenset()
    while True:
        more = frozenset(name for name, rule in evaluators.items() if _asks(rule, found))
        if more == found:
            return found
        found = more


def _asks(rule: Any, ours: frozenset[str]) -> bool:
    """Whether *rule* asks a flag, or refers to one of the shared rules *ours*."""
    todo = [rule]
    while todo:
        node = todo.pop()
        if isinstance(node, list):
            todo += node
        elif isinstance(node, Mapping):
            name = node.get("$ref")
            if "flag" in node or (isinstance(name, str) and name in ours):
                return True
            todo += node.values()
    return False
