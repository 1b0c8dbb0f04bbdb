"""Flags that nobody needs any more, each with why, and what to do about it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from understudy.config.splits import outcomes
from understudy.decide import Document
from understudy.decide.schedule import TIMESTAMP

DAY_SECONDS: Final = 86_400.0
_ORDER: Final = {"<": 1, "<=": 1, ">": -1, ">=": -1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How a flag was used: ``last_at`` in seconds since 1970, None when nobody asked as far as is known."""

    last_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a flag is stale: ``kind`` for programs, ``message`` and the ``step`` to take for people."""

    kind: str
    message: str
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """A flag with at least one reason to clear it away."""

    flag: str
    owner: str
    reasons: tuple[Reason, ...]


def stale_flags(
    document: Mapping[str, Any],
    *,
    past: Mapping[str, Any] | None,
    now: float,
    days: int,
    usage: Mapping[str, Use] | None = None,
) -> list[Stale]:
    """The flags of the rules *document* that look finished, by key.

    *past* is the document that was in force *days* days before *now* (seconds since 1970); without it nothing
    is said that needs a while to be true. *usage* is what was evaluated in at least as many days, None when
    that is not known.
    """
    flags = _part(document, "flags")
    found = []
    for key in sorted(flags):
        looked = _Flag(key=key, document=document, past=past, now=now, days=days)
        reasons = (*looked.reasons(), *looked.unused(usage))
        if reasons:
            found.append(Stale(flag=key, owner=str(looked.labels.get("owner", "")), reasons=reasons))
    return found


def _part(document: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    part = document.get(name) if document is not None else None
    return part if isinstance(part, Mapping) else {}


class _Flag:
    """One flag, looked at from all sides."""

    def __init__(
        self, *, key: str, document: Mapping[str, Any], past: Mapping[str, Any] | None, now: float, days: int
    ) -> None:
        self._key, self._document, self._past, self._now, self._days = key, document, past, now, days
        flag = _part(document, "flags")[key]
        self._flag: Mapping[str, Any] = flag if isinstance(flag, Mapping) else {}
        self.labels: Mapping[str, Any] = _part(self._flag, "metadata")

    def reasons(self) -> Iterator[Reason]:
        """What its definition, its kill switch and the routes say."""
        if self.labels.get("archived") is True:
            if self._is_as_it_was:
                step = f"delete it: DELETE /api/v1/flags/{self._key}"
                yield Reason(kind="archived", message=f"archived for {self._days} days", step=step)
            return
        killed = self._key in (self._document.get("killed") or ())
        if killed and self._key in ((self._past or {}).get("killed") or ()):
            step = "mend and revive it, or archive it"
            yield Reason(kind="killed", message=f"killed for {self._days} days", step=step)
        elif not killed:
            yield from self._settled()
        yield from self._ended()
        yield from self._unrouted()
        yield from self._asking_the_archived()

    def unused(self, usage: Mapping[str, Use] | None) -> Iterator[Reason]:
        """Whether anybody asks for it still."""
        if usage is None or self._key not in _part(self._past, "flags"):
            return
        last = usage[self._key].last_at if self._key in usage else None
        if last is None or last < self._now - self._days * DAY_SECONDS:
            step = "look for it in the code; archive it when it is not there"
            yield Reason(kind="unused", message=f"not evaluated for {self._days} days", step=step)

    @property
    def _is_as_it_was(self) -> bool:
        """Whether its definition, and the shared rules it may name, are those of then."""
        before = _part(self._past, "flags").get(self._key)
        shared = repr(_part(self._past, "$evaluators")) == repr(_part(self._document, "$evaluators"))
        return repr(before) == repr(self._flag) and (shared or "'$ref'" not in repr(self._flag))

    def _settled(self) -> Iterator[Reason]:
        only = self._only_variant()
        variants = self._flag.get("variants") or {}
        if only is not None and len(variants) > 1 and self._is_as_it_was:
            message = f"everybody has had {only} for {self._days} days"
            yield Reason(kind="settled", message=message, step=f"write {only} into the code, then archive it")

    def _only_variant(self) -> str | None:
        """The one variant that the rule can come to; None when there are several, or it cannot be told."""
        read = Document(flags={self._key: self._flag}).flag(self._key)
        if read is None:
            return None
        if not read.is_enabled or read.targeting is None:
            return read.default
        comes_to = outcomes(read.targeting, _part(self._document, "$evaluators"))
        if comes_to.is_open:
            return None
        names = set(comes_to.named)
        for split in comes_to.splits:
            names |= {name for name, weight in split.weights if weight != 0}
        if comes_to.may_default:
            names.add(read.default or "")
        return names.pop() if len(names) == 1 else None

    def _ended(self) -> Iterator[Reason]:
        ends = [end for end in _ends(self._flag.get("targeting")) if end <= self._now]
        if ends:
            when = datetime.fromtimestamp(max(ends), UTC).strftime("%Y-%m-%d %H:%M UTC")
            step = "take the condition out, or archive the flag"
            yield Reason(kind="ended", message=f"its schedule ended at {when}", step=step)

    def _unrouted(self) -> Iterator[Reason]:
        variants = self._flag.get("variants")
        serves = isinstance(variants, Mapping) and all(
            isinstance(variant, Mapping) and "serve" in variant for variant in variants.values()
        )
        routes = self._document.get("routes") or ()
        if serves and variants and not any(route.get("flag") == self._key for route in routes):
            step = "give it a route, or archive it"
            yield Reason(kind="unrouted", message="names services, but no route consults it", step=step)

    def _asking_the_archived(self) -> Iterator[Reason]:
        flags = _part(self._document, "flags")
        for name in sorted(set(_asked(self._flag.get("targeting")))):
            if _part(_part(flags, name), "metadata").get("archived") is True:
                message = f"asks {name}, which is archived"
                step = f"write the variant of {name} in its place"
                yield Reason(kind="prerequisite", message=message, step=step)


def _operations(rule: object) -> Iterator[tuple[str, object]]:
    """Every operation in *rule* with its arguments."""
    todo = [rule]
    while todo:
        node = todo.pop()
        if isinstance(node, list):
            todo += node
        elif isinstance(node, Mapping):
            for name, given in node.items():
                yield str(name), given
                todo.append(given)


def _asked(rule: object) -> Iterator[str]:
    for name, given in _operations(rule):
        key = given[0] if isinstance(given, list) and len(given) == 1 else given
        if name == "flag" and isinstance(key, str):
            yield key


def _ends(rule: object) -> Iterator[float]:
    """The moments until which a comparison with the clock holds in *rule*."""
    for name, given in _operations(rule):
        if name not in _ORDER or not isinstance(given, list):
            continue
        items = given if _ORDER[name] > 0 else given[::-1]
        for earlier, later in pairwise(items):
            is_number = isinstance(later, int | float) and not isinstance(later, bool)
            if is_number and earlier in ({"var": TIMESTAMP}, {"var": [TIMESTAMP]}):
                yield float(later)
