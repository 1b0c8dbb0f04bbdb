"""How fast two answers are compared: `Comparison.compare` and `observe`, alone, on one core.

`python benchmarks/comparing.py` prints microseconds for a pair as Python and compiled as in the wheel, beside
deepdiff on the same documents; `--json` gives the figures.
"""

import argparse
import gc
import importlib
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SEED = 7
ROUNDS = 5
ROUND_SECONDS = 0.3
SMALL_BYTES = 864
LARGE_BYTES = 1024 * 1024
FIELDS = (
    (b"Content-Type", b"application/json"),
    (b"Date", b"Thu, 26 Nov 2026 01:00:00 GMT"),
    (b"Cache-Control", b"max-age=60"),
    (b"ETag", b'"5f3a"'),
    (b"Vary", b"Accept-Encoding"),
    (b"X-Frame-Options", b"DENY"),
    (b"X-Request-Id", b"0d3f6f5e-0f57-4b5b-a6f6-0e1c9f3f2a11"),
    (b"Server", b"shop/1.4"),
)


class Case(NamedTuple):
    """Two bodies of one type, and how many places differ in them."""

    title: str
    kind: str
    primary: bytes
    shadow: bytes
    goal_seconds: float | None = None


def order() -> dict[str, Any]:
    """An order of a shop: 864 bytes of compact JSON."""
    document: dict[str, Any] = {
        "id": 48123,
        "status": "shipped",
        "created_at": "2026-11-24T10:12:44Z",
        "customer": {"id": 9917, "name": "Ann Example", "email": "ann@example.com", "is_vip": False},
        "items": [
            {
                "sku": f"SKU-{n}",
                "title": f"Article number {n}",
                "quantity": n,
                "price": 9.99 + n,
                "in_stock": True,
            }
            for n in range(1, 6)
        ],
        "shipping": {"method": "standard", "address": {"street": "Main Street 1", "city": "Springfield"}},
        "total": 84.93,
        "currency": "EUR",
        "note": "",
    }
    document["note"] = "x" * (SMALL_BYTES - len(compact(document)))
    return document


def compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def reordered(document: Any) -> Any:
    """The same document with every object's keys the other way round."""
    if isinstance(document, dict):
        return {key: reordered(document[key]) for key in reversed(document)}
    return [reordered(item) for item in document] if isinstance(document, list) else document


def large(differing: int) -> tuple[bytes, bytes]:
    """A list of orders of 1 MiB, and one in which so many prices differ."""
    orders = [order() | {"id": n} for n in range(LARGE_BYTES // SMALL_BYTES)]
    others = json.loads(json.dumps(orders))
    for n in range(differing):
        others[n % len(others)]["items"][n // len(others)]["price"] += 1
    return compact(orders), compact(others)


def page(seed: int, mark: str, differing: int) -> str:
    """A shop's page of 1 MiB: lists of articles; *mark* in the name of so many of them."""
    draw = random.Random(seed)
    cards: list[str] = []
    size = 0
    while size < LARGE_BYTES:
        n = len(cards)
        name = f"Article {n} {mark if n < differing else ''}"
        words = " ".join(draw.choice(("fine", "light", "green", "long", "of steel")) for _ in range(24))
        cards.append(
            f'<div class="card card--wide" data-sku="SKU-{n}"><a class="link" href="/articles/{n}">'
            f'<img class="picture" src="/pictures/{n}.webp" alt="A picture"></a>'
            f'<h3 class="name">{name}</h3>\n  <p class="text">{words}</p>'
            f'<span class="price">{draw.random() * 100:.2f} €</span></div>\n'
        )
        size += len(cards[-1].encode())
    return f"<!doctype html><html><head><title>Shop</title></head><body>{''.join(cards)}</body></html>"


def feed(mark: str, differing: int) -> str:
    items = "".join(
        f"<item><guid>{n}</guid><title>News {n} {mark if n < differing else ''}</title>"
        f'<media:content url="/pictures/{n}.webp"/><description>{"words " * 30}</description></item>'
        for n in range(LARGE_BYTES // 300)
    )
    return f'<rss xmlns:media="http://search.yahoo.com/mrss/"><channel>{items}</channel></rss>'


def cases() -> list[Case]:
    small = order()
    changed = json.loads(json.dumps(small))
    changed["status"] = "packed"
    changed["items"][2]["price"] += 1
    return [
        Case(
            "864 B of JSON, equal in another order",
            "application/json",
            compact(small),
            compact(reordered(small)),
            20e-6,
        ),
        Case(
            "864 B of JSON, equal with other spaces",
            "application/json",
            compact(small),
            json.dumps(small).encode(),
            20e-6,
        ),
        Case("864 B of JSON, two paths differ", "application/json", compact(small), compact(changed), 40e-6),
        Case("1 MiB of JSON, 1,000 places differ", "application/json", *large(1000), 60e-3),
        Case(
            "1 MiB of JSON, equal with other spaces",
            "application/json",
            large(0)[0],
            json.dumps(json.loads(large(0)[0])).encode(),
        ),
        Case(
            "1 MiB of HTML, 1,000 places differ",
            "text/html",
            page(1, "a", 1000).encode(),
            page(1, "b", 1000).encode(),
            100e-3,
        ),
        Case(
            "1 MiB of XML, 1,000 places differ",
            "application/rss+xml",
            feed("a", 1000).encode(),
            feed("b", 1000).encode(),
        ),
    ]


def seconds_of(work: Callable[[], object]) -> float:
    """CPU seconds of one call: the best of some rounds."""
    work()
    times = 1
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(times):
            work()
        spent = time.process_time() - started
        best = min(best, spent / times)
        times = max(1, int(ROUND_SECONDS / best))
    return best


def measure() -> dict[str, Any]:
    """The figures of the `understudy` that this interpreter finds."""
    from understudy.comparators import Comparison, observe
    from understudy.messages import Answer

    def answer(case: Case, body: bytes) -> Answer:
        fields = [
            (b"Content-Type", case.kind.encode()),
            *FIELDS[1:],
            (b"Content-Length", str(len(body)).encode()),
        ]
        return Answer(status=200, headers=fields, body=body, length_bytes=len(body))

    def seconds(case: Case) -> float:
        comparison = Comparison()
        evidence: dict[tuple[str, ...], int] = {}
        primary, shadow = answer(case, case.primary), answer(case, case.shadow)
        place = "GET /orders/{id}"

        def work() -> None:
            found = comparison.compare(place, primary, shadow)
            observe(evidence, service="shop-v2", endpoint=place, differences=found, control_differences=None)

        return seconds_of(work)

    # As the control process has it (app/control.py), where the comparing is done.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
    figures = {case.title: seconds(case) for case in cases()}
    compiled = str(getattr(importlib.import_module("understudy.comparators.walk"), "__file__", "")).endswith(
        ".so"
    )
    return {"is_compiled": compiled, "seconds": figures}


def measure_deepdiff() -> dict[str, float]:
    """deepdiff on the small documents, parsed as ours are."""
    import orjson
    from deepdiff import DeepDiff

    def seconds(case: Case) -> float:
        return seconds_of(lambda: DeepDiff(orjson.loads(case.primary), orjson.loads(case.shadow)))

    return {case.title: seconds(case) for case in cases() if len(case.primary) < LARGE_BYTES // 2}


def child(tree: Path, what: str) -> Any:
    """What a fresh interpreter says that finds `understudy` in *tree*."""
    environ = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(
        [sys.executable, __file__, "--child", what],
        env=environ,
        cwd=tree,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


def compiled_tree(folder: Path) -> Path:
    """The sources with the modules of the wheel compiled beside them."""
    sys.path.insert(0, str(ROOT))
    importlib.import_module("hatch_build").compile_into(folder, ROOT)
    return folder


def table(figures: Mapping[str, Mapping[str, float]]) -> str:
    lines = [f"{'one pair, one core':42}" + "".join(f"{name:>14}" for name in figures) + f"{'goal':>12}"]
    for case in cases():
        row = f"{case.title:42}"
        for column in figures.values():
            row += f"{_shown(column.get(case.title)):>14}"
        lines.append(row + f"{_shown(case.goal_seconds):>12}")
    return "\n".join(lines)


def _shown(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true", help="the figures as JSON")
    arguments.add_argument("--tree", type=Path, help="a tree with compiled modules, instead of compiling one")
    arguments.add_argument("--child", choices=("ours", "deepdiff"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.child:
        print(json.dumps(measure() if given.child == "ours" else measure_deepdiff()))
        return
    figures: dict[str, Mapping[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="understudy-comparing-") as folder:
        tree = given.tree or compiled_tree(Path(folder))
        for name, where in (("compiled", tree), ("Python", ROOT)):
            said = child(where, "ours")
            if said["is_compiled"] != (name == "compiled"):
                raise SystemExit(f"{where}: these modules are not what was asked for ({name})")
            figures[name] = said["seconds"]
    figures["deepdiff"] = child(ROOT, "deepdiff")
    if given.json:
        print(json.dumps({"python": platform.python_version(), "seconds": figures}, indent=2))
    else:
        print(table(figures))


if __name__ == "__main__":
    main()
