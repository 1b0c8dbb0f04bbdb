"""Flag definitions as they were read, and the document they stand in."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from understudy.decide.coercion import Json, joined
from understudy.decide.hashing import DEFAULT_GENERATION, GENERATIONS

MATCH = "TARGETING_MATCH"
"""The reason of a variant that the rule named; flagd never says SPLIT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A flag as it was read; ``targeting`` is None when there is none.

    ``metadata`` is the flag set's, overlaid by the flag's own. ``safe`` is the variant of the kill
    switch: ``metadata.safeVariant``, else the default.
    """

    key: str
    is_enabled: bool
    variants: Mapping[str, Json]
    default: str | None
    targeting: Json
    metadata: Mapping[str, Json]

    @property
    def safe(self) -> str | None:
        """The variant a killed flag answers."""
        named = self.metadata.get("safeVariant")
        return named if isinstance(named, str) and named in self.variants else self.default

    @property
    def generation(self) -> int:
        """Which `fractional` this flag is hashed with: ``metadata.hashVersion``."""
        version = self.metadata.get("hashVersion")
        return version if type(version) is int and version in GENERATIONS else DEFAULT_GENERATION


@dataclass(frozen=True, slots=True)
class Outcome:
    """Which variant a targeting result means (None: none), and why; ``error`` says what went wrong."""

    variant: str | None
    reason: str
    error: str = ""


def outcome(flag: Flag, result: Json) -> Outcome:
    """flagd's resolution of a targeting *result*: null is the default, the rest must name a variant."""
    if result is None:
        return Outcome(flag.default, "DEFAULT")
    if isinstance(result, (str, bool, int, float)):  # not a union, which mypyc makes anew each time
        name = joined(result)
        if name in flag.variants:
            return Outcome(name, MATCH)
    return Outcome(flag.default, "ERROR", "the rule's result is not a variant")


def settled(flag: Flag, *, is_killed: bool) -> Outcome | None:
    """The outcome that depends on no context; None when there is a rule to ask.

    A disabled flag has no variant, as in flagd; a route, which needs one, takes the default.
    """
    if is_killed:
        return Outcome(flag.safe, "KILLED")
    if not flag.is_enabled:
        return Outcome(None, "DISABLED")
    if flag.targeting is None:
        return Outcome(flag.default, "DEFAULT" if flag.default is None else "STATIC")
    return None


def read_flag(key: str, flag: Mapping[str, Any], metadata: Mapping[str, Json]) -> Flag:
    """*flag* as it stands; what is mistaken is left out, see `check_flag`."""
    variants, own = flag.get("variants"), flag.get("metadata")
    default = flag.get("defaultVariant")
    return Flag(
        key=key,
        is_enabled=flag.get("state", "ENABLED") != "DISABLED",
        variants=variants if isinstance(variants, Mapping) else {},
        default=default if isinstance(default, str) else None,
        targeting=flag.get("targeting") or None,
        metadata={**metadata, **own} if own and isinstance(own, Mapping) else metadata,
    )


class Document:
    """The flags, shared rules and kill switches that rules are compiled in; none of it is changed."""

    def __init__(
        self,
        *,
        flags: Mapping[str, Any] | None = None,
        evaluators: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Json] | None = None,
        killed: Collection[str] = (),
    ) -> None:
        self.flags: Mapping[str, Any] = flags or {}
        self.evaluators: Mapping[str, Any] = evaluators or {}
        self.metadata: Mapping[str, Json] = metadata or {}
        self.killed = frozenset(killed)
        self.members: dict[int, Members] = {}
        """Of each long list in the document by its identity: one for all rules that refer to it."""

    def flag(self, key: str) -> Flag | None:
        """The flag called *key*; None when there is none that could be read."""
        given = self.flags.get(key)
        return read_flag(key, given, self.metadata) if isinstance(given, Mapping) else None

    def settled(self, flag: Flag) -> Outcome | None:
        """The outcome of *flag* that depends on no context, if there is one."""
        return settled(flag, is_killed=flag.key in self.killed)

    def unchanged(self, before: "Document") -> frozenset[str]:
        """The flags that are, and answer, as in *before*; one that asks other flags only if all are."""
        evaluators = repr(self.evaluators)
        if evaluators != repr(before.evaluators) or repr(self.metadata) != repr(before.metadata):
            return frozenset()
        written = {key: repr(flag) for key, flag in self.flags.items()}
        same = {
            key
            for key, text in written.items()
            if key in before.flags
            and (key in self.killed) == (key in before.killed)
            # As text: 1, 1.0 and true are equal, but not the same answer.
            and (self.flags[key] is before.flags[key] or text == repr(before.flags[key]))
        }
        if len(same) == len(before.flags) == len(self.flags) or not same:
            return frozenset(same)
        if _ASKS in evaluators:
            return frozenset(
                key for key in same if "'$ref':" not in written[key] and _ASKS not in written[key]
            )
        return frozenset(key for key in same if _ASKS not in written[key])

    def members_of(self, items: list[Json]) -> "Members":
        """Who is in the constant list *items*."""
        found = self.members.get(id(items))
        if found is None:
            found = Members(items)
            if len(items) >= _LONG:
                self.members[id(items)] = found
        return found


_ASKS = "'flag':"
"""How the `flag` operation looks in a definition's text; a variant's value that looks so costs a reading."""

_LONG = 64
"""Shorter lists are read anew in less time than they are found."""

_SCALARS = frozenset((str, int, float, bool, type(None)))


class Members:
    """The elements of a list of plain values, found in the same time however many there are.

    As JavaScript's ``===`` has it: types stay apart, but 1 and 1.0 are one number.
    """

    def __init__(self, items: list[Json]) -> None:
        # Kept, so that no other list can take its identity.
        self.items = items
        self.are_plain = _SCALARS.issuperset(map(type, items))
        self._known: dict[type, frozenset[Json]] = {}

    def __contains__(self, value: object) -> bool:
        kind = type(value)
        known = self._known.get(kind)
        if known is None:
            known = self._known[kind] = self._of(kind)
        return bool(known) and value in known

    def _of(self, kind: type) -> frozenset[Json]:
        if kind not in _SCALARS:
            return frozenset()
        kinds = (int, float) if kind in (int, float) else (kind,)
        return frozenset(item for item in self.items if type(item) in kinds)
