"""A function is written anew; the new one rehearses on the calls of the old one, whose answers count.

python invoice.py [CALLS]
"""

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from rich.console import Console

from understudy.middleware import Understudy
from understudy.report import render_text

understudy = Understudy({"store": "memory://", "services": {}, "shadow": {"control": 0.5}})

Line = tuple[int, int, int]
"""Cents for one, how many, and the tax in percent."""


def new_invoice(lines: Sequence[Line]) -> dict[str, Any]:
    """The same, written anew: shorter, and wrong in two ways."""
    net = sum(cents * number for cents, number, _ in lines)
    tax = sum(round(cents * number * percent / 100) for cents, number, percent in lines)  # rounds each line
    mean = net // sum(number for _, number, _ in lines)  # nobody thought of an empty cart
    return {"net": net, "tax": tax, "mean": mean, "made_at": time.time_ns()}


@understudy.shadow(candidate=new_invoice, name="new-invoice", repeatable=True)
def invoice(lines: Sequence[Line]) -> dict[str, Any]:
    """What is to pay, in cents; the tax is rounded once."""
    net, tax, number = 0, Fraction(0), 0
    for cents, count, percent in lines:
        net += cents * count
        tax += Fraction(cents * count * percent, 100)
        number += count
    mean = net // number if number else 0
    return {"net": net, "tax": round(tax), "mean": mean, "made_at": time.time_ns()}


def carts(number: int) -> list[list[Line]]:
    """The carts of one day, always the same ones; some are empty."""
    draw = random.Random(7)
    return [
        [
            (draw.randrange(100, 5000), draw.randrange(1, 4), draw.choice([7, 19]))
            for _ in range(draw.randrange(5))
        ]
        for _ in range(number)
    ]


def main(calls: int) -> None:
    """Make so many invoices, a few at a time, then tell what differed."""
    for at, cart in enumerate(carts(calls)):
        invoice(cart)
        if at % 10 == 9:
            time.sleep(0.01)  # a shop has quiet moments; without any, calls are passed over and counted
    render_text(whole_report(calls), Console())


def whole_report(calls: int) -> dict[str, Any]:
    """The report, once every call is accounted for. Raises TimeoutError."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        report = asyncio.run(understudy.report())
        mirror = report["mirror"]
        gone = sum(sum(mirror[how].values()) for how in ("skipped", "dropped", "failed"))
        compared = report["exchanges"] + report["passed_over"]
        if mirror["eligible"] == calls == mirror["answered"] + gone and compared == mirror["answered"]:
            return report
        time.sleep(0.1)
    raise TimeoutError(f"not every call is accounted for: {mirror}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 600)
