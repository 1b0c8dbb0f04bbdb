"""All the evidence there is, held so that a hundred thousand places fit into memory.

A mapping by key, as evidence is everywhere; inside, what belongs to one place lies together, and a service,
an endpoint or a path that many keys name is one text.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from understudy.comparators.evidence import MOST_BUCKETS, Key

Name = tuple[str, str]
"""(service, endpoint)."""

Spot = tuple[str, str]
"""(path, kind)."""

WHATS: Final = (
    "differing",
    "control_differing",
    "b",
    "c",
    "differing_with_control",
    "ignored",
    "differing_again",
    "control_again",
)
"""What is counted of a place, in the order in which a place holds its counts."""

AT: Final = {what: at for at, what in enumerate(WHATS)}
SIDES: Final = frozenset({"primary", "shadow", "slower", "faster"})
INDEXES: Final = {str(index): index for index in range(MOST_BUCKETS)}
"""The buckets by their text: one integer each, however many hold it."""

NOTHING: Final[dict[str, int]] = {}


class Ledger(Mapping[Key, int]):
    """Evidence that grows. Zeros are not kept; the order of keys means nothing."""

    def __init__(self, evidence: Mapping[Key, int] | None = None) -> None:
        self._texts: dict[str, str] = {}
        self._names: dict[str, dict[str, Name]] = {}
        self._exchanges: dict[Name, dict[str, int]] = {}
        self._places: dict[Name, dict[Spot, list[int]]] = {}
        self._latencies: dict[Name, dict[str, dict[int, int]]] = {}
        self._others: dict[Key, int] = {}
        if evidence is not None:
            self.add(evidence)

    def add(self, counts: Mapping[Key, int]) -> None:
        """Add every count to what is held of its key. Negative counts are nobody's: they are left out."""
        for key, number in counts.items():
            if number > 0:
                self._add(key, number)

    def clear(self) -> None:
        """Forget everything."""
        for part in (self._texts, self._names, self._exchanges, self._places, self._latencies, self._others):
            part.clear()

    # -- what a report reads ----------------------------------------------------------------------

    def endpoints(self) -> list[Name]:
        """Every (service, endpoint) of which anything is known, in no particular order."""
        return list(dict.fromkeys((*self._exchanges, *self._latencies, *self._places)))

    def exchange(self, name: Name) -> Mapping[str, int]:
        """The counts of exchanges, by what."""
        return self._exchanges.get(name, NOTHING)

    def places(self, name: Name) -> Mapping[Spot, list[int]]:
        """What is counted at each (path, kind), in the order of `WHATS`. To read only."""
        return self._places.get(name, {})

    def latency(self, name: Name, side: str) -> Mapping[int, int]:
        """The counts by bucket of ``primary``, ``shadow``, ``slower`` or ``faster``."""
        return self._latencies.get(name, {}).get(side, {})

    def others(self) -> Mapping[Key, int]:
        """What belongs to no endpoint: copies and control calls, by outcome."""
        return self._others

    def under(self, names: Mapping[str, str]) -> "Ledger":
        """The same counts with endpoints by new *names* (old → new); those that come to one name are added.

        To read only: what keeps its name is shared, so that a few new names cost little.
        """
        whole, taken = Ledger(), frozenset(names.values())
        whole._others = self._others
        for name in self.endpoints():
            endpoint = names.get(name[1], name[1])
            if endpoint in taken:
                self._fold(name, whole, whole._name(name[0], endpoint))
            else:
                self._share(name, whole)
        return whole

    # -- a mapping --------------------------------------------------------------------------------

    def __getitem__(self, key: Key) -> int:
        found = self._get(key)
        if not found:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return isinstance(key, tuple) and self._get(key) > 0

    def __iter__(self) -> Iterator[Key]:
        for name, exchange in self._exchanges.items():
            for what in exchange:
                yield "exchange", *name, what
        for name, places in self._places.items():
            for spot, numbers in places.items():
                for what, number in zip(WHATS, numbers, strict=True):
                    if number:
                        yield "difference", *name, *spot, what
        for name, sides in self._latencies.items():
            for side, buckets in sides.items():
                for index in buckets:
                    yield "latency", *name, side, str(index)
        yield from self._others

    def __len__(self) -> int:
        return sum(1 for _ in self)

    # -- where things lie -------------------------------------------------------------------------

    def _add(self, key: Key, number: int) -> None:
        if key[0] == "difference" and len(key) == 6 and key[5] in AT:
            self._place(self._name(key[1], key[2]), key[3], key[4])[AT[key[5]]] += number
        elif key[0] == "exchange" and len(key) == 4:
            counts = self._exchanges.setdefault(self._name(key[1], key[2]), {})
            what = self._text(key[3])
            counts[what] = counts.get(what, 0) + number
        elif key[0] == "latency" and len(key) == 5 and key[3] in SIDES and key[4] in INDEXES:
            sides = self._latencies.setdefault(self._name(key[1], key[2]), {})
            buckets = sides.setdefault(self._text(key[3]), {})
            index = INDEXES[key[4]]
            buckets[index] = buckets.get(index, 0) + number
        else:
            self._others[key] = self._others.get(key, 0) + number

    def _get(self, key: Key) -> int:
        if key[:1] == ("difference",) and len(key) == 6 and key[5] in AT:
            numbers = self._places.get((key[1], key[2]), {}).get((key[3], key[4]))
            return numbers[AT[key[5]]] if numbers else 0
        if key[:1] == ("exchange",) and len(key) == 4:
            return self.exchange((key[1], key[2])).get(key[3], 0)
        if key[:1] == ("latency",) and len(key) == 5 and key[3] in SIDES and key[4] in INDEXES:
            return self.latency((key[1], key[2]), key[3]).get(INDEXES[key[4]], 0)
        return self._others.get(key, 0)

    def _share(self, name: Name, whole: "Ledger") -> None:
        if name in self._exchanges:
            whole._exchanges[name] = self._exchanges[name]
        if name in self._places:
            whole._places[name] = self._places[name]
        if name in self._latencies:
            whole._latencies[name] = self._latencies[name]

    def _fold(self, name: Name, whole: "Ledger", new: Name) -> None:
        """Add what is counted of *name* to what *whole* has of *new*."""
        exchange = whole._exchanges.setdefault(new, {})
        for what, number in self.exchange(name).items():
            exchange[what] = exchange.get(what, 0) + number
        for (path, kind), numbers in self.places(name).items():
            place = whole._place(new, path, kind)
            for at, number in enumerate(numbers):
                place[at] += number
        for side, counts in self._latencies.get(name, {}).items():
            buckets = whole._latencies.setdefault(new, {}).setdefault(side, {})
            for index, number in counts.items():
                buckets[index] = buckets.get(index, 0) + number

    def _text(self, text: str) -> str:
        return self._texts.setdefault(text, text)

    def _name(self, service: str, endpoint: str) -> Name:
        """The one tuple that names this endpoint."""
        known = self._names.get(service)
        if known is None:
            known = self._names[self._text(service)] = {}
        name = known.get(endpoint)
        if name is None:
            endpoint = self._text(endpoint)
            name = known[endpoint] = (self._text(service), endpoint)
        return name

    def _place(self, name: Name, path: str, kind: str) -> list[int]:
        places = self._places.get(name)
        if places is None:
            places = self._places[name] = {}
        numbers = places.get((path, kind))
        if numbers is None:
            numbers = places[self._text(path), self._text(kind)] = [0] * len(WHATS)
        return numbers


def ledger_of(evidence: Mapping[Key, int]) -> Ledger:
    """*evidence* itself when it is a ledger already."""
    return evidence if isinstance(evidence, Ledger) else Ledger(evidence)
