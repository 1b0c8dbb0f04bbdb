"""Measure at half the capacity: what a proxy adds to a direct connection, and what a shadow adds to that."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from pace import Paced, pace, quantile_ms
from peers import PEER_BY_NAME, Target
from saturation import Tell, capacity
from scenarios import LATENCY_PEERS, SCENARIOS
from stage import Stage
from traffic import Load

COPY_SECONDS = 2.0
"""The life of a copy in these runs, so that time-outs of a hung shadow fall within them."""

LOAD_SHARE = 0.5
CAPACITY_SECONDS = 1
DIFFERENT = Load(path="/noisy")
SHADOWS = ("none", "healthy", "hung", "different")
"""What stands behind the mirror; `different`: healthy, and no answer of it equals the primary's."""
SHARES = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """One proxy at a fixed rate, all its runs together; or a direct connection to the upstream."""

    peer: str
    """``direct`` for a connection without a proxy, at the rate of `beside`."""
    beside: str
    shadow: str
    rate: float
    requests: int
    failed: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    behind_ms: float
    p99s_ms: tuple[float, ...]
    """The 99th percentile of each run, in the order of the rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """What one client run asks: whom, how often, and under which name."""

    peer: str
    beside: str
    shadow: str
    port: int
    rate: float
    load: Load


def steps(rounds: int) -> int:
    """How often `Tell` will be called, at most."""
    return len(LATENCY_PEERS) * (1 + rounds * (1 + len(SHADOWS)))


def measure_latency(
    stage: Stage, *, seconds: int, rounds: int, connections: int, tell: Tell
) -> list[Latency]:
    """Each proxy at half of what it can do with its mirror on (or without, where it has none).

    Raises:
        BenchError: a proxy or the client failed.
    """
    names = [name for pair in LATENCY_PEERS for name in pair if name]
    mirrors = [name for name in names if PEER_BY_NAME[name].is_mirror]
    place = stage.place(copy_seconds=COPY_SECONDS)
    hung_place = stage.place(copy_seconds=COPY_SECONDS, shadow=stage.upstreams.hung)
    with stage.playing(names, place) as targets, stage.playing(mirrors, hung_place) as hung:
        cells = []
        for plain, mirror in LATENCY_PEERS:
            cells += _cells(
                _named(targets, plain),
                _named(targets, mirror),
                _named(hung, mirror),
                stage,
                connections,
                tell,
            )
        runs: dict[_Cell, list[Paced]] = {cell: [] for cell in cells}
        for number in range(1, rounds + 1):
            for cell in cells:
                tell(f"round {number} of {rounds}: {cell.peer} at {cell.rate:,.0f}/s, shadow: {cell.shadow}")
                runs[cell].append(
                    pace(
                        stage.processes,
                        cell.port,
                        cell.load,
                        rate=cell.rate,
                        seconds=seconds,
                        connections=connections,
                        cores=stage.client_cores,
                    )
                )
        for target in (*targets, *hung):
            target.process.check()
    return [_latency(cell, some) for cell, some in runs.items()]


def _named(targets: Sequence[Target], name: str) -> Target | None:
    return next((target for target in targets if target.name == name), None)


def _cells(
    plain: Target | None,
    mirror: Target | None,
    hung: Target | None,
    stage: Stage,
    connections: int,
    tell: Tell,
) -> list[_Cell]:
    """The runs of one proxy; none when it is not there."""
    if plain is None:
        return []
    tell(f"capacity: {(mirror or plain).name}")
    most = capacity(mirror or plain, SCENARIOS[0], stage, seconds=CAPACITY_SECONDS, connections=connections)
    ports = zip(SHADOWS, (plain, mirror, hung, mirror), strict=True)
    asked = [("direct", "none", stage.upstreams.primary)]
    asked += [(plain.name, shadow, target.port) for shadow, target in ports if target is not None]
    rate = most * LOAD_SHARE
    return [
        _Cell(
            peer=peer,
            beside=plain.name,
            shadow=shadow,
            port=port,
            rate=rate,
            load=DIFFERENT if shadow == "different" else SCENARIOS[0].load,
        )
        for peer, shadow, port in asked
    ]


def _latency(cell: _Cell, runs: Sequence[Paced]) -> Latency:
    each = [array("I", run.latencies_us) for run in runs]
    together = array("I")
    for latencies in each:
        together.extend(latencies)
    return Latency(
        peer=cell.peer,
        beside=cell.beside,
        shadow=cell.shadow,
        rate=cell.rate,
        requests=sum(run.due for run in runs),
        failed=sum(run.failed for run in runs),
        behind_ms=max(run.behind_ms for run in runs),
        p99s_ms=tuple(quantile_ms(latencies, SHARES["p99_ms"]) for latencies in each),
        **{name: quantile_ms(together, share) for name, share in SHARES.items()},
    )


def added_ms(some: Sequence[Latency], one: Latency, what: str) -> float:
    """How much more of *what* (`p50_ms`, …) *one* has than a direct connection at its rate."""
    direct = next(each for each in some if each.peer == "direct" and each.beside == one.beside)
    return float(getattr(one, what)) - float(getattr(direct, what))


def rise_ms(some: Sequence[Latency], peer: str, shadow: str, against: str) -> float | None:
    """What *shadow* adds to the 99th percentile of *peer*, against another one; None when not measured.

    The median over the rounds: within a round the two runs are seconds apart, between rounds a shared machine
    wavers by more than what is asked here.
    """
    by_shadow = {each.shadow: each.p99s_ms for each in some if each.peer == peer}
    if not {shadow, against} <= by_shadow.keys():
        return None
    pairs = zip(by_shadow[against], by_shadow[shadow], strict=True)
    return median(more - less for less, more in pairs)
