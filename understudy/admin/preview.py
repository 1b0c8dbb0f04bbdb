"""The answer to a dry run: what would be stored, and who would move."""

import asyncio
import time
from typing import Any

from starlette.responses import Response

from understudy.admin.changes import changes
from understudy.admin.dry_run import DryRun
from understudy.admin.entity_tags import etag
from understudy.admin.movement import moves
from understudy.admin.request import json_answer, within
from understudy.admin.rules_plane import RulesPlane
from understudy.config import Rules
from understudy.errors import ConfigError
from understudy.store import StoredRules


async def preview(control: RulesPlane, dry: DryRun, stored: StoredRules, document: Any) -> Response:
    """What would change if *document* took the place of *stored*; nothing is stored, nor told to the audit.

    Raises: ConfigError when it would be refused.
    """
    after = await within(control.check_rules(document))
    before = await _before(control, stored)

    def drawn() -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        omitted = sorted(after.flags)
        if before is not None:
            found, omitted = moves(before, after, units=dry.units, context=dry.context, clock=time.time)
        return {
            "dry_run": True,
            "version": stored.version,
            "changes": list(changes(stored.document, after.document)),
            "moves": found,
            "omitted": omitted,
        }

    # In a thread: 10,000 units of ten flags take a second.
    return json_answer(await asyncio.to_thread(drawn), headers={"ETag": etag(stored.version)})


async def _before(control: RulesPlane, stored: StoredRules) -> Rules | None:
    """What *stored* says; None when that fits no more, say because a service is gone: mends are shown too."""
    current = None if control.succession is None else control.succession.current
    if current is not None and current.version == stored.version:
        return current.rules
    try:
        return await within(control.check_rules(stored.document))
    except ConfigError:
        return None
