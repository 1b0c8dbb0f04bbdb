"""Evidence: one flat counter of what was seen, so that merging is adding integers, everywhere.

Keys (all texts), and what they count:

``("mirror", service, outcome, reason)``  copies; outcome: eligible, sent, skipped, dropped, answered, failed
``("control", service, outcome, reason)``  the same for control calls; the service is the one asked
``("confirm", service, outcome, reason)``  the same for second requests, which confirm a difference
``("share", "", "", share)``  copies that were eligible while this share of control calls was in force
``("exchange", service, endpoint, what)``  exchanges, matched (equal), ignored (only forgiven differences),
    with_control, not_compared (both answers came, but no room was left, or mirroring broke),
    beginnings (of answers over the cap: only their beginnings were compared),
    passed_over (chosen by chance, before any answer came, because comparing could not keep up),
    unpaired (the primary's answer failed, so there is nothing to compare with),
    late (the shadow took longer than the primary by more than is forgiven),
    asked_again (compared with second answers), unconfirmed (these did not come: the first ones counted)
``("difference", service, endpoint, path, kind, what)``  differing, control_differing,
    b (the shadow differs, the control does not), c (the reverse),
    differing_with_control, ignored (forgiven by a rule),
    differing_again, control_again (the part of differing and control_differing that came from units
    which had counted there before)
``("latency", service, endpoint, side, bucket)``  side is primary or shadow: how long the answer took; or
    slower or faster: by how much the shadow took longer, or not longer, than the primary of its exchange
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from math import ceil, log
from typing import Final

from understudy.comparators.difference import Difference

Key = tuple[str, ...]
Evidence = MutableMapping[Key, int]

RELATIVE_ERROR: Final = 0.01  # as DDSketch (PVLDB 2019) has it by default
GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
LOG_GAMMA: Final = log(GAMMA)
MOST_BUCKETS: Final = 2048
"""Far beyond any time: the last one ends after centuries."""

TOLERANCE: Final = 0.10
"""How much longer, as a share, a shadow may take. With none, any real 1 % would alarm in the end."""

FLOOR_SECONDS: Final = 0.005
"""Forgiven at least: a copy is sent after the primary's request and shares the machine with it.

It counts below 50 ms. There, one turn of a busy event loop or one slice of the scheduler (some
milliseconds) is more than a tenth of an answer's time, and says nothing about the version.
"""


def observe(
    evidence: Evidence,
    *,
    service: str,
    endpoint: str,
    differences: Sequence[Difference],
    control_differences: Sequence[Difference] | None,
    repeated: Collection[tuple[str, str]] = (),
) -> None:
    """Add one exchange to *evidence*: what `compare` gave for the shadow, and for the control if asked.

    An exchange without any difference counts as matched, one with only forgiven ones as ignored.
    *repeated*: the (path, kind) at which an earlier exchange of the same unit differed, in the shadow or in
    the control. There, this one counts for the rates, but not as evidence: b and c stay as they are, and
    differing_again and control_again say what to leave out of the other test.
    """
    has_control = control_differences is not None
    shadow = {(d.path, d.kind) for d in differences if not d.ignored}
    control = {(d.path, d.kind) for d in control_differences or () if not d.ignored}
    exchange = ("exchange", service, endpoint)
    _add(evidence, (*exchange, "exchanges"))
    if has_control:
        _add(evidence, (*exchange, "with_control"))
    if not shadow:
        _add(evidence, (*exchange, "ignored" if differences else "matched"))
    for place in shadow | control:
        difference = ("difference", service, endpoint, *place)
        is_new = place not in repeated
        if place in shadow:
            _add(evidence, (*difference, "differing"))
            if has_control:
                _add(evidence, (*difference, "differing_with_control"))
            if not is_new:
                _add(evidence, (*difference, "differing_again"))
            elif has_control and place not in control:
                _add(evidence, (*difference, "b"))
        if place in control:
            _add(evidence, (*difference, "control_differing"))
            if not is_new:
                _add(evidence, (*difference, "control_again"))
            elif place not in shadow:
                _add(evidence, (*difference, "c"))
    for path, kind in {(d.path, d.kind) for d in differences if d.ignored}:
        _add(evidence, ("difference", service, endpoint, path, kind, "ignored"))


def _add(evidence: Evidence, key: Key) -> None:
    evidence[key] = evidence.get(key, 0) + 1


def merge(parts: Iterable[Mapping[Key, int]]) -> Counter[Key]:
    """The sum of *parts*, in whatever order they come."""
    whole: Counter[Key] = Counter()
    for part in parts:
        whole.update(part)
    return whole


def bucket(seconds: float) -> int:
    """The number of the logarithmic bucket that holds a time: its bounds are 1 % around its middle."""
    return ceil(log(seconds * 1e6) / LOG_GAMMA) if seconds > 1e-6 else 0


def bound(index: int) -> float:
    """The upper bound of bucket *index*, in seconds."""
    return float(GAMMA**index) / 1e6


def forgiven(seconds: float) -> float:
    """How long a shadow may take where the primary takes *seconds*."""
    return seconds + max(seconds * TOLERANCE, FLOOR_SECONDS)


def quantile(buckets: Mapping[int, int], q: float) -> float:
    """The time in seconds that a share *q* of the counted ones do not exceed, ± 1 %; 0 without any."""
    total = sum(buckets.values())
    if total <= 0:
        return 0.0
    rank = max(1, ceil(q * total))
    for index in sorted(buckets):
        rank -= buckets[index]
        if rank <= 0:
            return 2 * bound(index) / (1 + GAMMA)
    return 2 * bound(max(buckets)) / (1 + GAMMA)
