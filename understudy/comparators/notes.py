"""What a reader of a report must know to trust it, in sentences."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from understudy.comparators.noise import most_unseen
from understudy.comparators.overview import Overview
from understudy.comparators.verdict import CLEAN, UNDECIDED

BREAKER: Final = "breaker"
"""Why a copy is dropped while a shadow fails: see `understudy.shadow`."""

Totals = Mapping[str, int]
Services = Mapping[str, Mapping[str, Any]]
"""By name: what became of its copies, under ``mirror`` and ``control``."""


def notes_on_control(
    services: Services, totals: Totals, *, control_share: float, epsilon: float
) -> list[str]:
    """Whether noise could be learned, and what lost control calls do to the verdicts."""
    if not totals["exchanges"]:
        return []
    if not totals["with_control"] and control_share <= 0:
        text = (
            "No control answers were asked for, so no noise was learned: a regression here means only that "
            f"a path differs in more than {epsilon:.0%} of exchanges, and some may be noise."
        )
        return [text]
    lost: Counter[str] = Counter()
    due = 0
    for service in services.values():
        flow = service["control"]
        due += flow["sent"] + sum(flow["dropped"].values())
        lost.update(flow["dropped"])
        lost.update(flow["failed"])
    told = f"{lost.total():,} of {number_of(due, 'control call')} brought no answer ({reasons(lost)})"
    if not totals["with_control"]:
        return [f"No control answers ({told if lost else 'none came yet'}), so no noise was learned."]
    if lost.total() <= epsilon * due:
        return []
    text = (
        f"{told}. A lost one is judged as if it had differed, so that a control that fails is not taken "
        "for a calm one; verdicts take longer."
    )
    return [text]


def notes_on_tolerance(
    overview: Overview, totals: Totals, *, control_share: float, epsilon: float
) -> list[str]:
    """Whether some verdicts rest on no control, though there is some elsewhere."""
    if not totals["with_control"] and control_share <= 0:
        return []
    if not overview.is_by_tolerance:
        return []
    text = (
        "Some endpoints have no control answers (only GET, HEAD and OPTIONS are asked twice, and functions "
        "that are repeatable): there, a regression means only that a path differs in more than "
        f"{epsilon:.0%} of exchanges."
    )
    return [text]


def notes_on_units(overview: Overview) -> list[str]:
    """Whether differences wait for more units rather than for more requests."""
    waiting = overview.waiting_for_units
    if not waiting:
        return []
    text = (
        f"{number_of(waiting, 'undecided difference')} came mostly from units that had met it before. A unit "
        "counts once: what decides is requests of other units."
    )
    return [text]


def notes_on_failures(services: Services, epsilon: float) -> list[tuple[str, bool]]:
    """Copies without an answer, beyond *epsilon*; True: a clean verdict would be blind.

    A copy that was held back because the ones before it had failed would most likely have failed too.
    """
    notes = []
    for name, service in services.items():
        flow = service["mirror"]
        lost = Counter(flow["failed"])
        lost.update({BREAKER: flow["dropped"][BREAKER]} if BREAKER in flow["dropped"] else {})
        due = flow["sent"] + flow["dropped"].get(BREAKER, 0)
        if lost.total() > epsilon * max(1, due):
            text = (
                f"{name} gave no answer to {lost.total():,} of {number_of(due, 'copy', 'copies')} "
                f"({reasons(lost)}): they were not compared, so the run cannot be clean."
            )
            notes.append((text, True))
    return notes


def notes_on_drops(services: Services, epsilon: float) -> list[tuple[str, bool]]:
    """Copies that Understudy itself held back, beyond *epsilon*; True: half and more, so that what was
    compared is no fair sample."""
    notes = []
    for name, service in services.items():
        flow = service["mirror"]
        dropped = Counter({reason: n for reason, n in flow["dropped"].items() if reason != BREAKER})
        due = flow["sent"] + dropped.total()
        if dropped.total() > epsilon * max(1, due):
            is_blind = 2 * dropped.total() >= due
            text = (
                f"{dropped.total():,} of {number_of(due, 'copy', 'copies')} for {name} were dropped "
                f"({reasons(dropped)})"
            )
            end = ", half and more: the run cannot be clean." if is_blind else ": busy times count for less."
            notes.append((text + end, is_blind))
    return notes


def notes_on_missed(totals: Totals, epsilon: float) -> list[tuple[str, bool]]:
    """Pairs that nobody looked at; True: they may hide a difference in more than *epsilon* of all.

    Answers that are equal byte by byte are all counted, so these are no fair sample.
    """
    missed = totals["not_compared"]
    if not missed:
        return []
    is_blind = most_unseen(totals["exchanges"], missed) > epsilon
    text = (
        f"{number_of(missed, 'pair')} of answers could not be compared (for want of room, or an error), most "
        "of them unequal: true rates may be higher than those shown, within their intervals"
    )
    return [(f"{text}; the run cannot be clean." if is_blind else f"{text}.", is_blind)]


def notes_on_passed_over(totals: Totals) -> list[str]:
    """How many exchanges were left out by chance, and what that does to the rates: none to a verdict."""
    passed = totals["passed_over"]
    if not passed:
        return []
    text = (
        f"{number_of(passed, 'exchange')} passed over by chance, because comparing could not keep up: what "
        "counts is a fair sample of each moment, so that busy times count for less."
    )
    return [text]


def notes_on_beginnings(totals: Totals) -> list[str]:
    """How many answers were too long to be compared whole."""
    cut = totals["beginnings"]
    if not cut:
        return []
    return [f"{number_of(cut, 'exchange')} with answers over the cap: only their beginnings were compared."]


def notes_on_thin_endpoints(verdict: str, endpoints: Sequence[Mapping[str, Any]]) -> list[str]:
    """Under a clean verdict: how many endpoints had too little traffic for one of their own."""
    thin = sum(item["verdict"] == UNDECIDED for item in endpoints) if verdict == CLEAN else 0
    return [f"{number_of(thin, 'endpoint')} had too few exchanges to be judged alone."] if thin else []


def notes_on_omitted(endpoints: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many findings are judged and counted, but not listed."""
    omitted = sum(item["omitted"] for item in endpoints)
    return [f"{number_of(omitted, 'lighter finding')} judged but not listed."] if omitted else []


def reasons(counts: Mapping[str, int]) -> str:
    """``in_flight 3, timeout 12``."""
    return ", ".join(f"{reason or 'unknown'} {n:,}" for reason, n in sorted(counts.items()))


def number_of(number: int, one: str, many: str = "") -> str:
    """``1 copy``, ``2 copies``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
