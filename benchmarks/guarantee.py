"""What the verdicts promise, simulated: how often noise is called a regression, and how soon a fault is found.

Symmetric noise is watched after every event for 20,000 requests on 50 paths at once, beside Diffy's rule in the
same runs; faults are planted and the requests until their verdict counted. Needs nothing but Python; seeded.
Writes GUARANTEE.md beside this file, unless --runs makes it a taste.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, log, log1p
from pathlib import Path
from random import Random
from statistics import median

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
RUNS = 100
BLOCK = 100
"""e-values of paths that pass within so many requests count as passing together: more flags than there are."""

DIFFY_RELATIVE, DIFFY_ABSOLUTE, DIFFY_FROM = 0.20, 0.0003, 100
"""Diffy's defaults (JoinedDifferences.scala): percent 20 and 0.03; looked at from the hundredth request."""

PAGE = Path(__file__).with_name("GUARANTEE.md")


class Border:
    """For so many events of the control, with how many of the shadow a mixture may first reach *level*.

    A mean of likelihood ratios is at most the largest of them, so below the border nothing has to be computed.
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


def growing(keys: int, steps: int, runs: int, level: Callable[[int], float]) -> tuple[int, float]:
    """Paths that show up one by one, each with noise in pairs: (runs with a flag, flags a run).

    *level*: ln of the e-value at which a path is flagged while so many are known.
    """
    bad = flags = 0
    for run in range(runs):
        chance, mine = Random(f"growing/{run}"), 0
        for known in range(1, keys + 1):
            needed = level(known)
            bits, b = chance.getrandbits(steps), 0
            for step in range(1, steps + 1):
                b += bits & 1
                bits >>= 1
                # ln 2 a step is the most that a pair can give
                if b * 0.6931 + (step - b) * -0.18 >= needed and log_events(b, step - b, 1.0) >= needed:
                    mine += 1
                    break
        bad += mine > 0
        flags += mine
    return bad, flags / runs


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


# -- the page


def of(number: float, runs: int) -> str:
    """``3 of 100``."""
    return f"{number:g} of {runs}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def noise_table(runs: int) -> tuple[str, int]:
    """The first table, and the most runs with a flag in any row."""
    found = [noise(rate, q, runs) for q in (1.0, 0.1) for rate in (0.001, 0.01, 0.1, 0.5)]
    rows = [
        [
            f"{one.rate:.1%}",
            f"{one.q:g}",
            of(one.ours, runs),
            of(one.diffy_ever, runs) if one.q == 1 else "-",
            of(one.diffy_last, runs) if one.q == 1 else "-",
        ]
        for one in found
    ]
    heads = ["noise on both sides", "control share", "ours, ever", "Diffy, ever", "Diffy, at the end"]
    return table(heads, rows), max(one.ours for one in found)


def fault_table(runs: int) -> str:
    """How soon a fault is a regression."""
    cases = (
        ("differs always", 1.0, 0.0, 1.0, 500),
        ("differs always", 1.0, 0.0, 0.1, 2000),
        ("differs in 10 %", 0.1, 0.0, 1.0, 5000),
        ("differs in 1 %, no noise", 0.01, 0.0, 1.0, 20_000),
        ("2 % over noise of 1 %", 0.02, 0.01, 1.0, 20_000),
    )
    rows = []
    for what, d, s, q, most in cases:
        n, m = medians_until_flagged(d, s, q, runs, most=most)
        rows.append([what, f"{q:g}", f"{n:,.0f}", f"{m:,.0f}"])
    return table(["the shadow", "control share", "mirrored requests (median)", "control answers"], rows)


def page(runs: int) -> tuple[str, bool]:
    """The page, and whether every promise was kept in these runs."""
    noisy, worst = noise_table(runs)
    found, diffy, soon = hidden(runs)
    grown = [
        (name, *growing(5000, 48, max(4, runs // 5), level))
        for name, level in (("plain", plain), ("ours", ours))
    ]
    few = max(10, runs // 2)
    once = {
        mean: (repeated(mean, runs, is_once=False), repeated(mean, runs, is_once=True))
        for mean in (0.5, 2.0, 9.0)
    }
    losses = [lost_control(few, is_counted=False), lost_control(few, is_counted=True)]
    text = f"""# What the verdicts promise, simulated

Written by `.venv/bin/python benchmarks/guarantee.py`; seeded, so it comes out the same. {runs} runs where nothing
else is said. Simulations, with constant rates and independent requests unless the row says otherwise; Diffy's rule
(20 % relative, 0.03 % absolute) is simulated beside ours on the same events, not run.

## Noise that is called a regression

{PATHS} paths differ by themselves, as often between primary and control as between primary and shadow; {REQUESTS:,}
requests, looked at after every one. Runs in which any path was flagged at any time; promised: at most {FDR:.0%}.

{noisy}

Paths that show up one after another, 5,000 of them, each watched for its first 48 unequal pairs: with e-BH over the
paths known so far (at least 50) and with the level that rises as `keys_counted` has it.

{table(["level", "runs with a flag", "flags a run"], [[name, of(bad, max(4, runs // 5)), f"{flags:.2f}"] for name, bad, flags in grown])}

A unit that meets a difference meets it 1 + Poisson(m) times, on the side that chance gave it; one path, 600 units:

{table(["m", "every exchange counts", "each unit once"], [[f"{mean:g}", of(every, runs), of(each, runs)] for mean, (every, each) in once.items()])}

Noise comes in busy times (30 %, else 1 %), and so do losses: four of five control calls. 8,000 requests, q = 1:

{table(["lost control calls", "runs with a flag"], [["not counted", of(losses[0], few)], ["count as differing (ours)", of(losses[1], few)]])}

## Faults, until they are a regression

{fault_table(runs)}

Diffy's hidden case, the shadow always against the control in nine of ten, within 1,000 requests: found in
{of(found, runs)} runs, after {soon:,.0f} requests (median); by Diffy's rule in {of(diffy, runs)}.
"""
    kept = worst <= FDR * runs and found == runs and once[2.0][1] <= FDR * runs and losses[1] <= FDR * few
    return text, kept


def main() -> int:
    """0: every promise was kept; 1: one was not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help=f"runs a row ({RUNS})")
    options = parser.parse_args()
    began = time.monotonic()
    text, is_kept = page(options.runs)
    print(text)
    print(f"{time.monotonic() - began:.0f} s")
    if options.runs >= RUNS:
        PAGE.write_text(text)
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
