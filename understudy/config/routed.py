"""The part of a rules document that requests are decided by: all that a worker has to read of it."""

from collections.abc import Iterable

from understudy.decide import referred


def routed(document: object) -> object:
    """*document* with the flags alone that routes consult, and those that these ask.

    Ten thousand flags would hold up a worker's requests for a third of a second with every change of one of
    them. What is no rules document comes back as it is, for `parse_rules` to refuse.
    """
    if not isinstance(document, dict):
        return document
    flags, routes, shared = document.get("flags"), document.get("routes"), document.get("$evaluators", {})
    if not (isinstance(flags, dict) and isinstance(routes, list) and isinstance(shared, dict)):
        return document
    consulted = [route.get("flag") for route in routes if isinstance(route, dict)]
    keys = _asked(flags, [*consulted, *(key for rule in shared.values() for key in _flags_in(rule))])
    part = {**document, "flags": {key: flag for key, flag in flags.items() if key in keys}}
    killed = document.get("killed")
    if isinstance(killed, list):
        part["killed"] = [
            key for key in killed if not isinstance(key, str) or key in keys or key not in flags
        ]
    return part


def _asked(flags: dict[str, object], first: Iterable[object]) -> set[str]:
    """The *first* flags, and those that they ask, and so on."""
    todo, found = list(first), set[str]()
    while todo:
        key = todo.pop()
        if isinstance(key, str) and key in flags and key not in found:
            found.add(key)
            flag = flags[key]
            todo += _flags_in(flag.get("targeting")) if isinstance(flag, dict) else ()
    return found


def _flags_in(rule: object) -> list[str]:
    return [name for operation, name in referred(rule) if operation == "flag"]
