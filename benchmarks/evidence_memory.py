"""What much evidence costs the control process: memory, the time to start with it and to report on it.

1,000 endpoints with 100 places each, every place with its usual counts, and latencies. They are encoded as a
worker sends them, and a process with all that the control process imports decodes them, stores them in SQLite
and holds them; another one starts from that store. Prints a table; status 1 when a goal is missed. Seconds
are of CPU, of the source as it is imported: a wheel, which is compiled, takes about two thirds.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from goals import Goal
from rich.console import Console
from rich.table import Table

from understudy.comparators import Ledger, bucket, noise_at, report
from understudy.link.batch import Batch, decode_batch, encode_batch
from understudy.store.sqlite import SqliteStore

ENDPOINTS, PLACES = 1000, 100
ENDPOINTS_IN_BATCH = 10
SEED = 5
MOST_MIB = 150.0
MOST_REPORT_SECONDS = 3.0
KINDS = ("value", "missing", "type", "length")


def payloads() -> Iterator[bytes]:
    """The batches, as they travel."""
    chance = Random(SEED)
    for first in range(0, ENDPOINTS, ENDPOINTS_IN_BATCH):
        counts: Counter[tuple[str, ...]] = Counter()
        for number in range(first, first + ENDPOINTS_IN_BATCH):
            counts.update(endpoint_counts(f"GET /api/v2/resource-{number}/{{id}}/items", chance))
        yield encode_batch(Batch(sequence=first + 1, counts=counts, pairs=[]))


def endpoint_counts(endpoint: str, chance: Random) -> Counter[tuple[str, ...]]:
    """One endpoint: a tenth of its places regressions, the rest noise of all rates."""
    service, counts = "shop-v2", Counter[tuple[str, ...]]()
    exchanges = chance.randint(1000, 50_000)
    asked = exchanges // 10
    for what, n in (("exchanges", exchanges), ("with_control", asked), ("matched", exchanges // 2)):
        counts["exchange", service, endpoint, what] = n
    for place in range(PLACES):
        rate = chance.choice((0.001, 0.01, 0.1, 0.5, 1.0))
        control_rate = rate if place % 10 else 0.0
        differing, control = int(exchanges * rate), int(asked * control_rate)
        both = int(asked * rate * control_rate)
        key = "difference", service, endpoint, f"/body/data/items/*/field_{place}", KINDS[place % 4]
        for what, n in (
            ("differing", differing),
            ("differing_with_control", int(asked * rate)),
            ("control_differing", control),
            ("b", int(asked * rate) - both),
            ("c", control - both),
        ):
            counts[*key, what] = n
    for side in ("primary", "shadow", "slower", "faster"):
        for _ in range(80):
            counts["latency", service, endpoint, side, str(bucket(chance.lognormvariate(-3, 1)))] += 25
    return Counter({key: n for key, n in counts.items() if n})


def memory_mib(name: str) -> float:
    """VmRSS or VmHWM of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise LookupError(name)


def read(folder: Path) -> Iterator[bytes]:
    """The batches of *folder*, in order."""
    for path in sorted(folder.glob("*.batch")):
        yield path.read_bytes()


async def receive(folder: Path) -> None:
    """What a control process does with the batches: decode, store, hold."""
    store, ledger = SqliteStore(folder / "evidence.db", deadline_seconds=60), Ledger()
    await store.open()
    for payload in read(folder):
        batch = decode_batch(payload)
        counts = Counter(batch.counts)
        await store.add_evidence(source="w", sequence=batch.sequence, counts=counts, samples=[])
        ledger.add(counts)
    await store.close()
    tell(ledger)


async def start(folder: Path) -> None:
    """What it does when it starts."""
    store = SqliteStore(folder / "evidence.db")
    await store.open()
    began = time.process_time()
    ledger = await store.evidence()
    seconds = time.process_time() - began
    await store.close()
    print("start_seconds", seconds)
    tell(ledger)


def tell(ledger: Ledger) -> None:
    """The figures, one a line, for the process that asked."""
    print("resident", memory_mib("VmRSS"))
    print("highest", memory_mib("VmHWM"))
    began = time.process_time()
    noise = sum(sum(noise_at(ledger, name, 0.1).values()) for name in ledger.endpoints())
    print("noise_seconds", time.process_time() - began)
    began = time.process_time()
    whole = report(ledger, control_share=0.1)
    print("report_seconds", time.process_time() - began)
    print("keys", len(ledger))
    print("noise", noise)
    print("regressions", int(whole["summary"].split()[1].replace(",", "")))
    del whole
    print("after_report", memory_mib("VmRSS"))
    print("highest_after_report", memory_mib("VmHWM"))


def measured(act: str, folder: Path) -> dict[str, float]:
    """The figures of *act*, in a process of its own that has imported the control process."""
    done = subprocess.run(
        [sys.executable, __file__, act, str(folder)], check=True, stdout=subprocess.PIPE, text=True
    )
    return {name: float(value) for name, value in map(str.split, done.stdout.splitlines())}


def main() -> int:
    """0: every goal was reached; 1: one was not."""
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, payload in enumerate(payloads()):
            (folder / f"{number:05}.batch").write_bytes(payload)
        received, started = measured("receive", folder), measured("start", folder)
    goals = [
        Goal(what="memory that holds it all", value=received["resident"], at_most=MOST_MIB, unit="MiB"),
        Goal(what="memory after a start with it", value=started["resident"], at_most=MOST_MIB, unit="MiB"),
        Goal(what="a report", value=received["report_seconds"], at_most=MOST_REPORT_SECONDS, unit="s"),
    ]
    table = Table("goal", "value", "at most", "", title=f"{ENDPOINTS:,} endpoints, {PLACES} places each")
    for goal in goals:
        table.add_row(goal.what, f"{goal.value:,.2f} {goal.unit}", f"{goal.at_most:g}", goal.verdict)
    console.print(table)
    console.print("received:", received, "\nstarted:", started)
    return 0 if all(goal.verdict == "reached" for goal in goals) else 1


if __name__ == "__main__":
    if len(sys.argv) == 3:
        import understudy.app.control  # noqa: F401  all that the control process holds anyway

        print("before", memory_mib("VmRSS"))
        asyncio.run({"receive": receive, "start": start}[sys.argv[1]](Path(sys.argv[2])))
        sys.exit(0)
    sys.exit(main())
