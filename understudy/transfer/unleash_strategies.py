"""Activation strategies of Unleash as conditions: who a strategy switches a feature on for.

https://docs.getunleash.io/reference/activation-strategies. A percentage is a hash of ``groupId:unit`` there
and here; Unleash takes it modulo 100, Understudy by shares of the whole range, so units move.
"""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, ip_network
from typing import Any, Final

from understudy.config.place import Place, shown
from understudy.transfer.constraints import read_constraints
from understudy.transfer.imported import Draft
from understudy.transfer.rule import UNIT, Rule, all_of, any_of, field, included, is_given
from understudy.transfer.unleash_export import Entry

CHANCE: Final = "is drawn anew each time in Unleash; here a unit keeps its variant"
NOBODY: Final = "who has no unit was drawn anew each time, and is left out now"


class Segments:
    """The segments of an export, written as shared rules when a strategy first names them."""

    def __init__(self, given: Mapping[str, Entry], unit: str) -> None:
        self.rules: dict[str, Rule] = {}
        self._given = given
        self._unit = unit

    def condition(self, identity: object, place: Place, draft: Draft) -> Rule:
        """Whether the segment called *identity* holds."""
        at, segment = self._given.get(str(identity), (place, {}))
        if not segment:
            place.refuse(f"there is no segment {shown(identity)} in the export")
            return False
        if "constraints" not in segment:
            hint = "export GET /api/client/features, which has them"
            place.refuse(
                f"the export has the name of segment {shown(identity)}, but not its constraints", hint
            )
            return False
        inside = Place(at.path, place.problems)
        rule = read_constraints(segment["constraints"], inside.key("constraints"), draft)
        if isinstance(rule, bool):
            return rule
        name = str(segment.get("name") or f"segment-{identity}")
        if any(other != rule for known, other in self.rules.items() if known == name):
            name = f"{name}-{identity}"
        self.rules[name] = rule
        return {"$ref": name}


def read_strategy(entry: Entry, segments: Segments, draft: Draft) -> Rule:
    """Whether the strategy *entry* holds, its constraints and segments included."""
    place, strategy = entry
    name = strategy.get("name")
    read = _STRATEGIES.get(name) if isinstance(name, str) else None
    if read is None:
        why = "hosts are not known here" if name == "applicationHostname" else "its code is not in the export"
        place.key("name").refuse(f"the strategy {shown(name)} cannot be imported: {why}")
        return False
    parameters = place.key("parameters").mapping(strategy.get("parameters") or {})
    named = strategy.get("segments") or []
    return all_of(
        [
            read_constraints(strategy.get("constraints"), place.key("constraints"), draft),
            *(segments.condition(identity, at, draft) for at, identity in place.key("segments").items(named)),
            read(parameters, place.key("parameters"), draft),
        ]
    )


def unit_of(stickiness: object, place: Place, draft: Draft) -> Rule:
    """The attribute that *stickiness* names; by default the unit, else the session. None for chance."""
    if stickiness in (None, "", "default"):
        draft.note(NOBODY)
        return {"or": [{"var": UNIT}, {"var": "sessionId"}]}
    if not isinstance(stickiness, str):
        place.refuse(f"must be the name of an attribute, not {shown(stickiness)}")
        return None
    return None if stickiness == "random" else field(stickiness, place, unit=draft.unit)


def _everyone(_given: Mapping[str, object], _place: Place, _draft: Draft) -> Rule:
    return True


def _user_ids(given: Mapping[str, object], _place: Place, draft: Draft) -> Rule:
    ids = _words(given.get("userIds"))
    return {"in": [field("userId", Place(), unit=draft.unit), ids]} if ids else False


def _flexible(given: Mapping[str, object], place: Place, draft: Draft) -> Rule:
    share = _percent(given, "rollout", place)
    return _rollout(given, share, given.get("stickiness"), place, draft)


def _by_unit(given: Mapping[str, object], place: Place, draft: Draft) -> Rule:
    return _rollout(given, _percent(given, "percentage", place), "userId", place, draft)


def _by_session(given: Mapping[str, object], place: Place, draft: Draft) -> Rule:
    return _rollout(given, _percent(given, "percentage", place), "sessionId", place, draft)


def _by_chance(given: Mapping[str, object], place: Place, draft: Draft) -> Rule:
    return _rollout(given, _percent(given, "percentage", place), "random", place, draft)


def _rollout(given: Mapping[str, object], share: int, stickiness: object, place: Place, draft: Draft) -> Rule:
    is_by_default = stickiness in (None, "", "default", "random")
    if share == 0 or (share == 100 and is_by_default):
        return share == 100
    unit = unit_of(stickiness, place.key("stickiness"), draft)
    if unit is None:
        hint = "give it another stickiness before the export"
        place.key("stickiness").refuse(f"a share of {share} % by chance {CHANCE}", hint)
        return False
    if share == 100:
        return is_given(unit)
    draft.moves = True
    group = given.get("groupId") or draft.key
    return included({"cat": [f"{group}:", unit]}, [(0.0, share / 100)])


def _percent(given: Mapping[str, object], name: str, place: Place) -> int:
    value = given.get(name)
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 100):
        place.key(name).refuse(f"{shown(value)} is no percentage, so the strategy never holds", "0 to 100")
        return 0
    return int(text)


def _addresses(given: Mapping[str, object], place: Place, draft: Draft) -> Rule:
    address = field("remoteAddress", place, unit=draft.unit)
    exact: list[str] = []
    prefixes: list[Rule] = []
    for word in _words(given.get("IPs")):
        network = _network(word)
        if network is None or network.prefixlen % 8 or network.prefixlen == 0:
            message = f"{word!r}: JSONLogic compares addresses as text: IPv4, alone or as /8, /16, /24"
            place.key("IPs").refuse(message)
        elif network.prefixlen == 32:
            exact.append(str(network.network_address))
        else:
            octets = str(network.network_address).split(".")[: network.prefixlen // 8]
            prefixes.append({"starts_with": [address, ".".join(octets) + "."]})
    return any_of([*([{"in": [address, exact]}] if exact else []), *prefixes])


def _network(word: str) -> IPv4Network | None:
    try:
        network = ip_network(word, strict=False)
    except ValueError:
        return None
    return network if isinstance(network, IPv4Network) else None


def _words(value: object) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else []


_STRATEGIES: Final[Mapping[str, Callable[[Mapping[str, Any], Place, Draft], Rule]]] = {
    "default": _everyone,
    "userWithId": _user_ids,
    "flexibleRollout": _flexible,
    "gradualRolloutUserId": _by_unit,
    "gradualRolloutSessionId": _by_session,
    "gradualRolloutRandom": _by_chance,
    "remoteAddress": _addresses,
}
