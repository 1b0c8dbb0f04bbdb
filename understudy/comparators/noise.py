"""Tell a regression from noise by counts alone: e-values that stay valid however often one looks.

Sources: sequential McNemar and two-stream tests as likelihood-ratio mixtures; Wang & Ramdas, *False discovery
rate control with e-values* (e-BH); Howard et al., beta-binomial mixture bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, inf, lgamma, log, log1p, sqrt
from typing import Final

ODDS: Final[tuple[float, ...]] = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0)
"""How many times likelier a difference is on the shadow's side: the alternatives, averaged."""

NOISE_ODDS: Final = 3.0
"""Noise is claimed once "the shadow differs three times as often as the control" is refuted."""

NOISE_ALPHA: Final = 0.05
FEWEST_KEYS: Final = 50
"""So many keys may show up before another one costs more; see `keys_counted`."""

EPSILON: Final = 0.01
"""The share of differing exchanges below which a clean verdict lets an endpoint pass, and without control
the share that is not worth a regression."""

MOST_NEEDED: Final = 10_000_000
LARGEST_LOG: Final = 690.0  # exp beyond is no JSON number
SMALLEST_LOG: Final = -40.0  # exp beyond is lost beside 1
MOST_STEPS: Final = 50
PRECISION: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What was counted for one (service, endpoint, path, kind). Numbers may be projections.

    ``lost``: control answers that may have belonged here and were not compared: calls that were dropped
    or failed, pairs that nobody looked at. Any of them might have differed. ``differing_again`` and
    ``control_again``: the part of ``differing`` and ``control_differing`` from units that had counted here
    before; b and c have none of it.
    """

    exchanges: float
    with_control: float
    differing: float
    control_differing: float
    b: float
    c: float
    lost: float = 0
    differing_again: float = 0
    control_again: float = 0

    @property
    def is_repeated(self) -> bool:
        """Whether some unit differed here more than once."""
        return self.differing_again > 0 or self.control_again > 0

    @property
    def first(self) -> float:
        """Differing exchanges, each unit once."""
        return self.differing - self.differing_again

    @property
    def control_first(self) -> float:
        """Exchanges whose control differed, each unit once."""
        return self.control_differing - self.control_again

    def scaled(self, times: float) -> "Counts":
        """The counts after *times* as much of the same."""
        return Counts(
            exchanges=self.exchanges * times,
            with_control=self.with_control * times,
            differing=self.differing * times,
            control_differing=self.control_differing * times,
            b=self.b * times,
            c=self.c * times,
            lost=self.lost * times,
            differing_again=self.differing_again * times,
            control_again=self.control_again * times,
        )


def log_mean_exp(terms: Sequence[float]) -> float:
    """ln of the mean of the exponentials."""
    most = max(terms)
    if most == -inf:
        return -inf
    least = most + SMALLEST_LOG
    return most + log(sum([exp(term - most) for term in terms if term > least]) / len(terms))


@lru_cache(maxsize=256)
def _weights(share: float) -> tuple[tuple[float, float], ...]:
    """ln of the likelihood ratios of one shadow and one control event, for each of `ODDS`.

    Under the null, of all events a part 1/(1+share) is the shadow's; under an alternative, odds times that.
    """
    return tuple((log(r * (1 + share) / (r + share)), log((1 + share) / (r + share))) for r in ODDS)


def events_slopes(shadow: float, control: float, share: float) -> list[float]:
    """ln of the likelihood ratio of so many events, for each of `ODDS`; linear in the numbers.

    *share*: how many control observations there are for one of the shadow.
    """
    return [shadow * x + control * y for x, y in _weights(share)]


def log_events(shadow: float, control: float, share: float) -> float:
    """ln of the e-value against "the shadow's events come as often as the control's".

    The mixture of likelihood ratios has mean ≤ 1 under the null for any dependence of the two sides.
    """
    return log_mean_exp(events_slopes(shadow, control, share))


def sampling(counts: Counts, share: float) -> float:
    """The share of exchanges with control to reckon with: what was promised, or less when less came.

    A smaller share only ever makes the e-value smaller, so the lesser of the two is safe for both.
    """
    return min(share, counts.with_control / counts.exchanges) if counts.exchanges else 0.0


def slopes(counts: Counts, share: float) -> list[float]:
    """ln of every likelihood ratio whose mean is the e-value; linear in the counts. See `log_e_value`."""
    q = sampling(counts, share)
    paired = events_slopes(counts.b, counts.c, 1.0)
    if q <= 0:
        return paired + [0.0] * len(ODDS)
    return paired + events_slopes(counts.first, counts.control_first + counts.lost, q)


def log_e_value(counts: Counts, share: float) -> float:
    """ln of the e-value against "the shadow differs no more often than the control".

    The mean of the paired test (exchanges with control, null one half) and the two-stream test (all
    exchanges, null 1/(1+share)). *share*: the probability that a mirrored request is asked twice.
    Without any control answer it is 0: nothing is known.

    The two-stream test needs control answers that are a fair sample. A control call that is lost more
    often where answers differ (slow requests time out, a busy hour drops them) would make the control
    look calm, so each lost one counts as differing there. The paired test does not look at them.

    Of a unit, only the first exchange that differs at the place counts, on whichever side: what one unit
    meets again and again has one cause. Whether it has counted is known before the exchange, so what is
    left of the sequence keeps the guarantee.
    """
    return log_mean_exp(slopes(counts, share))


def excess_slopes(counts: Counts, epsilon: float) -> list[float]:
    """ln of every likelihood ratio of `log_excess`; linear in the counts."""
    x, rest = counts.first, counts.exchanges - counts.differing
    terms = []
    for r in ODDS:
        p = r * epsilon / (r * epsilon + 1 - epsilon)
        terms.append(x * log(p / epsilon) + rest * (log1p(-p) - log1p(-epsilon)))
    return terms


def log_excess(counts: Counts, epsilon: float) -> float:
    """ln of the e-value against "the shadow differs in at most a share *epsilon* of exchanges".

    The one test there is without control; it cannot tell noise from a regression.
    """
    return log_mean_exp(excess_slopes(counts, epsilon))


def leans(counts: Counts, share: float) -> bool:
    """Whether any test, lost control calls aside, leans to the shadow, by however little.

    Where units repeat, the rates must not lean either: a difference that stays with its unit is met by
    every exchange of the shadow but by few of the control, which so has more chances to count once.
    """
    q = sampling(counts, share)
    if _is_above_one(counts.b, counts.c, 1.0):
        return True
    if q <= 0:
        return False
    return _is_above_one(counts.first, counts.control_first, q) or (
        counts.is_repeated and _is_above_one(counts.differing, counts.control_differing, q)
    )


def _is_above_one(shadow: float, control: float, share: float) -> bool:
    """Whether `log_events` is positive; a mean of ratios that are all at most 1 is not."""
    for x, y in _weights(share):
        if shadow * x + control * y > 0:
            return log_events(shadow, control, share) > 0
    return False


def log_refuted(shadow: float, control: float, share: float, odds: float) -> float:
    """ln of the likelihood ratio of "as often" to "the shadow's events come *odds* times as often".

    An e-value against *odds* or more; see `events_slopes` for *share*.
    """
    r, q = odds, share
    return shadow * log((r + q) / (r * (1 + q))) + control * log((r + q) / (1 + q))


def log_noise(counts: Counts) -> float:
    """ln of the e-value against "the shadow differs at least `NOISE_ODDS` times as often as the control".

    The lesser of two where units repeat: each unit once tells how much is known, the rates tell which way.
    """
    if not counts.with_control or not counts.exchanges:
        return 0.0
    q = counts.with_control / counts.exchanges
    by_rate = log_refuted(counts.differing, counts.control_differing, q, NOISE_ODDS)
    if not counts.is_repeated:
        return by_rate
    return min(by_rate, log_refuted(counts.first, counts.control_first, q, NOISE_ODDS))


def noisy_after(counts: Counts, share: float) -> float:
    """How many times *counts* until `is_noise`; inf: never."""
    rise = log_noise(counts)
    if rise <= 0 or not counts.control_differing:
        return inf
    times = max(1.0, -log(NOISE_ALPHA) / rise * (1 + PRECISION))
    return times if is_noise(counts.scaled(times), share) else inf


def is_noise(counts: Counts, share: float) -> bool:
    """Whether the control differs too, a threefold excess is refuted, and nothing points to a lesser one."""
    return (
        counts.control_differing > 0 and log_noise(counts) >= -log(NOISE_ALPHA) and not leans(counts, share)
    )


def keys_counted(seen: int) -> float:
    """As how many keys e-BH counts *seen* ones, so that the rate holds although keys show up over time.

    The j-th key to show up is never flagged below an e-value of keys_counted(j) / (fdr · k), k the number
    flagged with it, and the sum of 1 / keys_counted(j) over all j is at most 1: half of it for the first
    `FEWEST_KEYS`, half for all that may follow, 1 / (2j (1 + ln(j / 50))²) each. So the expected share of
    false ones among the flagged is at most *fdr* whenever one looks, however many keys there come to be.
    With the plain number of keys, watched while 20,000 noisy ones show up, it is 23 % instead of 5 %
    (benchmarks/guarantee.py).
    """
    if seen <= FEWEST_KEYS:
        return 2.0 * FEWEST_KEYS
    return 2.0 * seen * (1 + log(seen / FEWEST_KEYS)) ** 2


def flagged(logs: Sequence[float], fdr: float) -> list[bool]:
    """e-BH: which of the keys, given ln of their e-values, are regressions at false discovery rate *fdr*.

    Valid under any dependence. Keys that never differ have no e-value and cost nothing.
    """
    level = threshold(len(logs), fdr)
    falling = sorted(logs, reverse=True)
    passing = [k for k, value in enumerate(falling, 1) if value >= level - log(k)]
    if not passing:
        return [False] * len(logs)
    least = falling[passing[-1] - 1]
    return [value >= least for value in logs]


def threshold(keys: int, fdr: float) -> float:
    """ln of the e-value at which one key is a regression by itself."""
    return log(keys_counted(keys) / fdr)


# -- how often at most, how often at least


def log_beta(a: float, b: float) -> float:
    """ln of the beta function."""
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def most_unseen(exchanges: int, missed: int = 0, alpha: float = 0.05) -> float:
    """The upper bound, valid at any time, on the rate of what was seen 0 times in *exchanges*.

    Beta(0.5, 50) mixture: 300 give 1.3 %, 1,000 give 0.45 %, 3,000 give 0.17 %. With *missed* exchanges
    that nobody looked at, each of them may have shown it.
    """
    if exchanges <= 0:
        return 1.0
    if missed:
        return rate_interval(missed, exchanges + missed, alpha)[1]
    mixture = log_beta(0.5, 50 + exchanges) - log_beta(0.5, 50)
    return 1 - exp((log(alpha) + mixture) / exchanges)


@lru_cache(maxsize=64)
def exchanges_for(epsilon: float) -> int:
    """How many exchanges without an unexplained difference make "fewer than *epsilon* differ" certain."""
    low, high = 1, 2
    while most_unseen(high) > epsilon and high < MOST_NEEDED:
        high *= 2
    while low < high:
        middle = (low + high) // 2
        if most_unseen(middle) <= epsilon:
            high = middle
        else:
            low = middle + 1
    return low


def reaching(logs: Sequence[float], level: float) -> float:
    """How many times the counts behind *logs* (see `slopes`) it takes to reach *level*; inf: never.

    ln of the e-value is convex in that number, so Newton's steps from above never overshoot.
    """
    steepest = max(logs)
    if steepest <= 0:
        return inf
    times = (level + log(len(logs))) / steepest
    for _ in range(MOST_STEPS):
        terms = [times * slope for slope in logs]
        most = max(terms)
        weights = [exp(term - most) for term in terms]
        whole = sum(weights)
        above = most + log(whole / len(terms)) - level
        rise = sum(weight * slope for weight, slope in zip(weights, logs, strict=True)) / whole
        if above <= times * PRECISION * rise:
            break
        times -= above / rise
    return times


@lru_cache(maxsize=4096)
def rate_interval(count: int, total: int, alpha: float = 0.05) -> tuple[float, float]:
    """A confidence interval for a rate, valid at any time (Beta(½, ½) mixture)."""
    if total <= 0:
        return 0.0, 1.0
    least = log_beta(0.5 + count, 0.5 + total - count) - log_beta(0.5, 0.5) + log(alpha)
    low = 0.0 if not count else _border(count, total, least, -1)
    high = 1.0 if count == total else _border(count, total, least, 1)
    return low, high


def _border(count: int, total: int, least: float, side: int) -> float:
    """The rate beyond *count* of *total*, on one *side*, whose ln likelihood is *least*.

    Over log-odds the likelihood is concave: Newton's steps from outside never overshoot.
    """
    if count in (0, total):
        edge = exp(least / total)
        return edge if count else 1 - edge
    odds = log(count / (total - count))
    gap = count * log(count / total) + (total - count) * log1p(-count / total) - least
    odds += side * sqrt(2 * gap * total / (count * (total - count)))
    for _ in range(MOST_STEPS):
        rate = 1 / (1 + exp(-odds))
        softplus = max(odds, 0.0) + log1p(exp(-abs(odds)))
        step = (total * softplus - count * odds + least) / (total * rate - count)
        odds -= step
        if abs(step) < PRECISION:
            break
    return 1 / (1 + exp(-odds))
