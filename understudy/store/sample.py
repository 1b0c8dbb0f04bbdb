"""Samples: the few stored examples of a difference, and which of them are kept."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from understudy.errors import StoreError
from understudy.store.rules import json_text, printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One example of a difference, already redacted.

    ``priority`` is drawn by the sender, uniformly from [0, 1): the samples with the lowest priorities
    stay, which makes them a fair draw from all that ever came (bottom-k sampling). ``at`` is Unix time
    in seconds. ``body`` is any JSON object. ``name`` finds the sample again, ``unit`` all samples of one
    unit (a keyed digest; empty: nobody knows whose it is). ``whole`` is a larger JSON object, which is read
    only with `Store.sample`.
    """

    service: str
    endpoint: str
    path: str
    kind: str
    priority: float
    at: float
    body: Mapping[str, Any]
    name: str = ""
    unit: str = ""
    whole: Mapping[str, Any] | None = None


SECRET_BYTES: Final = 32
"""Of a secret of the store's own: as long as the digests that it keys (RFC 2104 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is kept: of samples, and of the names of sources.

    Five samples show a pattern without hiding the page; 2,000 samples and 16 MiB of bodies bound the
    file; seven days outlive a weekend and keep user data no longer than a run is looked at.
    A source is one start of one worker, so 1,000 of them are weeks of restarts.
    """

    samples_per_key: int = 5
    samples: int = 2_000
    sample_bytes: int = 16 * 1024 * 1024
    sample_age_seconds: float = 7 * 86_400.0
    sources: int = 1_000


class Candidate(NamedTuple):
    """What the choice looks at. ``id`` is the caller's: anything that finds the sample again."""

    key: str
    priority: float
    at: float
    size_bytes: int
    id: int


def keep(candidates: Iterable[Candidate], bounds: Bounds, *, now: float) -> list[Candidate]:
    """The *candidates* that stay, the most wanted first. Only age, priority and total size decide.

    Every key's first sample is wanted more than any key's second, so that no path loses its only
    example to a busy one; in a rank the lower priority wins. What does not fit ends the list: passing
    over a large body for a later small one would favour small bodies.
    """
    ranked: list[tuple[int, Candidate]] = []
    for group in _groups(candidates, oldest=now - bounds.sample_age_seconds).values():
        group.sort(key=lambda candidate: (candidate.priority, candidate.id))
        ranked.extend(enumerate(group[: bounds.samples_per_key]))
    ranked.sort(key=lambda entry: (entry[0], entry[1].priority, entry[1].id))
    kept: list[Candidate] = []
    total_bytes = 0
    for _, candidate in ranked[: bounds.samples]:
        total_bytes += candidate.size_bytes
        if total_bytes > bounds.sample_bytes:
            break
        kept.append(candidate)
    return kept


def _groups(candidates: Iterable[Candidate], *, oldest: float) -> dict[str, list[Candidate]]:
    groups: defaultdict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.at >= oldest:
            groups[candidate.key].append(candidate)
    return groups


class SampleRow(NamedTuple):
    """One sample as a back end stores it: its key, its body and the whole as JSON texts."""

    key: str
    priority: float
    at: float
    size_bytes: int
    body: str
    name: str = ""
    unit: str = ""
    whole: str = ""

    def candidate(self, number: int) -> Candidate:
        """This row as a candidate that *number* finds again."""
        return Candidate(self.key, self.priority, self.at, self.size_bytes, number)


def sample_row(sample: Sample) -> SampleRow:
    """*sample* as a row. Raises ValueError when its numbers or its body cannot be stored."""
    if not (math.isfinite(sample.priority) and math.isfinite(sample.at)):
        raise ValueError(f"sample of {sample.path}: priority and time must be finite numbers")
    body = json_text(sample.body)
    key = json_text([sample.service, sample.endpoint, sample.path, sample.kind])
    whole = "" if sample.whole is None else json_text(sample.whole)
    name, unit = printable(sample.name), printable(sample.unit)
    size = len(body) + len(whole)
    return SampleRow(key, float(sample.priority), float(sample.at), size, body, name, unit, whole)


def stored_sample(row: SampleRow) -> Sample:
    """The sample that *row* stores. Raises StoreError when it is damaged."""
    try:
        service, endpoint, path, kind = json.loads(row.key)
        return Sample(
            service=service,
            endpoint=endpoint,
            path=path,
            kind=kind,
            priority=row.priority,
            at=row.at,
            body=json.loads(row.body),
            name=row.name,
            unit=row.unit,
            whole=json.loads(row.whole) if row.whole else None,
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged_sample(row.name) from error


def damaged_sample(name: str) -> StoreError:
    """What is told of a sample called *name* that cannot be read; its name may be lost, too."""
    return StoreError(
        f"samples: {name or 'one of them'} is damaged; clear the evidence (DELETE /api/v1/report)"
    )
