"""The pictures of RESULTS.md."""

from collections.abc import Mapping, Sequence

from chart import Bars, Chart, Series
from figures import Row
from grids import titles
from latency import SHADOWS, Latency

VIOLETS = ("#4c1d95", "#7c3aed", "#a78bfa", "#c4b5fd")
GREYS = ("#374151", "#6b7280", "#9ca3af", "#c3c8d0")
"""Dark to light; all stand out on the light background in either theme."""

HEADERS = ("get", "get-changing", "noisy")
LABELS = ("the same headers on every request", "a header that changes", "a field of each answer is noise")


def charts(tables: Mapping[str, Sequence[Row]], latencies: Sequence[Latency]) -> dict[str, str]:
    """File name to SVG, of what was measured."""
    found = {}
    if "get" in tables:
        found["results.svg"] = _small(tables).svg()
    if traffic := {name: some for name, some in tables.items() if name not in HEADERS}:
        found["results-traffic.svg"] = _traffic(traffic).svg()
    if latencies:
        found["results-latency.svg"] = _latency(latencies).svg()
    return found


def _most(values: Sequence[float | None], names: Sequence[str]) -> float:
    """The longest bar to be drawn whole: the baseline's would leave the others no room."""
    return max(
        value
        for value, name in zip(values, names, strict=True)
        if value is not None and not name.startswith("naive")
    )


def _small(tables: Mapping[str, Sequence[Row]]) -> Chart:
    there = [(name, label) for name, label in zip(HEADERS, LABELS, strict=True) if name in tables]
    cpu = {name: {row.target: row.cpu_us for row in tables[name]} for name, _ in there}
    groups = []
    for title, is_mirror in (("without mirror", False), ("every request mirrored", True)):
        names = [row.target for row in tables["get"] if row.is_mirror is is_mirror]
        bars = [Bars(name=name, values=[some.get(name) for some in cpu.values()]) for name in names]
        groups.append((title, bars))
    every = [(value, bars.name) for _, some in groups for bars in some for value in bars.values]
    return Chart(
        title="CPU time per request, µs",
        subtitle="all processes of each proxy, median, 864 bytes of JSON; shorter is better",
        unit="µs",
        series=[
            Series(label=label, ours=ours, others=others)
            for (_, label), ours, others in zip(there, VIOLETS, GREYS, strict=False)
        ],
        groups=groups,
        most=_most([value for value, _ in every], [name for _, name in every]),
    )


def _traffic(tables: Mapping[str, Sequence[Row]]) -> Chart:
    known = titles()
    groups = [
        (known[name], [Bars(name=row.target, values=[row.cpu_us]) for row in some if row.is_mirror])
        for name, some in tables.items()
    ]
    every = [(bars.values[0], bars.name) for _, some in groups for bars in some]
    return Chart(
        title="CPU time per mirrored request, µs",
        subtitle="other kinds of traffic; all processes of each proxy, median; shorter is better",
        unit="µs",
        series=[Series(label="mirrored", ours=VIOLETS[1], others=GREYS[1])],
        groups=groups,
        most=_most([value for value, _ in every], [name for _, name in every]),
    )


def _latency(latencies: Sequence[Latency]) -> Chart:
    peers = list(dict.fromkeys(one.beside for one in latencies))
    p99 = {(one.beside, one.shadow): one.p99_ms for one in latencies if one.peer != "direct"}
    direct = {one.beside: one.p99_ms for one in latencies if one.peer == "direct"}
    bars = [
        Bars(name=peer, values=[direct[peer], *(p99.get((peer, shadow)) for shadow in SHADOWS)])
        for peer in peers
    ]
    colours = zip(("#a3a3a3", *VIOLETS[::-1]), ("#a3a3a3", *GREYS[::-1]), strict=True)
    labels = ("direct, no proxy", *(f"shadow: {shadow}" for shadow in SHADOWS))
    return Chart(
        title="99th percentile of latency, ms",
        subtitle="each at half of its own capacity, from the time a request was due; logarithmic scale",
        unit="ms",
        series=[
            Series(label=label, ours=ours, others=others)
            for label, (ours, others) in zip(labels, colours, strict=True)
        ],
        groups=[("", bars)],
        least=0.1,
        most=max(10.0, *direct.values(), *p99.values()),
        digits=2,
    )
