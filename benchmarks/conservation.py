"""100,000 requests while five shadows reset, hang, refuse, crawl and talk nonsense, and clients leave.

Every copy has to be accounted for: eligible = sent + skipped + dropped, and sent = answered + failed, by the
report and by the metrics, for every service. And no client may notice.
"""

import asyncio
import random
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import uvloop
from goals import Goal
from serving import ASKED_BY_SERVING, Served, config_of, serving
from soak import Soak, Terms, main
from traffic import page
from visitors import Visitor, Visits

from understudy.testing import (
    Bandwidth,
    FaultProxy,
    Latency,
    LimitData,
    Reset,
    Slicer,
    Timeout,
)
from understudy.testing.faults import Fault

REQUESTS = 100_000
VISITORS = 32
SHADOWS = 5
SEED = 11
HEALTHY_SECONDS = (1.0, 10.0)
FAULTY_SECONDS = (0.05, 0.6)
COPY_SECONDS = 1.0
SETTLE_SECONDS = 20.0
"""Longest wait for the last copies, and for their counts to arrive."""

FAULTS: Mapping[str, tuple[Fault, ...]] = {
    "reset": (Reset(),),
    "reset within the answer": (Reset(after_bytes=100),),
    "hang": (Timeout(),),
    "closed within the answer": (LimitData(after_bytes=400),),
    "late": (Latency(seconds=0.15, jitter_seconds=0.1),),
    "crawl": (Bandwidth(bytes_per_second=3000),),
    "slices": (Slicer(size_bytes=40, pause_seconds=0.002),),
    "refuse": (),
    "nonsense": (),
}
NONSENSE = (
    b"\x00\xff\xfe nonsense\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokay",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more than that",
    b"HTTP/1.1 099 \r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: nonsense\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
)
LAW = ("eligible", "sent", "skipped", "dropped", "answered", "failed")


def conservation(terms: Terms) -> Sequence[Soak]:
    """Raises:
    BenchError: Understudy does not come up, or ends.
    """
    with terms.console.status("100,000 requests under faults") as status:
        return uvloop.run(_play(terms, status.update))


async def _play(terms: Terms, tell: Any) -> Sequence[Soak]:
    stage = terms.stage
    chance = random.Random(SEED)
    visits = Visits(wanted=REQUESTS)
    async with AsyncExitStack() as stack:
        nonsense = await asyncio.start_server(_talk_nonsense, "127.0.0.1", 0)
        stack.push_async_callback(_close, nonsense)
        wrong = ("127.0.0.1", nonsense.sockets[0].getsockname()[1])
        right = ("127.0.0.1", stage.upstreams.shadow)
        proxies = [await stack.enter_async_context(FaultProxy(upstream=right)) for _ in range(SHADOWS)]
        config = _config([proxy.port for proxy in proxies])
        served = await asyncio.to_thread(
            stack.enter_context,
            serving(
                stage,
                config,
                primary=stage.upstreams.primary,
                shadow=proxies[0].port,
                copy_seconds=COPY_SECONDS,
                is_pure=terms.is_pure,
            ),
        )
        suffered: Counter[str] = Counter()
        async with asyncio.TaskGroup() as faults:
            harms = [
                faults.create_task(
                    _harm(proxy, right, wrong, random.Random(chance.getrandbits(64)), suffered)
                )
                for proxy in proxies
            ]
            async with asyncio.TaskGroup() as visitors:
                for _ in range(VISITORS):
                    one = Visitor(served.port, visits, random.Random(chance.getrandbits(64)))
                    visitors.create_task(one.stay())
                visitors.create_task(_tell(visits, tell))
            for harm in harms:
                harm.cancel()
        for proxy in proxies:
            proxy.heal()
        report = await _settled(served)
        metrics = await asyncio.to_thread(page, served.admin_port, "/metrics")
        served.check()
        return [_soak(visits, report, metrics.decode(), suffered)]


def _config(ports: Sequence[int]) -> dict[str, Any]:
    """Each fifth of the units is mirrored to another shadow, with bounds narrow enough to be met."""
    config = config_of(
        mirror_methods=("GET", "HEAD", "POST"),
        shadow={"control": 0.2, "body_cap": "16KiB", "budget": "256KiB", "in_flight": 32},
    )
    names = [f"shop-v{number}" for number in range(2, 2 + len(ports))]
    for name, port in zip(names, ports, strict=True):
        config["services"][name] = {"url": f"http://127.0.0.1:{port}"}
    config["flags"]["shop"] |= {
        "variants": {name: {"serve": "shop-v1", "mirror": [name]} for name in names},
        "defaultVariant": names[0],
        "targeting": {
            "fractional": [
                {"cat": [{"var": "$flagd.flagKey"}, {"var": "targetingKey"}]},
                *([name, 1] for name in names),
            ]
        },
    }
    return config


async def _harm(
    proxy: FaultProxy,
    right: tuple[str, int],
    wrong: tuple[str, int],
    chance: random.Random,
    suffered: Counter[str],
) -> None:
    """A healthy while and a fault in turns, for ever."""
    while True:
        await asyncio.sleep(chance.uniform(*HEALTHY_SECONDS))
        name = chance.choice(list(FAULTS))
        suffered[name] += 1
        if name == "refuse":
            proxy.refuse()
        elif name == "nonsense":
            proxy.upstream = wrong
        proxy.down.set(*FAULTS[name])
        if name in ("refuse", "nonsense"):
            proxy.down.set(Reset())  # of the connections there are
            await asyncio.sleep(0)
            proxy.down.set()
        await asyncio.sleep(chance.uniform(*FAULTY_SECONDS))
        proxy.upstream = right
        proxy.heal()


async def _talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(COPY_SECONDS):
            while await reader.read(65_536):
                writer.write(random.choice(NONSENSE))
                await writer.drain()
    except (OSError, TimeoutError):
        pass
    finally:
        writer.close()


async def _close(server: asyncio.Server) -> None:
    server.close()


async def _tell(visits: Visits, tell: Any) -> None:
    while not visits.is_over:
        tell(f"{visits.asked.total():,} of {visits.wanted:,} requests under faults")
        await asyncio.sleep(0.5)


async def _settled(served: Served) -> dict[str, Any]:
    """The report once two readings agree and nothing is under way, or at last."""
    before: dict[str, Any] = {}
    for _ in range(round(SETTLE_SECONDS)):
        now = await asyncio.to_thread(served.report)
        if now["services"] == before.get("services") and not any(map(_off_by, _flows(now).values())):
            return now
        before = now
        await asyncio.sleep(1.0)
    return before


def _flows(report: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, int]]:
    """(role, service) to its counts by outcome, reasons added up."""
    return {
        (role, service): {
            outcome: sum(flow[outcome].values()) if isinstance(flow[outcome], dict) else flow[outcome]
            for outcome in LAW
        }
        for service, roles in report["services"].items()
        for role, flow in roles.items()
    }


def _told(metrics: str) -> dict[tuple[str, str], dict[str, int]]:
    """The same by the metrics; an outcome there is ``sent`` or ``dropped_budget``."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    pattern = r'^understudy_(mirror|control)_total\{outcome="([a-z]+)_?([a-z_]*)",service="([^"]+)"\} (\S+)$'
    for role, outcome, _reason, service, n in re.findall(pattern, metrics, re.MULTILINE):
        flow = found.setdefault((role, service), dict.fromkeys(LAW, 0))
        flow[outcome] += int(float(n))
    return found


def _off_by(flow: Mapping[str, int]) -> int:
    """How far the law is off."""
    return abs(flow["eligible"] - flow["sent"] - flow["skipped"] - flow["dropped"]) + abs(
        flow["sent"] - flow["answered"] - flow["failed"]
    )


def _soak(visits: Visits, report: Mapping[str, Any], metrics: str, suffered: Counter[str]) -> Soak:
    flows, told = _flows(report), _told(metrics)
    mirrored = [flow for (role, _), flow in flows.items() if role == "mirror"]
    eligible = sum(flow["eligible"] for flow in mirrored) - ASKED_BY_SERVING
    apart = max(0, visits.certain - eligible, eligible - visits.certain - visits.uncertain)
    differing = {key for key in flows if flows[key] != told.get(key, dict.fromkeys(LAW, 0))}
    return Soak(
        title=f"{visits.asked.total():,} requests under faults",
        goals=[
            Goal(what="wrong or missing answers", value=float(len(visits.wrong)), at_most=0.0),
            Goal(
                what="copies not accounted for, by the report",
                value=float(sum(map(_off_by, flows.values()))),
                at_most=0.0,
            ),
            Goal(
                what="copies not accounted for, by the metrics",
                value=float(sum(map(_off_by, told.values()))),
                at_most=0.0,
            ),
            Goal(what="services of which both tell different", value=float(len(differing)), at_most=0.0),
            Goal(what="requests that are no eligible copy, or the reverse", value=float(apart), at_most=0.0),
        ],
        facts=[
            *_books(flows),
            *_reasons(report["mirror"]),
            ("faults suffered", _counts(suffered)),
            ("requests", _counts(visits.asked)),
            *((f"wrong answer {at}", text) for at, text in enumerate(visits.wrong[:5], 1)),
        ],
    )


def _books(flows: Mapping[tuple[str, str], Mapping[str, int]]) -> list[tuple[str, str]]:
    return [
        (f"{role} {service}", ", ".join(f"{flow[outcome]:,} {outcome}" for outcome in LAW))
        for (role, service), flow in sorted(flows.items())
        if any(flow.values())
    ]


def _reasons(flow: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(f"copies {what}", _counts(flow[what])) for what in ("skipped", "dropped", "failed")]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items(), key=lambda item: -item[1]))


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", conservation))
