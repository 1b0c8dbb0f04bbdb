"""The kill switches that a report tells of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.report import tolerant
from understudy.report.numbers import moment, percent

HERE = "kill_file"
EVERYWHERE = "rules"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One variant of a flag that routes; ``share`` is None where only running the rule tells."""

    variant: str
    share: float | None
    serve: str
    mirror: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """The kill switch of one flag: ``by`` says which of ``EVERYWHERE`` and ``HERE`` put it on.

    ``who``, ``at`` (Unix seconds) and ``why`` are of the one everywhere, ``files`` of the one here.
    """

    flag: str
    state: str
    safe: str
    parts: tuple[Part, ...]
    by: tuple[str, ...]
    who: str = ""
    at: float | None = None
    why: str = ""
    files: tuple[str, ...] = ()

    @property
    def is_on(self) -> bool:
        """Whether the flag is killed."""
        return bool(self.by)

    @property
    def is_here(self) -> bool:
        """Whether the kill file of the host that made the report kills it."""
        return HERE in self.by

    @property
    def is_everywhere(self) -> bool:
        """Whether the rules kill it, so that it can be revived with a click."""
        return EVERYWHERE in self.by


def read_switches(report: Mapping[str, Any]) -> tuple[Switch, ...]:
    """What stands under ``switches`` and ``killed``; what is killed and has no switch gets one."""
    killed: dict[str, dict[str, Mapping[str, Any]]] = {}
    for item in tolerant.mappings(report.get("killed")):
        killed.setdefault(tolerant.text(item.get("flag")), {})[tolerant.text(item.get("by"))] = item
    told = [_switch(item, killed) for item in tolerant.mappings(report.get("switches"))]
    known = {switch.flag: switch for switch in told}
    return (*known.values(), *(_switch({"flag": flag}, killed) for flag in killed if flag not in known))


def _switch(item: Mapping[str, Any], killed: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Switch:
    flag = tolerant.text(item.get("flag"))
    by = killed.get(flag, {})
    deed, local = by.get(EVERYWHERE, {}), by.get(HERE, {})
    return Switch(
        flag=flag,
        state="KILLED" if by else tolerant.text(item.get("state")),
        safe=tolerant.text(item.get("safe_variant")),
        parts=tuple(_part(part) for part in tolerant.mappings(item.get("variants"))),
        by=tuple(by),
        who=tolerant.text(deed.get("who")),
        at=tolerant.number(deed.get("at")),
        why=tolerant.text(deed.get("reason")),
        files=tuple(map(tolerant.text, tolerant.items(local.get("files")))),
    )


def _part(item: Mapping[str, Any]) -> Part:
    return Part(
        variant=tolerant.text(item.get("variant")),
        share=tolerant.number(item.get("share")),
        serve=tolerant.text(item.get("serve")),
        mirror=tuple(map(tolerant.text, tolerant.items(item.get("mirror")))),
    )


def part_words(part: Part) -> str:
    """``canary 5 % → shop-v2``, and what gets a copy."""
    share = "by rule" if part.share is None else percent(part.share)
    copy = f" (mirrored to {', '.join(part.mirror)})" if part.mirror else ""
    return f"{part.variant} {share} → {part.serve}{copy}"


def kill_words(switch: Switch) -> str:
    """Who killed it, when and why, as a sentence; empty when it is not killed."""
    told = []
    if switch.is_everywhere:
        by = f" by {switch.who}" if switch.who else ""
        at = f", {moment(switch.at)}" if moment(switch.at) else ""
        why = f": {switch.why}" if switch.why and switch.why != f"kill {switch.flag}" else ""
        told.append(f"Killed everywhere{by}{at}{why}.")
    if switch.is_here:
        files = f", {' and '.join(switch.files)}" if switch.files else ""
        told.append(f"Killed on this host alone by its kill file{files}.")
    return " ".join(told)
