"""The flags in flagd's format, for providers that evaluate in their own process."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from understudy.admin.in_force import InForce
from understudy.admin.payload import json_bytes
from understudy.config import Rules
from understudy.decide import Document, referred


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One definition as JSON, and a digest of it."""

    body: bytes
    digest: str


class Definitions:
    """The definitions of the rules in force, each flag set's written once."""

    def __init__(self) -> None:
        self._in_force: InForce | None = None
        self._written: dict[tuple[str, bool], Definition] = {}

    def of(self, in_force: InForce, selector: str, *, is_whole: bool = False) -> Definition:
        """That of the flag set *selector* (``metadata.flagSetId``), or of all flags when it is empty.

        *is_whole*: as `whole` has it, else as `definition` has it.
        """
        if self._in_force is not in_force:
            self._in_force, self._written = in_force, {}
        found = self._written.get((selector, is_whole))
        if found is None:
            content = (whole if is_whole else definition)(in_force.rules, selector)
            body = json_bytes(content)
            found = Definition(body=body, digest=blake2b(body, digest_size=16).hexdigest())
            # What a client makes up takes no memory.
            if content["flags"]:
                self._written[selector, is_whole] = found
        return found


def definition(rules: Rules, selector: str = "") -> dict[str, Any]:
    """The flags in flagd's format. A killed one has its safe variant as its only answer.

    Flags whose rules ask other flags are left out: flagd has no such operation, and one that it does not know
    costs the whole definition.
    """
    ours = _asking(rules.evaluators)
    found: dict[str, Any] = {"flags": dict(_flags(rules, selector, ours))}
    if rules.evaluators:
        found["$evaluators"] = {name: rule for name, rule in rules.evaluators.items() if name not in ours}
    if rules.metadata:
        found["metadata"] = dict(rules.metadata)
    return found


def whole(rules: Rules, selector: str = "") -> dict[str, Any]:
    """The flags as they stand, and which are killed, for who knows prerequisites and kill switches.

    Those that the flags of a flag set ask stand there too, from whatever flag set they are.
    """
    keys = {key for key in rules.flags if not selector or flag_set(rules, key) == selector}
    todo = [rules.flags[key].get("targeting") for key in keys] if selector else []
    seen: set[str] = set()
    while todo:
        for name, other in referred(todo.pop()):
            if name == "flag" and other in rules.flags and other not in keys:
                keys.add(other)
                todo.append(rules.flags[other].get("targeting"))
            elif name == "$ref" and other not in seen:
                seen.add(other)
                todo.append(rules.evaluators.get(other))
    return {
        "flags": {key: flag for key, flag in rules.flags.items() if key in keys},
        "$evaluators": dict(rules.evaluators),
        "metadata": dict(rules.metadata),
        "killed": [key for key in rules.killed if key in keys],
    }


def flag_set(rules: Rules, key: str) -> str:
    """The flag set that flag *key* belongs to; empty when neither it nor the document names one."""
    flag = rules.flags.get(key)
    own = flag.get("metadata") if isinstance(flag, Mapping) else None
    return str({**rules.metadata, **(own or {})}.get("flagSetId", ""))


def _flags(rules: Rules, selector: str, ours: frozenset[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    document = Document(flags=rules.flags, metadata=rules.metadata)
    killed = frozenset(rules.killed)
    for key, flag in rules.flags.items():
        if selector and flag_set(rules, key) != selector:
            continue
        if key in killed:
            yield key, _killed(document, key, flag)
        elif not _asks(flag.get("targeting"), ours):
            yield key, {"state": "ENABLED", **flag}


def _killed(document: Document, key: str, flag: Mapping[str, Any]) -> dict[str, Any]:
    read = document.flag(key)
    rest = {name: value for name, value in flag.items() if name != "targeting"}
    metadata = {**(rest.get("metadata") or {}), "killed": True}
    safe = read.safe if read is not None else None
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
    return any(name == "flag" or other in ours for name, other in referred(rule))
