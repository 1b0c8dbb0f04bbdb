"""Who visits the shop, what they ask, and whether they got the right answers."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from understudy.demo import catalogue
from understudy.demo.next_release import NextShop
from understudy.demo.shop import RELEASE_FIELD, Shop

CONCURRENCY: Final = 32
"""Visits at the same time, each on its own keep-alive connection."""

TIMEOUT_SECONDS: Final = 15.0
STAFF: Final = 4
"""Users whose id says that they work here; the rules put them in the canary."""

SHOWN: Final = 5
"""Wrong answers that are kept to be shown; all are counted."""

# What people do in a shop: a name of a request, and how often of 100.
WEIGHTS: Final[Mapping[str, int]] = {
    "home": 5,
    "health": 2,
    "catalogue": 12,
    "product": 19,
    "image": 6,
    "reviews": 9,
    "search": 7,
    "search_accented": 3,
    "recommendations": 8,
    "categories": 4,
    "offers": 4,
    "profile": 5,
    "cart": 4,
    "add_to_cart": 3,
    "orders": 3,
    "order": 3,
    "invoice": 2,
    "unknown_product": 1,
}

_SEARCHES: Final = ("mug", "lamp", "Oak", "glass ", "teapot", "nothing like it")
_ACCENTED: Final = ("théière", "café", "mug für tee")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request of a visit. ``status`` maps a release to the status it answers with."""

    path: str
    method: str = "GET"
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    status: Mapping[str, int]
    price_of: int | None = None
    """Product whose price the answer must name, when the released version gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What one user does, one request after the other."""

    uid: str
    steps: tuple[Step, ...]


@dataclass(slots=True)
class Tally:
    """What the clients saw."""

    asked: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)
    releases: dict[str, set[str]] = field(default_factory=dict)
    """Releases that answered each user; a user who saw two was not kept together."""
    by_release: Counter[str] = field(default_factory=Counter)

    def blame(self, text: str) -> None:
        """Count one wrong answer."""
        self.wrong += 1
        if len(self.examples) < SHOWN:
            self.examples.append(text)

    @property
    def split_users(self) -> list[str]:
        """Users who were answered by more than one release."""
        return sorted(uid for uid, releases in self.releases.items() if len(releases) > 1)


def visits(*, requests: int, seed: int) -> list[Visit]:
    """Exactly *requests* steps, in visits of 4 to 16, the same for the same *seed*."""
    rng = random.Random(seed)
    planned: list[Visit] = []
    left = requests
    while left > 0:
        length = min(left, rng.randint(4, 16))
        uid = _uid(rng)
        planned.append(Visit(uid=uid, steps=tuple(_step(rng, uid) for _ in range(length))))
        left -= length
    return planned


def _uid(rng: random.Random) -> str:
    number = rng.randrange(catalogue.USERS)
    return f"staff-{number}" if number < STAFF else f"u{number:04}"


def _step(rng: random.Random, uid: str) -> Step:
    (name,) = rng.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))
    return _STEPS[name](rng, uid)


def _same(status: int = 200) -> dict[str, int]:
    return {Shop.release: status, NextShop.release: status}


def _page(path: str) -> Callable[[random.Random, str], Step]:
    return lambda _rng, _uid: Step(path=path, status=_same())


def _any_product(rng: random.Random) -> int:
    # Some products are asked for far more often than others.
    return min(int(rng.paretovariate(0.6)), catalogue.PRODUCTS)


def _product(rng: random.Random, _: str) -> Step:
    number = _any_product(rng)
    return Step(path=f"/products/{number}", status=_same(), price_of=number)


def _of_product(part: str) -> Callable[[random.Random, str], Step]:
    return lambda rng, _: Step(path=f"/products/{_any_product(rng)}/{part}", status=_same())


def _of_order(part: str) -> Callable[[random.Random, str], Step]:
    def step(rng: random.Random, uid: str) -> Step:
        number = rng.choice(catalogue.customer(uid).orders)
        return Step(path=f"/orders/{number}{part}", status=_same())

    return step


def _catalogue(rng: random.Random, _: str) -> Step:
    pages = catalogue.PRODUCTS // catalogue.PAGE
    return Step(path="/catalogue", params={"page": str(rng.randint(1, pages))}, status=_same())


def _search(rng: random.Random, _: str) -> Step:
    return Step(path="/search", params={"q": rng.choice(_SEARCHES)}, status=_same())


def _search_accented(rng: random.Random, _: str) -> Step:
    status = {Shop.release: 200, NextShop.release: 500}
    return Step(path="/search", params={"q": rng.choice(_ACCENTED)}, status=status)


def _add_to_cart(rng: random.Random, _: str) -> Step:
    body = {"id": _any_product(rng), "quantity": rng.randint(1, 3)}
    return Step(path="/cart/items", method="POST", body=body, status=_same(201))


def _unknown_product(rng: random.Random, _: str) -> Step:
    return Step(path=f"/products/{rng.randint(900, 999)}", status=_same(404))


_STEPS: Final[Mapping[str, Callable[[random.Random, str], Step]]] = {
    "home": _page("/"),
    "health": _page("/health"),
    "catalogue": _catalogue,
    "product": _product,
    "image": _of_product("image"),
    "reviews": _of_product("reviews"),
    "search": _search,
    "search_accented": _search_accented,
    "recommendations": _page("/recommendations"),
    "categories": _page("/categories"),
    "offers": _page("/offers"),
    "profile": _page("/profile"),
    "cart": _page("/cart"),
    "add_to_cart": _add_to_cart,
    "orders": _page("/orders"),
    "order": _of_order(""),
    "invoice": _of_order("/invoice"),
    "unknown_product": _unknown_product,
}


def client_of(url: str) -> httpx.AsyncClient:
    """A client of the proxy at *url* with one keep-alive connection for each visit."""
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    # Only the proxy that is being shown may stand between.
    return httpx.AsyncClient(base_url=url, limits=limits, timeout=TIMEOUT_SECONDS, trust_env=False)


async def shop_around(
    client: httpx.AsyncClient, planned: Sequence[Visit], *, progress: Callable[[], None]
) -> Tally:
    """Play *planned* with *client*; *progress* is called after each answer.

    Never raises for a wrong or missing answer: it is counted in the tally.
    """
    tally = Tally()
    waiting = iter(planned)
    async with asyncio.TaskGroup() as visitors:
        for _ in range(CONCURRENCY):
            visitors.create_task(_visitor(client, waiting, tally, progress))
    return tally


async def _visitor(
    client: httpx.AsyncClient, waiting: Iterator[Visit], tally: Tally, progress: Callable[[], None]
) -> None:
    for visit in waiting:
        for step in visit.steps:
            tally.asked += 1
            await _ask(client, visit.uid, step, tally)
            progress()


async def _ask(client: httpx.AsyncClient, uid: str, step: Step, tally: Tally) -> None:
    try:
        answer = await client.request(
            step.method, step.path, params=step.params, json=step.body, headers={"Cookie": f"uid={uid}"}
        )
    except httpx.HTTPError as error:
        tally.blame(f"{step.method} {step.path}: {type(error).__name__}: {error}")
        return
    release = answer.headers.get(RELEASE_FIELD, "")
    tally.by_release[release] += 1
    tally.releases.setdefault(uid, set()).add(release)
    if problem := problem_with(step, release, answer):
        tally.blame(f"{step.method} {answer.request.url.raw_path.decode()}: {problem}")


def problem_with(step: Step, release: str, answer: httpx.Response) -> str:
    """What is wrong with *answer*, given the release that gave it; empty when nothing is."""
    expected = step.status.get(release)
    if expected is None:
        return f"status {answer.status_code} from no release: {answer.text[:200]!r}"
    if answer.status_code != expected:
        return f"status {answer.status_code} where release {release} gives {expected}"
    if step.price_of is not None and release == Shop.release:
        price, right = answer.json().get("price"), Shop.price(catalogue.products()[step.price_of])
        return "" if price == right else f"price {price!r} where {right!r} is right"
    return ""
