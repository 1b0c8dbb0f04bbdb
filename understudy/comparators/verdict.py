"""Judge each (service, endpoint, path, kind): regression, noise, undecided or ignored."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from understudy.comparators.evidence import Key
from understudy.comparators.ledger import AT, Ledger, Name, ledger_of
from understudy.comparators.noise import (
    MOST_NEEDED,
    Counts,
    excess_slopes,
    flagged,
    is_noise,
    log_e_value,
    log_excess,
    noisy_after,
    reaching,
    slopes,
    threshold,
)

REGRESSION: Final = "regression"
NOISE: Final = "noise"
CLEAN: Final = "clean"
UNDECIDED: Final = "undecided"
IGNORED: Final = "ignored"

CONTROL: Final = "control"
TOLERANCE: Final = "tolerance"

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "CALL"})

Place = tuple[str, str, str, str]
"""(service, endpoint, path, kind)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is known about one place.

    ``log_e``: ln of the e-value. ``basis``: ``control``, or ``tolerance`` when no control answer can be
    had and only "differs in more than epsilon" could be tested. ``needed``: for an undecided one, about
    how many more mirrored requests of the endpoint; None when no number can be named.
    """

    verdict: str
    counts: Counts
    ignored: int
    log_e: float
    basis: str
    needed: int | None = None


def judge(
    evidence: Mapping[Key, int],
    *,
    control_share: float,
    fdr: float,
    epsilon: float,
    covered: Collection[Place] = frozenset(),
) -> dict[Place, Judgement]:
    """Judge every place that differed. Kinds are places of their own: noise of one excuses no other.

    Where no control can be had (*control_share* 0, or a method that is never asked twice) and none
    came, a place is a regression once it differs in more than *epsilon* of the exchanges. Where control
    is asked but does not answer, it stays undecided. What is *covered* by a rule is ignored.
    """
    found = judged(
        ledger_of(evidence), control_share=control_share, fdr=fdr, epsilon=epsilon, covered=covered
    )
    return dict(found)


def judged(
    ledger: Ledger,
    *,
    control_share: float,
    fdr: float,
    epsilon: float,
    covered: Collection[Place] = frozenset(),
) -> Iterator[tuple[Place, Judgement]]:
    """What `judge` finds, one by one: there may be a hundred thousand, so nobody has all in hand."""
    share = tested_share(ledger.others(), control_share)
    logs = [
        _log_e(counts, _basis(place[:2], counts, control_share), share, epsilon)
        for place, counts, _ in _counted(ledger)
        if _is_seen(place, counts, covered)
    ]
    level = threshold(len(logs), fdr)
    seen = iter(zip(logs, flagged(logs, fdr), strict=True))
    for place, counts, ignored in _counted(ledger):
        basis = _basis(place[:2], counts, control_share)
        verdict, log_e, needed = IGNORED, 0.0, None
        if _is_seen(place, counts, covered):
            log_e, is_flagged = next(seen)
            verdict = _verdict(counts, basis, share, is_flagged=is_flagged)
        if verdict == UNDECIDED:
            needed = _needed(counts, basis, control_share, share, epsilon, level)
        yield (
            place,
            Judgement(
                verdict=verdict, counts=counts, ignored=ignored, log_e=log_e, basis=basis, needed=needed
            ),
        )


def _counted(ledger: Ledger) -> Iterator[tuple[Place, Counts, int]]:
    """Every place, what was counted there, and how often it was forgiven."""
    lost = lost_control_calls(ledger.others())
    for name in ledger.endpoints():
        for (path, kind), numbers in ledger.places(name).items():
            yield (*name, path, kind), _counts(ledger, name, numbers, lost), numbers[AT["ignored"]]


def _is_seen(place: Place, counts: Counts, covered: Collection[Place]) -> bool:
    """Whether it differed and no rule covers it: what is not seen costs the others nothing."""
    return place not in covered and (counts.differing > 0 or counts.control_differing > 0)


def noise_at(ledger: Ledger, name: Name, control_share: float) -> dict[Place, bool]:
    """For every place of one endpoint, whether `judge` would call it noise.

    What is noise leans nowhere, so its e-value is at most 1 and no number of other places makes it a
    regression: an endpoint can be asked about alone.
    """
    lost = lost_control_calls(ledger.others())
    share = tested_share(ledger.others(), control_share)
    found = {}
    for (path, kind), numbers in ledger.places(name).items():
        counts = _counts(ledger, name, numbers, lost)
        is_judged_by_control = _basis(name, counts, control_share) == CONTROL
        found[*name, path, kind] = is_judged_by_control and is_noise(counts, share)
    return found


def lost_control_calls(evidence: Mapping[Key, int]) -> int:
    """Control calls that were due and brought no answer. Evidence does not say at which endpoint."""
    return sum(n for key, n in evidence.items() if key[0] == "control" and key[2] in ("dropped", "failed"))


def _counts(ledger: Ledger, name: Name, numbers: Sequence[int], lost: int) -> Counts:
    exchange = ledger.exchange(name)
    return Counts(
        exchanges=exchange.get("exchanges", 0),
        with_control=exchange.get("with_control", 0),
        differing=numbers[AT["differing"]],
        control_differing=numbers[AT["control_differing"]],
        b=numbers[AT["b"]],
        c=numbers[AT["c"]],
        lost=lost + exchange.get("not_compared", 0),
        differing_again=numbers[AT["differing_again"]],
        control_again=numbers[AT["control_again"]],
    )


def _basis(name: Name, counts: Counts, control_share: float) -> str:
    if counts.with_control:
        return CONTROL
    method = name[1].partition(" ")[0]
    return CONTROL if control_share > 0 and method in SAFE_METHODS else TOLERANCE


def tested_share(others: Mapping[Key, int], control_share: float) -> float:
    """The least share of control calls that was in force while evidence came, or is now.

    A time of much noise and few control calls, then a calm one with many: the share over both would expect
    control differences that could not be seen. Control that is not asked any more still counts.
    """
    return min([control_share or 1.0, *(float(key[3]) for key in others if key[0] == "share")])


def _log_e(counts: Counts, basis: str, share: float, epsilon: float) -> float:
    return log_excess(counts, epsilon) if basis == TOLERANCE else log_e_value(counts, share)


def _verdict(counts: Counts, basis: str, share: float, *, is_flagged: bool) -> str:
    if is_flagged:
        return REGRESSION
    if basis == CONTROL and is_noise(counts, share):
        return NOISE
    return UNDECIDED


def _needed(
    counts: Counts, basis: str, control_share: float, share: float, epsilon: float, level: float
) -> int | None:
    """How many more exchanges like those seen until a verdict falls; None: nobody knows."""
    if not counts.exchanges:
        return None
    if basis == CONTROL and not counts.with_control and counts.lost >= counts.exchanges * control_share:
        return None  # every control call that was due is lost: more of the same decide nothing
    if basis == CONTROL:
        counts = _with_expected_control(counts, control_share)
        times = min(reaching(slopes(counts, share), level), noisy_after(counts, share))
    else:
        times = reaching(excess_slopes(counts, epsilon), level)
    more = (times - 1) * counts.exchanges
    return max(1, ceil(more)) if more <= MOST_NEEDED else None


def _with_expected_control(counts: Counts, control_share: float) -> Counts:
    """Before the first control answer: those to come are taken to agree with the primary."""
    if counts.with_control:
        return counts
    return Counts(
        exchanges=counts.exchanges,
        with_control=counts.exchanges * control_share,
        differing=counts.differing,
        control_differing=0,
        b=counts.first * control_share,
        c=0,
        lost=counts.lost,
        differing_again=counts.differing_again,
    )


def worst(verdicts: Collection[str]) -> str:
    """The verdict of a whole, of its parts' verdicts; clean without any."""
    if REGRESSION in verdicts:
        return REGRESSION
    return UNDECIDED if UNDECIDED in verdicts else CLEAN
