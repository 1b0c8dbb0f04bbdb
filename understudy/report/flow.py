"""Where requests and their mirrored copies went."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.report import tolerant


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Where mirrored copies went. ``eligible = sent + skipped + dropped``, ``sent = answered + failed``."""

    eligible: int = 0
    sent: int = 0
    answered: int = 0
    skipped: tuple[tuple[str, int], ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()
    failed: tuple[tuple[str, int], ...] = ()

    @property
    def skipped_count(self) -> int:
        """Copies not made, on purpose."""
        return sum(number for _, number in self.skipped)

    @property
    def dropped_count(self) -> int:
        """Copies given up to keep the bounds."""
        return sum(number for _, number in self.dropped)

    @property
    def failed_count(self) -> int:
        """Copies without an answer."""
        return sum(number for _, number in self.failed)

    @property
    def in_flight(self) -> int:
        """Copies sent whose outcome is still to come."""
        return max(0, self.sent - self.answered - self.failed_count)

    @property
    def unaccounted(self) -> int:
        """By how much the books do not balance; 0 when the conservation law holds."""
        open_ends = self.eligible - self.sent - self.skipped_count - self.dropped_count
        return abs(open_ends) + max(0, self.answered + self.failed_count - self.sent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many requests one cohort had, and who answered them."""

    flag: str
    variant: str
    service: str
    requests: int


def read_flow(item: object) -> Flow:
    """The books under ``mirror`` or ``control``; what is absent is zero."""
    flow = tolerant.mapping(item)
    return Flow(
        eligible=tolerant.count(flow.get("eligible")),
        sent=tolerant.count(flow.get("sent")),
        answered=tolerant.count(flow.get("answered")),
        skipped=_reasons(flow.get("skipped")),
        dropped=_reasons(flow.get("dropped")),
        failed=_reasons(flow.get("failed")),
    )


def _reasons(item: object) -> tuple[tuple[str, int], ...]:
    if not isinstance(item, Mapping):
        return (("", tolerant.count(item)),) if tolerant.count(item) else ()
    pairs = ((str(reason), tolerant.count(number)) for reason, number in item.items())
    return tuple(sorted(((reason, number) for reason, number in pairs if number), key=_by_count))


def _by_count(pair: tuple[str, int]) -> tuple[int, str]:
    return -pair[1], pair[0]


def read_share(item: Mapping[str, Any]) -> Share:
    """One entry of ``traffic``."""
    return Share(
        flag=tolerant.text(item.get("flag")),
        variant=tolerant.text(item.get("variant")),
        service=tolerant.text(item.get("service")),
        requests=tolerant.count(item.get("requests")),
    )
