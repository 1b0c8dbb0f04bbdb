"""The kill switches as the report tells of them: every flag that routes, and every flag that is killed."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from understudy.access import Deed
from understudy.config import Rules
from understudy.config.summary import variants
from understudy.decide import Document

MOST_SWITCHES: Final = 500
"""Flags that route are a handful; of thousands that are killed, `GET /api/v1/flags?state=KILLED` has all."""


def switches(rules: Rules, here: Collection[str]) -> list[dict[str, Any]]:
    """Each flag that a route of *rules* consults, in their order, and then what else is killed, by its rules
    or (*here*) on this host: state, safe variant, and the variants of one that routes with their shares."""
    routing = dict.fromkeys(route.flag for route in rules.routes if route.flag)
    killed = sorted(key for key in {*rules.killed, *here} if key not in routing and key in rules.flags)
    definitions = Document(flags=rules.flags, metadata=rules.metadata)
    return [
        _switch(key, rules, definitions, here, is_routing=key in routing)
        for key in [*routing, *killed][:MOST_SWITCHES]
    ]


def _switch(
    key: str, rules: Rules, definitions: Document, here: Collection[str], *, is_routing: bool
) -> dict[str, Any]:
    read = definitions.flag(key)
    by = [*(["rules"] if key in rules.killed else []), *(["kill_file"] if key in here else [])]
    return {
        "flag": key,
        "state": "KILLED" if by else "ENABLED" if read is not None and read.is_enabled else "DISABLED",
        "killed_by": by,
        "safe_variant": read.safe if read is not None else None,
        "variants": [
            {"variant": one.name, "share": one.share, "serve": one.serve, "mirror": list(one.mirror)}
            for one in (variants(rules.flags[key], rules.evaluators) if is_routing else ())
        ],
    }


def killed(
    rules: Rules, here: Collection[str], deeds: Mapping[str, Deed], *, files: Collection[str]
) -> list[dict[str, Any]]:
    """Each kill switch that is on, with who put it on, when and why as far as *deeds* know; those of this
    host (*here*) with the kill *files* that say so."""
    everywhere = [
        {
            "flag": key,
            "by": "rules",
            "who": deed.who if deed else None,
            "at": deed.at if deed else None,
            "reason": deed.reason if deed else None,
        }
        for key in rules.killed
        for deed in [deeds.get(key)]
    ]
    return everywhere + [{"flag": key, "by": "kill_file", "files": list(files)} for key in sorted(here)]
