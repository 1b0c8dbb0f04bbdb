"""Copies that nobody takes: 10,000 POSTs of 64 KiB behind a stopped shadow, and 10,000 slow copies waiting.

What the worker's memory rises to, whether it comes back, and that no client notices.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from figures import Books
from goals import Goal
from pace import SKIP_SECONDS, Paced, pace, quantile_ms
from processes import free_ports, listens
from saturation import settled_books
from serving import Served, config_of, serving, warm
from soak import Soak, Terms, main
from stage import Stage
from traffic import Load
from upstreams import nginx_config

REQUESTS = 10_000
BUDGET_MIB = 64.0
BESIDE_MIB = 32.0
"""What the worker may take beside the budget for copies."""

BACK_SECONDS = 60.0
BACK_MIB = 8.0
"""Within so much of where it began, memory counts as back."""

RATE = 500.0
SLOW_RATE, SLOW_REQUESTS = 1_000.0, 32_000
CONNECTIONS = 64
POST = Load(path="/submit", method="POST", body_bytes=64 * 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strain:
    """One load on a proxy whose copies go nowhere, and what its worker's memory did. In MiB and seconds."""

    title: str
    paced: Paced
    base: float
    peak: float
    end: float
    back_seconds: float
    """Until memory was within `BACK_MIB` of where it began; more than `BACK_SECONDS` when it was not."""
    books: Books


def stopped_shadow(terms: Terms) -> Sequence[Soak]:
    """With the default bounds, then with as many copies allowed as there are requests, then slow ones."""
    stage = terms.stage
    posts = f"{REQUESTS:,} POSTs of 64 KiB, the shadow stopped"
    with _stoppable(stage) as (shadow, stopped):
        few = _strain(terms, f"{posts}; the default bounds", POST, RATE, shadow, stopped, {}, 5.0)
    with _stoppable(stage) as (shadow, stopped):
        bounds = {"in_flight": REQUESTS}
        many = _strain(
            terms, f"{posts}; as many copies allowed, 30 s each", POST, RATE, shadow, stopped, bounds, 30.0
        )
    # More requests than copies: the clients go on while these wait, and until all have timed out.
    slow = _strain(
        terms,
        f"{REQUESTS:,} slow copies waiting, 20 s each",
        Load(),
        SLOW_RATE,
        stage.upstreams.hung,
        nullcontext(),
        bounds,
        20.0,
        requests=SLOW_REQUESTS,
    )
    return [_soak(few), _soak(many), _soak(slow, is_back_wanted=False)]


def _strain(
    terms: Terms,
    title: str,
    load: Load,
    rate: float,
    shadow: int,
    stopped: AbstractContextManager[None],
    bounds: Mapping[str, object],
    copy_seconds: float,
    *,
    requests: int = REQUESTS,
) -> Strain:
    stage = terms.stage
    with (
        terms.console.status(title),
        serving(
            stage,
            config_of(mirror_methods=("GET", "POST"), shadow={"control": 0, **bounds}),
            primary=stage.upstreams.primary,
            shadow=shadow,
            copy_seconds=copy_seconds,
            is_pure=terms.is_pure,
        ) as served,
    ):
        warm(served, load, times=20)
        base = served.reset_peak().rss
        with stopped:
            paced = pace(
                stage.processes,
                served.port,
                load,
                rate=rate,
                seconds=requests / rate - SKIP_SECONDS,  # its beginning comes on top
                connections=CONNECTIONS,
                cores=stage.client_cores,
            )
            peak = served.memory().peak
            back_seconds, end = _until_back(served, base)
            served.check()
            books = settled_books(served.admin_port, "the worker", patience_seconds=2 * copy_seconds)
        return Strain(
            title=title, paced=paced, base=base, peak=peak, end=end, back_seconds=back_seconds, books=books
        )


def _until_back(served: Served, base: float) -> tuple[float, float]:
    """The seconds until memory is back, or more than `BACK_SECONDS`; and what it is then."""
    started = time.monotonic()
    while True:
        now, waited = served.memory().rss, time.monotonic() - started
        if now <= base + BACK_MIB or waited > BACK_SECONDS:
            return waited, now
        time.sleep(0.2)


def _soak(strain: Strain, *, is_back_wanted: bool = True) -> Soak:
    latencies = strain.paced.latencies_us
    reasons = {**strain.books.dropped, **strain.books.failed}
    most = round(strain.base + BUDGET_MIB + BESIDE_MIB, 1)
    back = Goal(
        what=f"back within {BACK_MIB:g} MiB of the beginning after",
        value=strain.back_seconds,
        at_most=BACK_SECONDS,
        unit=" s",
    )
    return Soak(
        title=strain.title,
        goals=[
            Goal(what="worker's memory at most", value=strain.peak, at_most=most, unit=" MiB"),
            *([back] if is_back_wanted else []),
            Goal(what="failed requests", value=float(strain.paced.failed), at_most=0.0),
        ],
        facts=[
            ("resident in the beginning", f"{strain.base:.1f} MiB"),
            (
                f"resident {min(strain.back_seconds, BACK_SECONDS):.0f} s after the load",
                f"{strain.end:.1f} MiB",
            ),
            ("requests", f"{strain.paced.due:,} at {strain.paced.rate:,.0f}/s"),
            ("their latency, p50", f"{quantile_ms(latencies, 0.5):.2f} ms"),
            ("their latency, p99", f"{quantile_ms(latencies, 0.99):.2f} ms"),
            ("their latency at most", f"{max(latencies) / 1000:.2f} ms"),
            ("copies sent", f"{strain.books.sent:,} of {strain.books.eligible:,}"),
            ("the others, and those not answered", ", ".join(f"{n:,} {why}" for why, n in reasons.items())),
        ],
    )


@contextmanager
def _stoppable(stage: Stage) -> Iterator[tuple[int, AbstractContextManager[None]]]:
    """A shadow of its own: its port, and a context in which it is stopped (the kernel still accepts)."""
    (port,) = free_ports(1)
    folder = stage.processes.folder
    config = folder / "stoppable.conf"
    inside = (
        f'client_body_buffer_size 128k; server {{ listen 127.0.0.1:{port} backlog=4096; return 200 "ok"; }}'
    )
    config.write_text(nginx_config(folder, "stoppable", inside))
    command = ["nginx", "-e", "stderr", "-c", str(config)]
    process = stage.processes.start("stoppable", command, cores=stage.client_cores)
    process.wait_until(lambda: listens(port))

    @contextmanager
    def stopped() -> Iterator[None]:
        os.killpg(process.popen.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(process.popen.pid, signal.SIGCONT)

    try:
        yield port, stopped()
    finally:
        stage.processes.end([process])


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", stopped_shadow))
