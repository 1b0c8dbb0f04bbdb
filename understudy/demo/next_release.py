"""The shop's next release, with everything its team overlooked.

One override for each entry of `understudy.demo.faults.PLANTED`, and two changes that are no faults.
"""

import asyncio
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from understudy.demo import catalogue
from understudy.demo.catalogue import Customer, Order, Product
from understudy.demo.shop import Shop, money, png

SLOWER_SECONDS = 0.06


class NextShop(Shop):
    """Release 1.5.0."""

    release = "shop/1.5.0"

    @staticmethod
    def price(product: Product) -> str:
        # Fault: the discount is taken twice.
        return money(product.discounted_cents * (100 - product.discount) // 100)

    def listing_headers(self) -> dict[str, str]:
        # Fault: caches lose their permission.
        return {"Cache-Control": "no-store"}

    def loyalty_points(self, customer: Customer) -> object:
        # Fault: a number became text.
        return str(customer.loyalty_points)

    def score(self, value: float) -> object:
        # Fault: a number became text, at a path whose value is random in both releases.
        return str(super().score(value))

    def order_view(self, order: Order) -> dict[str, object]:
        # Fault: the tracking number is gone.
        return {name: value for name, value in super().order_view(order).items() if name != "tracking"}

    def order_numbers(self, customer: Customer) -> Sequence[int]:
        # Fault: only the newest four.
        return customer.orders[:4]

    def basket(self, customer: Customer) -> dict[str, object]:
        # Fault: an internal figure leaks.
        return {**super().basket(customer), "margin_percent": 31}

    def normalise(self, text: str) -> str:
        # Fault: breaks on the first letter outside ASCII.
        return text.encode("ascii").decode().strip().casefold()

    async def reviews(self, request: Request) -> Response:
        # Fault: one query for each review.
        await asyncio.sleep(SLOWER_SECONDS)
        return await super().reviews(request)

    async def categories(self, _: Request) -> Response:
        # Fault: the order that menus rely on is lost.
        return JSONResponse({"categories": list(reversed(catalogue.categories()))})

    def invoice_type(self) -> str:
        # Fault: plain text is announced as HTML.
        return "text/html"

    def picture(self, product: Product) -> bytes:
        # Fault: the channels are swapped, so every picture has the wrong colour.
        return png(red=product.cents % 256, green=120, blue=product.id * 4 % 256)

    def tags(self, product: Product) -> list[str]:
        # No fault: tags are a set, and the configuration says so with `unordered`.
        return sorted(product.tags)
