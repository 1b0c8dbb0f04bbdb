"""What a replay has seen: the same evidence, samples and report as of mirrored traffic.

The books hold here too: eligible = sent + skipped + dropped, and sent = answered + failed.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from understudy.comparators import CompareRule, Comparison, Endpoints, bucket, report
from understudy.comparators.evidence import forgiven
from understudy.messages import NOTHING_ASKED, Answer, Asked, Pair
from understudy.replay.ask import Reply
from understudy.replay.entry import Recorded
from understudy.shadow import Assessor, Draws, Found, Redaction
from understudy.store import Bounds

MOST_PLACES: Final = 2000
"""Places with samples, five for each; the report names them all, and shows samples of these."""

Place = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One exchange: the request of that *number*, and what each side made of it. *control* is None where it
    was not asked, *shadow* where the primary gave nothing to compare with."""

    number: int
    request: Recorded
    at: float
    primary: Reply
    shadow: Reply | None
    control: Reply | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRules:
    """The compare rules, and *templates* that name endpoints beside those of the rules."""

    compare: tuple[CompareRule, ...] = ()
    templates: tuple[str, ...] = ()


class Ledger:
    """*shadow* and *control* name the services in the report; *redaction* hides before anything is kept.

    The lottery of samples depends on *seed* and the number of the exchange alone, so that the order in
    which answers come does not matter. *asked* and *origins* (the URL of each service) are for the commands
    that ask a sample's request again.
    """

    def __init__(
        self,
        rules: LedgerRules,
        redaction: Redaction,
        *,
        shadow: str,
        control: str,
        seed: int,
        asked: Callable[[Recorded], Asked] = lambda _request: NOTHING_ASKED,
        origins: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.evidence: Counter[tuple[str, ...]] = Counter()
        self.primary_failures: Counter[str] = Counter()
        self.played = 0
        self.differing = 0
        self._rules = rules
        self._endpoints = Endpoints([*rules.templates, *(rule.endpoint for rule in rules.compare)])
        self._shadow = shadow
        self._control = control
        self._seed = seed
        self._dice = random.Random()
        self._places = Bounds().samples_per_key
        draws = Draws(chance=lambda: self._dice.random(), places=self._places)
        self._assessor = Assessor(Comparison(rules.compare), redaction, draws)
        self._assessor.origins = origins
        self._asked = asked
        self._samples: dict[Place, list[tuple[float, int, dict[str, object]]]] = {}

    @property
    def failing(self) -> int:
        """Requests that either side left without an answer."""
        failed = sum(n for key, n in self.evidence.items() if key[0] == "mirror" and key[2] == "failed")
        return failed + self.primary_failures.total()

    def skip(self, reason: str, number: int = 1) -> None:
        """*number* requests are not asked of the shadow."""
        if number:
            self._book("mirror", self._shadow, "eligible", number=number)
            self._book("mirror", self._shadow, "skipped", reason, number=number)

    def take(self, played: Played) -> None:
        """Add one exchange."""
        self.played += 1
        if played.primary.failure:
            self.primary_failures[played.primary.failure] += 1
        if played.shadow is None:
            self.skip("primary_failed")
        else:
            self._book_call("mirror", self._shadow, played.shadow)
        if played.control is not None:
            self._book_call("control", self._control, played.control)
        self._compare(played)

    def _book_call(self, role: str, service: str, reply: Reply) -> None:
        self._book(role, service, "eligible")
        self._book(role, service, "sent")
        if reply.failure:
            self._book(role, service, "failed", reply.failure)
        else:
            self._book(role, service, "answered")

    def _book(self, role: str, service: str, outcome: str, reason: str = "", *, number: int = 1) -> None:
        self.evidence[role, service, outcome, reason] += number

    def _compare(self, played: Played) -> None:
        primary, shadow = played.primary.answer, played.shadow.answer if played.shadow else None
        if primary is None or shadow is None or played.shadow is None:
            return
        request = played.request
        endpoint = self._endpoints.of(
            request.override or request.method, request.path, request.query, primary.status
        )
        if played.primary.is_timed and played.shadow.is_timed:
            self._time(endpoint, played.primary.seconds, played.shadow.seconds)
        control = played.control.answer if played.control else None
        self._dice.seed(f"{self._seed}/{played.number}")
        assessment = self._assessor.assess(
            Pair(
                service=self._shadow,
                endpoint=endpoint,
                flag="",
                method=request.method,
                path=request.path,
                query=request.query,
                at=played.at,
                primary=primary,
                shadow=comparable(primary, shadow),
                control=None if control is None else comparable(primary, control),
                asked=self._asked(request),
            )
        )
        self.evidence.update(assessment.counts)
        self.differing += assessment.result != "match"
        for found in assessment.found:
            self._keep(found, played.number)

    def _time(self, endpoint: str, mine: float, theirs: float) -> None:
        """Count how long both sides took, and by how much the shadow took longer (see `evidence`)."""
        delta = theirs - mine
        for side, seconds in (
            ("primary", mine),
            ("shadow", theirs),
            ("slower" if delta > 0 else "faster", abs(delta)),
        ):
            self.evidence["latency", self._shadow, endpoint, side, str(bucket(seconds))] += 1
        if theirs > forgiven(mine):
            self.evidence["exchange", self._shadow, endpoint, "late"] += 1

    def _keep(self, found: Found, number: int) -> None:
        place = (found.service, found.endpoint, found.path, found.kind)
        if place not in self._samples and len(self._samples) >= MOST_PLACES:
            return
        kept = self._samples.setdefault(place, [])
        kept.append((found.priority, number, found.body))
        kept.sort(key=lambda entry: entry[:2])
        del kept[self._places :]

    def report(self, *, control_share: float) -> dict[str, Any]:
        """The report so far (DESIGN §8)."""
        samples: Mapping[Place, list[dict[str, object]]] = {
            # An id finds whole answers where they are kept; a replay keeps none.
            place: [{**body, "id": ""} for _, _, body in kept]
            for place, kept in self._samples.items()
        }
        return report(
            self.evidence,
            samples=samples,
            control_share=control_share,
            rules=self._rules.compare,
            templates=self._rules.templates,
        )


def comparable(primary: Answer, other: Answer) -> Answer:
    """*other*, with the primary's length where both are cut off and one of them declared none: nothing is
    made of a length that nobody knows."""
    are_declared = primary.header(b"content-length") and other.header(b"content-length")
    if primary.is_truncated and other.is_truncated and not are_declared:
        return other._replace(length_bytes=primary.length_bytes)
    return other
