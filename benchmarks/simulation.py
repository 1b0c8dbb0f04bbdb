"""Verdicts under simulated traffic: noise, faults, lost control calls, units that repeat, slow shadows.

Seeded: the same arguments give the same figures. Walks of integers, judged by the product's own tests.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import ceil, log, log1p, sqrt
from random import Random
from statistics import median

from understudy.comparators.evidence import bucket, forgiven
from understudy.comparators.latency import Slowness
from understudy.comparators.noise import (
    FEWEST_KEYS,
    ODDS,
    Counts,
    flagged,
    log_e_value,
    log_events,
    log_mean_exp,
    threshold,
)

FDR = 0.05
REQUESTS = 20_000
PATHS = 50
BLOCK = 100
"""e-values that are high within so many requests count as high together: more flags than there are."""

DIFFY_RELATIVE, DIFFY_ABSOLUTE, DIFFY_FROM = 0.20, 0.0003, 100
"""Diffy's defaults (JoinedDifferences.scala): percent 20 and 0.03; looked at from the hundredth request."""

LATENCY_EXCHANGES = 3000


class Border:
    """For so many events of the control, with how many of the shadow a mixture may first reach *level*.

    A mean of likelihood ratios is at most the largest of them: below the border nothing has to be computed.
    """

    def __init__(self, share: float, level: float, most: int) -> None:
        weights = [(log(r * (1 + share) / (r + share)), log((1 + share) / (r + share))) for r in ODDS]
        self.least = [min(ceil((level - control * y) / x) for x, y in weights) for control in range(most + 1)]


@dataclass(slots=True, kw_only=True)
class Watched:
    """What became of one path that was watched all the time."""

    marks: list[tuple[int, float]] = field(default_factory=list)
    """(request, ln of the e-value) whenever that was high enough to be flagged with 50 others."""
    is_diffy_ever: bool = False
    is_diffy_last: bool = False


def watch(rate: float, q: float, requests: int, chance: Random, paired: Border, streams: Border) -> Watched:
    """One path that differs with *rate* on either side, independently; every event is looked at."""
    found = Watched()
    level = threshold(PATHS, FDR) - log(PATHS)
    draw, scale = chance.random, log1p(-(1 - (1 - rate) * (1 - q * rate)))
    both, alone = rate * q * rate, rate * q * (1 - rate)
    shadow = rate
    control = (1 - rate) * q * rate
    whole = shadow + control
    n = d = s = b = c = 0
    while (n := n + 1 + int(log(1 - draw()) / scale)) <= requests:
        x = draw() * whole
        if x < shadow:
            d += 1
            if x < both:
                s += 1
            elif x < both + alone:
                b += 1
            if d >= streams.least[s] or b >= paired.least[c]:
                log_e = log_mean_exp([log_events(b, c, 1.0), log_events(d, s, q)])
                if log_e >= level:
                    found.marks.append((n, log_e))
            if n >= DIFFY_FROM and not found.is_diffy_ever:
                found.is_diffy_ever = is_diffy_regression(d, s, n)
        else:
            s += 1
            c += 1
    found.is_diffy_last = is_diffy_regression(d, s, requests)
    return found


def is_diffy_regression(raw: int, noise: int, total: int) -> bool:
    """Diffy's rule, for a path that is noisy in *noise* of *total*."""
    over = raw - noise
    return over > 0 and over / (raw + noise) > DIFFY_RELATIVE and over / total > DIFFY_ABSOLUTE


def is_flagged_ever(paths: Iterable[Watched], keys: int) -> bool:
    """Whether e-BH flags any path at any time, generously: see `BLOCK`."""
    blocks: dict[int, dict[int, float]] = defaultdict(dict)
    for number, path in enumerate(paths):
        for n, log_e in path.marks:
            block = blocks[n // BLOCK]
            block[number] = max(log_e, block.get(number, log_e))
    return any(
        any(flagged([*block.values(), *[0.0] * (keys - len(block))], FDR)) for block in blocks.values()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Of *runs* runs: how many flagged anything, by our rule and by Diffy's."""

    rate: float
    q: float
    runs: int
    ours: int
    diffy_ever: int
    diffy_last: int


def noise(rate: float, q: float, runs: int, *, requests: int = REQUESTS, paths: int = PATHS) -> Noise:
    """*paths* noisy paths, and nothing else, in each of *runs* runs."""
    level = threshold(PATHS, FDR) - log(PATHS)
    paired, streams = Border(1.0, level, requests), Border(q, level, requests)
    ours = ever = last = 0
    for run in range(runs):
        chance = Random(f"{rate}/{q}/{run}")
        seen = [watch(rate, q, requests, chance, paired, streams) for _ in range(paths)]
        ours += is_flagged_ever(seen, paths)
        ever += any(path.is_diffy_ever for path in seen)
        last += any(path.is_diffy_last for path in seen)
    return Noise(rate=rate, q=q, runs=runs, ours=ours, diffy_ever=ever, diffy_last=last)


# -- paths that show up one after another


class Walks:
    """Noise in pairs: unequal ones fall to either side alike. Exact, over the first *steps* of them."""

    def __init__(self, steps: int) -> None:
        self._logs = [[log_events(b, n - b, 1.0) for b in range(n + 1)] for n in range(steps + 1)]

    def reaching(self, level: float) -> float:
        """The probability that ln of the e-value ever reaches *level*."""
        reached, alive = 0.0, [1.0]
        for row in self._logs[1:]:
            after = [0.0] * len(row)
            for b, probability in enumerate(alive):
                after[b] += probability / 2
                after[b + 1] += probability / 2
            for b in range(len(row) // 2, len(row)):
                if row[b] >= level:
                    reached += after[b]
                    after[b] = 0.0
            alive = after
        return reached


def growing(keys: int, level: Callable[[int], float], walks: Walks) -> float:
    """How many of *keys* paths, that show up one by one and have noise alone, are ever flagged, expected.

    *level*: ln of the e-value at which a path is flagged while so many are known.
    """
    expected, first = 0.0, 1
    while first <= keys:
        next_first = min(keys + 1, max(first + 1, int(first * 1.1)))
        expected += (next_first - first) * walks.reaching(level(first))
        first = next_first
    return expected


def plain(known: int) -> float:
    """e-BH with the number of paths known so far, at least 50."""
    return log(max(known, FEWEST_KEYS) / FDR)


def ours(known: int) -> float:
    """What `noise.threshold` asks."""
    return threshold(known, FDR)


# -- faults


def requests_until_flagged(d: float, s: float, q: float, chance: Random, *, most: int) -> tuple[int, int]:
    """(mirrored requests, control answers) until the path is a regression by itself; *most* + 1: never."""
    level, draw = threshold(1, FDR), chance.random
    m = differing = control = b = c = 0
    for n in range(1, most + 1):
        shadow, is_asked = draw() < d, draw() < q
        other = is_asked and draw() < s
        m += is_asked
        differing += shadow
        control += other
        b += is_asked and shadow and not other
        c += other and not shadow
        if shadow:
            counts = Counts(
                exchanges=n, with_control=m, differing=differing, control_differing=control, b=b, c=c
            )
            if log_e_value(counts, q) >= level:
                return n, m
    return most + 1, m


def medians_until_flagged(d: float, s: float, q: float, runs: int, *, most: int) -> tuple[float, float]:
    """The medians of `requests_until_flagged` over *runs*."""
    found = [requests_until_flagged(d, s, q, Random(f"{d}/{s}/{q}/{run}"), most=most) for run in range(runs)]
    return median(n for n, _ in found), median(m for _, m in found)


def hidden(runs: int) -> tuple[int, int, float]:
    """Diffy's blind spot: the shadow differs always, the control in nine of ten, 1,000 requests.

    (Runs in which we flag it, runs in which Diffy does, median requests until we do.)
    """
    found = [
        requests_until_flagged(1.0, 0.9, 1.0, Random(f"hidden/{run}"), most=1000)[0] for run in range(runs)
    ]
    diffy = sum(
        is_diffy_regression(1000, sum(Random(f"diffy/{run}/{i}").random() < 0.9 for i in range(1000)), 1000)
        for run in range(runs)
    )
    return sum(n <= 1000 for n in found), diffy, median(found)


# -- control calls that are lost, units that repeat


def lost_control(runs: int, *, is_counted: bool, requests: int = 8000, q: float = 1.0) -> int:
    """Noise of 30 % in busy times, 1 % else; four of five control calls are lost in busy times.

    In how many runs it is flagged, looked at every 20 requests. *is_counted*: a lost one counts as differing.
    """
    level, bad = threshold(1, FDR), 0
    for run in range(runs):
        draw = Random(f"lost/{run}").random
        m = lost = differing = control = b = c = 0
        for n in range(1, requests + 1):
            is_busy = n // 250 % 2 == 1
            rate = 0.3 if is_busy else 0.01
            shadow, other = draw() < rate, draw() < rate
            differing += shadow
            if draw() < q:
                if is_busy and draw() < 0.8:
                    lost += 1
                else:
                    m += 1
                    control += other
                    b += shadow and not other
                    c += other and not shadow
            if n % 20 == 0:
                counts = Counts(
                    exchanges=n,
                    with_control=m,
                    differing=differing,
                    control_differing=control,
                    b=b,
                    c=c,
                    lost=lost if is_counted else 0,
                )
                if log_e_value(counts, q) >= level:
                    bad += 1
                    break
    return bad


def repeated(mean: float, runs: int, *, is_once: bool, units: int = 600) -> int:
    """Units that meet a difference meet it 1 + Poisson(*mean*) times, on the side that chance gave them.

    In how many runs a single path is flagged, at q = 1, looked at after each. *is_once*: each unit once.
    """
    level, bad = threshold(1, FDR), 0
    for run in range(runs):
        chance, b, c = Random(f"units/{mean}/{run}"), 0, 0
        for _ in range(units):
            times = 1 if is_once else 1 + poisson(mean, chance)
            if chance.random() < 0.5:
                b += times
            else:
                c += times
            if b > c and log_mean_exp([log_events(b, c, 1.0), log_events(b, c, 1.0)]) >= level:
                bad += 1
                break
    return bad


def poisson(mean: float, chance: Random) -> int:
    """The number of arrivals in a time of *mean*, by their gaps."""
    count, left = 0, mean
    while (left := left - chance.expovariate(1.0)) > 0:
        count += 1
    return count


# -- latency


def exchanges_until_slower(factor: float, shared: float, chance: Random) -> int:
    """Exchanges until a shadow that takes *factor* as long is called slower; beyond the last: never."""
    level, late = threshold(1, FDR), 0
    mine: Counter[int] = Counter()
    theirs: Counter[int] = Counter()
    rest = sqrt(0.36 - shared**2)
    for n in range(1, LATENCY_EXCHANGES + 1):
        request = chance.lognormvariate(log(0.08), shared)
        one, other = (
            request * chance.lognormvariate(0, rest),
            factor * request * chance.lognormvariate(0, rest),
        )
        mine[bucket(one)] += 1
        theirs[bucket(other)] += 1
        late += other > forgiven(one)
        if n % 25 == 0 and Slowness(mine, theirs, late, n).log_e() >= level:
            return n
    return LATENCY_EXCHANGES + 1
