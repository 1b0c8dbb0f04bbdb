"""Tell a regression from noise by counts alone: e-values that stay valid however often one looks.

Sources: sequential McNemar and two-stream tests as likelihood-ratio mixtures; Wang & Ramdas, *False discovery
rate control with e-values* (e-BH); Howard et al., beta-binomial mixture bounds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, inf, lgamma, log, log1p
from typing import Final

ODDS: Final = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0)
"""How many times likelier a difference is on the shadow's side: the alternatives, averaged."""

NOISE_ODDS: Final = 3.0
"""Noise is claimed once "the shadow differs three times as often as the control" is refuted."""

NOISE_ALPHA: Final = 0.05
FEWEST_KEYS: Final = 20
"""e-BH counts at least so many keys: those not seen yet may differ tomorrow, and early looks are as safe."""

EPSILON: Final = 0.01
"""The share of differing exchanges below which a clean verdict lets an endpoint pass, and without control
the share that is not worth a regression."""

MOST_NEEDED: Final = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What was counted for one (service, endpoint, path, kind). Numbers may be projections."""

    exchanges: float
    with_control: float
    differing: float
    control_differing: float
    b: float
    c: float

    def scaled(self, times: float) -> "Counts":
        """The counts after *times* as much of the same."""
        return Counts(
            exchanges=self.exchanges * times,
            with_control=self.with_control * times,
            differing=self.differing * times,
            control_differing=self.control_differing * times,
            b=self.b * times,
            c=self.c * times,
        )


def log_mean_exp(terms: Sequence[float]) -> float:
    """ln of the mean of the exponentials."""
    most = max(terms)
    if most == -inf:
        return -inf
    return most + log(sum(exp(term - most) for term in terms) / len(terms))


@lru_cache(maxsize=256)
def _weights(share: float) -> tuple[tuple[float, float], ...]:
    """ln of the likelihood ratios of one shadow and one control event, for each of `ODDS`.

    Under the null, of all events a part 1/(1+share) is the shadow's; under an alternative, odds times that.
    """
    return tuple((log(r * (1 + share) / (r + share)), log((1 + share) / (r + share))) for r in ODDS)


def log_events(shadow: float, control: float, share: float) -> float:
    """ln of the e-value against "the shadow's events come as often as the control's".

    *share*: how many control observations there are for one of the shadow. The mixture of likelihood
    ratios has mean ≤ 1 under the null for any dependence of the two sides.
    """
    return log_mean_exp([shadow * x + control * y for x, y in _weights(share)])


def sampling(counts: Counts, share: float) -> float:
    """The share of exchanges with control to reckon with: what was promised, or less when less came.

    A smaller share only ever makes the e-value smaller, so the lesser of the two is safe for both.
    """
    return min(share, counts.with_control / counts.exchanges) if counts.exchanges else 0.0


def log_e_value(counts: Counts, share: float) -> float:
    """ln of the e-value against "the shadow differs no more often than the control".

    The mean of the paired test (exchanges with control, null one half) and the two-stream test (all
    exchanges, null 1/(1+share)). *share*: the probability that a mirrored request is asked twice.
    Without any control answer it is 0: nothing is known.
    """
    q = sampling(counts, share)
    if q <= 0:
        return 0.0
    paired = log_events(counts.b, counts.c, 1.0)
    return log_mean_exp([paired, log_events(counts.differing, counts.control_differing, q)])


def log_excess(counts: Counts, epsilon: float) -> float:
    """ln of the e-value against "the shadow differs in at most a share *epsilon* of exchanges".

    The one test there is without control; it cannot tell noise from a regression.
    """
    x, rest = counts.differing, counts.exchanges - counts.differing
    terms = []
    for r in ODDS:
        p = r * epsilon / (r * epsilon + 1 - epsilon)
        terms.append(x * log(p / epsilon) + rest * (log1p(-p) - log1p(-epsilon)))
    return log_mean_exp(terms)


def log_noise(counts: Counts) -> float:
    """ln of the e-value against "the shadow differs at least `NOISE_ODDS` times as often as the control"."""
    if not counts.with_control or not counts.exchanges:
        return 0.0
    q, r = counts.with_control / counts.exchanges, NOISE_ODDS
    return counts.differing * log((r + q) / (r * (1 + q))) + counts.control_differing * log((r + q) / (1 + q))


def is_noise(counts: Counts, share: float) -> bool:
    """Whether the control differs too, a threefold excess is refuted, and nothing points to a lesser one."""
    return (
        counts.control_differing > 0
        and log_e_value(counts, share) <= 0
        and log_noise(counts) >= -log(NOISE_ALPHA)
    )


def flagged(logs: Sequence[float], fdr: float) -> list[bool]:
    """e-BH: which of the keys, given ln of their e-values, are regressions at false discovery rate *fdr*.

    Valid under any dependence. Keys that never differ have no e-value and cost nothing.
    """
    keys = max(len(logs), FEWEST_KEYS)
    falling = sorted(logs, reverse=True)
    passing = [k for k, value in enumerate(falling, 1) if value >= log(keys / (fdr * k))]
    if not passing:
        return [False] * len(logs)
    least = falling[passing[-1] - 1]
    return [value >= least for value in logs]


def threshold(keys: int, fdr: float) -> float:
    """ln of the e-value at which one key is a regression by itself."""
    return log(max(keys, FEWEST_KEYS) / fdr)


# -- how often at most, how often at least


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def most_unseen(exchanges: float, alpha: float = 0.05) -> float:
    """The upper bound, valid at any time, on the rate of what was seen 0 times in *exchanges*.

    Beta(0.5, 50) mixture: 300 give 1.3 %, 1,000 give 0.45 %, 3,000 give 0.17 %.
    """
    if exchanges <= 0:
        return 1.0
    mixture = _log_beta(0.5, 50 + exchanges) - _log_beta(0.5, 50)
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


@lru_cache(maxsize=4096)
def rate_interval(count: int, total: int, alpha: float = 0.05) -> tuple[float, float]:
    """A confidence interval for a rate, valid at any time (Beta(½, ½) mixture)."""
    if total <= 0:
        return 0.0, 1.0
    mixture = _log_beta(0.5 + count, 0.5 + total - count) - _log_beta(0.5, 0.5)

    def is_refuted(p: float) -> bool:
        likelihood = (count * log(p) if count else 0.0) + (
            (total - count) * log1p(-p) if count < total else 0.0
        )
        return mixture - likelihood >= -log(alpha)

    rate = count / total
    low = 0.0 if not count else _border(0.0, rate, is_refuted)
    high = 1.0 if count == total else _border(1.0, rate, is_refuted)
    return low, high


def _border(refuted: float, kept: float, is_refuted: Callable[[float], bool]) -> float:
    for _ in range(30):
        middle = (refuted + kept) / 2
        if is_refuted(middle):
            refuted = middle
        else:
            kept = middle
    return refuted
