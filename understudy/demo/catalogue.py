"""What the shop sells, to whom, and what they ordered: the same for every version, chosen by a seed."""

import random
from dataclasses import dataclass
from functools import cache
from typing import Final

SEED: Final = 7
"""The shop's own seed. Both versions share one catalogue, as two releases share one database."""

PRODUCTS: Final = 60
USERS: Final = 300
ORDERS: Final = 400
PAGE: Final = 12
"""Products on one page of the catalogue."""

_THINGS: Final = ("Mug", "Lamp", "Blanket", "Teapot", "Chair", "Clock", "Vase", "Basket", "Mirror", "Kettle")
_KINDS: Final = ("Oak", "Linen", "Copper", "Glass", "Stoneware", "Wool")
_TAGS: Final = ("new", "gift", "handmade", "fair-trade", "outdoor", "washable", "limited")
_CATEGORIES: Final = ("bath", "bedroom", "garden", "hall", "kitchen", "office")
_NAMES: Final = ("Ada", "Bela", "Chidi", "Dana", "Eero", "Fatma", "Goran", "Hana", "Ines", "Jun")
_TOWNS: Final = ("Bergen", "Cork", "Ghent", "Graz", "Porto", "Turku")
_OPINIONS: Final = ("Just what I hoped for.", "Smaller than it looks.", "A gift, well received.", "Sturdy.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One thing on sale. Money is in cents; ``discount`` is in per cent."""

    id: int
    name: str
    category: str
    cents: int
    discount: int
    stock: int
    tags: tuple[str, ...]

    @property
    def discounted_cents(self) -> int:
        """What a customer pays."""
        return self.cents * (100 - self.discount) // 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What one customer wrote about one product."""

    author: str
    stars: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one customer bought: product ids with how many of each."""

    id: int
    lines: tuple[tuple[int, int], ...]
    placed_on: str
    tracking: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """One registered customer."""

    uid: str
    name: str
    town: str
    loyalty_points: int
    orders: tuple[int, ...]
    cart: tuple[tuple[int, int], ...]


def _rng(*parts: object) -> random.Random:
    return random.Random(":".join(str(part) for part in (SEED, *parts)))


@cache
def products() -> dict[int, Product]:
    """Every product by its id, 1 to `PRODUCTS`. Every sixth is on discount."""
    return {number: _product(number) for number in range(1, PRODUCTS + 1)}


def _product(number: int) -> Product:
    rng = _rng("product", number)
    name = f"{_KINDS[(number - 1) // len(_THINGS)]} {_THINGS[number % len(_THINGS)]}"
    return Product(
        id=number,
        name=name,
        category=rng.choice(_CATEGORIES),
        cents=rng.randrange(900, 12_900, 50),
        discount=20 if number % 6 == 0 else 0,
        stock=rng.randrange(0, 80),
        tags=tuple(rng.sample(_TAGS, 4)),
    )


def categories() -> tuple[str, ...]:
    """The departments, in alphabetical order."""
    return _CATEGORIES


@cache
def reviews(product: int) -> tuple[Review, ...]:
    """The reviews of *product*: one to six."""
    rng = _rng("reviews", product)
    return tuple(
        Review(author=rng.choice(_NAMES), stars=rng.randint(2, 5), text=rng.choice(_OPINIONS))
        for _ in range(rng.randint(1, 6))
    )


@cache
def orders() -> dict[int, Order]:
    """Every order by its number, from 1001."""
    return {number: _order(number) for number in range(1001, 1001 + ORDERS)}


def _order(number: int) -> Order:
    rng = _rng("order", number)
    return Order(
        id=number,
        lines=_lines(rng),
        placed_on=f"2025-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
        tracking=f"TRK{rng.randrange(10**8):08}",
    )


def _lines(rng: random.Random) -> tuple[tuple[int, int], ...]:
    chosen = rng.sample(range(1, PRODUCTS + 1), rng.randint(1, 4))
    return tuple((product, rng.randint(1, 3)) for product in chosen)


@cache
def customer(uid: str) -> Customer:
    """The customer with *uid*; anybody is one."""
    rng = _rng("customer", uid)
    return Customer(
        uid=uid,
        name=rng.choice(_NAMES),
        town=rng.choice(_TOWNS),
        loyalty_points=rng.randrange(0, 900),
        orders=tuple(sorted(rng.sample(sorted(orders()), rng.randint(5, 9)), reverse=True)),
        cart=_lines(rng),
    )
