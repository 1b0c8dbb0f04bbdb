"""What the verdicts promise, simulated: how often noise is called a regression, how soon a fault is found.

Symmetric noise is watched after every event for 20,000 requests on 50 paths at once, beside Diffy's rule in
the same runs; faults are planted and the requests until their verdict counted. Needs nothing but Python;
seeded. Writes GUARANTEE.md beside this file, unless --runs makes it a taste.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import median

from simulation import (
    FDR,
    LATENCY_EXCHANGES,
    PATHS,
    REQUESTS,
    Walks,
    exchanges_until_slower,
    growing,
    hidden,
    lost_control,
    medians_until_flagged,
    noise,
    ours,
    plain,
    repeated,
)

RUNS = 100
STEPS = 200
MEANS = (0.5, 2.0, 9.0)
PAGE = Path(__file__).with_name("GUARANTEE.md")


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


def growing_table() -> str:
    """Paths that show up late."""
    walks = Walks(STEPS)
    rows = [
        [f"{keys:,}", *(f"{growing(keys, level, walks):.3f}" for level in (plain, ours))]
        for keys in (50, 1000, 20_000, 100_000)
    ]
    return table(["paths", "paths known so far", "ours"], rows)


def unit_table(once: Mapping[float, Sequence[int]], runs: int) -> str:
    """Units that repeat."""
    rows = [[f"{mean:g}", *(of(bad, runs) for bad in found)] for mean, found in once.items()]
    return table(["m", "every exchange counts", "each unit once"], rows)


def loss_table(losses: Sequence[int], runs: int) -> str:
    """Control calls that are lost."""
    words = ("not counted", "count as differing (ours)")
    rows = [[word, of(bad, runs)] for word, bad in zip(words, losses, strict=True)]
    return table(["lost control calls", "runs with a flag"], rows)


def latency_table(runs: int) -> str:
    """How often, and how soon, a shadow is called slower."""
    rows = []
    for factor in (1.0, 1.1, 1.2, 1.5):
        for shared in (0.0, 0.5):
            found = [
                exchanges_until_slower(factor, shared, Random(f"{factor}/{shared}/{run}"))
                for run in range(runs)
            ]
            alarms = [n for n in found if n <= LATENCY_EXCHANGES]
            after = f"{median(alarms):,.0f}" if alarms else "-"
            rows.append([f"x {factor:g}", "most" if shared else "none", of(len(alarms), runs), after])
    return table(["the shadow", "spread in the request", "called slower", "after (median)"], rows)


def page(runs: int) -> tuple[str, bool]:
    """The page, and whether every promise was kept in these runs."""
    noisy, worst = noise_table(runs)
    found, diffy, soon = hidden(runs)
    grown = growing_table()
    few = max(10, runs // 2)
    once = {mean: [repeated(mean, runs, is_once=is_once) for is_once in (False, True)] for mean in MEANS}
    losses = [lost_control(few, is_counted=False), lost_control(few, is_counted=True)]
    text = f"""# What the verdicts promise, simulated

Written by `.venv/bin/python benchmarks/guarantee.py`; seeded, so it comes out the same. {runs} runs where
nothing else is said. Simulations, with constant rates and independent requests unless the row says otherwise;
Diffy's rule (20 % relative, 0.03 % absolute) is simulated beside ours on the same events, not run.

## Noise that is called a regression

{PATHS} paths differ by themselves, as often between primary and control as between primary and shadow;
{REQUESTS:,} requests, looked at after every one. Runs in which any path was flagged at any time; promised: at
most {FDR:.0%}.

{noisy}

Paths that show up one after another and have noise alone, looked at after every unequal pair: how many are
ever flagged, expected (exact, over the first {STEPS} unequal pairs of each). With e-BH over the paths known
so far, and with the level that rises as `keys_counted` has it; promised: at most {FDR:g}.

{grown}

A unit that meets a difference meets it 1 + Poisson(m) times, on the side that chance gave it; one path, 600
units:

{unit_table(once, runs)}

Noise comes in busy times (30 %, else 1 %), and so do losses: four of five control calls. 8,000 requests,
q = 1:

{loss_table(losses, few)}

## Faults, until they are a regression

{fault_table(runs)}

Diffy's hidden case, the shadow always against the control in nine of ten, within 1,000 requests: found in
{of(found, runs)} runs, after {soon:,.0f} requests (median); by Diffy's rule in {of(diffy, runs)}.

## Latency

Times spread by 0.6 (of their logarithm) around 80 ms; where it says so, most of that lies in the request, so
that both answers to it share it. Looked at every 25 exchanges, up to {LATENCY_EXCHANGES:,}.

{latency_table(max(10, runs // 5))}
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
