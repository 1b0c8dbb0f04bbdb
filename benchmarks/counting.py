"""What counting costs a request: the statements of the request path that only count, alone.

`python benchmarks/counting.py` prints microseconds for a request, as Python and compiled as in the wheel.
"""

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import timeit
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUESTS = 100_000
COUNTED_IN = (
    "understudy/histogram.py",
    "understudy/comparators/evidence.py",
    "understudy/shadow/tally.py",
)

STATEMENTS = '''
"""As in proxy/exchange.py (on_complete, _end) and shadow/mirror.py (send, ended, _settle_call)."""

from bisect import bisect_left
from time import perf_counter

from understudy.comparators import bucket
from understudy.histogram import DELTAS, SECONDS, Histogram, RequestStats
from understudy.shadow.tally import Tally


class Books:
    def __init__(self) -> None:
        self.stats = RequestStats()
        self.upstream = Histogram()
        self.tally = Tally()
        self.deltas = Histogram(DELTAS)
        self.eligible = 0
        self.sent = 0
        self.in_flight = 0
        self.answers = 0
        self.failures = 0


def nothing(books: Books, requests: int) -> None:
    for _ in range(requests):
        pass


def plain(books: Books, requests: int) -> None:
    started_at = perf_counter()
    for _ in range(requests):
        now = perf_counter()
        histogram = books.upstream
        seconds = now - started_at
        histogram.counts[bisect_left(SECONDS, seconds)] += 1
        histogram.total += seconds
        stats = books.stats
        stats.codes[200 // 100] += 1
        seconds = (now or perf_counter()) - started_at
        stats.duration.counts[bisect_left(SECONDS, seconds)] += 1
        stats.duration.total += seconds


def mirrored(books: Books, requests: int) -> None:
    plain(books, requests)
    mine = 0.0012
    for at in range(requests):
        theirs = 0.001 + at % 7 * 0.0001
        books.eligible += 1
        books.sent += 1
        books.in_flight += 1
        books.in_flight -= 1
        books.answers += 1
        books.failures = 0
        tally = books.tally
        index = bucket(mine)
        tally.primary[index] = tally.primary.get(index, 0) + 1
        index = bucket(theirs)
        tally.shadow[index] = tally.shadow.get(index, 0) + 1
        tally.shadow_seconds += theirs
        books.deltas.observe(theirs - mine)
        tally.exchanges += 1
        tally.matched += 1
'''


def measure() -> None:
    """CPU time for a plain and a mirrored request, the loop itself taken off; the best of many."""
    counted = importlib.import_module("counted")
    books = counted.Books()
    best = {
        name: min(
            timeit.repeat(
                lambda: getattr(counted, name)(books, REQUESTS),  # noqa: B023  called at once
                timer=time.process_time,
                number=1,
                repeat=15,
            )
        )
        for name in ("nothing", "plain", "mirrored")
    }
    plain, mirrored = ((best[name] - best["nothing"]) / REQUESTS * 1e6 for name in ("plain", "mirrored"))
    how = "as Python" if str(counted.__file__).endswith(".py") else "compiled"
    print(f"{how}: plain {plain:.2f} µs, mirrored {mirrored:.2f} µs")


def main() -> None:
    """Print both."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "understudy", folder / "understudy")
        (folder / "counted.py").write_text(STATEMENTS)
        environ = {**os.environ, "PYTHONPATH": name, "MYPYC_OPT_LEVEL": "2", "MYPYC_DEBUG_LEVEL": "0"}
        again = [sys.executable, str(Path(__file__).resolve()), "--measure"]
        subprocess.run(again, cwd=folder, env=environ, check=True, timeout=300)
        options = ["--ignore-missing-imports", "--follow-untyped-imports"]
        subprocess.run(
            [sys.executable, "-m", "mypyc", *options, "counted.py", *COUNTED_IN],
            cwd=folder,
            env=environ,
            check=True,
            capture_output=True,
            timeout=600,
        )
        subprocess.run(again, cwd=folder, env=environ, check=True, timeout=300)


if __name__ == "__main__":
    measure() if "--measure" in sys.argv else main()
