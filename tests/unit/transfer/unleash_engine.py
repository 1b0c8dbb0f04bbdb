"""The evaluation of Unleash's own SDKs (yggdrasil), to be asked beside ours."""

import json
from collections.abc import Mapping
from typing import Any

from yggdrasil_engine.engine import UnleashEngine

from understudy.decide import Evaluator
from understudy.transfer import Imported


def unleash(document: Mapping[str, Any]) -> UnleashEngine:
    """Unleash's engine with the features of *document*."""
    engine = UnleashEngine()
    engine.take_state(json.dumps(document))
    return engine


def is_enabled(engine: UnleashEngine, key: str, context: Mapping[str, Any]) -> bool:
    """Whether *key* is on in Unleash for *context*, as its SDKs take one."""
    return bool(engine.is_enabled(key, dict(context)).is_enabled)


def ours(imported: Imported, *, now: float = 0.0) -> Evaluator:
    """Our evaluation of what was *imported*."""
    return Evaluator(
        flags=imported.flags,
        evaluators=imported.evaluators,
        metadata=imported.metadata,
        killed=imported.killed,
        clock=lambda: now,
    )


def our_context(context: Mapping[str, Any]) -> dict[str, Any]:
    """*context* of Unleash as one of ours."""
    names = {"userId": "targetingKey"}
    flat = {names.get(name, name): value for name, value in context.items() if name != "properties"}
    return {**flat, **context.get("properties", {})}
