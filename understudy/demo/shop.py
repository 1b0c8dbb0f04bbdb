"""The shop that users know: a small JSON API, with the noise that every real one has.

``python -m understudy.demo.shop --version v1 --port 9001`` runs it alone. Nothing a request does is
kept, so any request may be asked any number of times.
"""

import argparse
import asyncio
import html
import random
import secrets
import socket
import struct
import sys
import threading
import uuid
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import cycle
from typing import Any, ClassVar, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from understudy.demo import catalogue
from understudy.demo.catalogue import Customer, Order, Product

RELEASE_FIELD = "Server"
"""Each release signs its answers with its name and version, as servers do."""

_T = TypeVar("_T")


class Shop:
    """The answers of release 1.4.2, each with its share of honest noise."""

    release: ClassVar[str] = "shop/1.4.2"
    think_seconds: ClassVar[tuple[float, float]] = (0.001, 0.004)
    """Between these a request waits, as it would for a database."""

    def __init__(self) -> None:
        # Noise: unlike all else here it must differ between processes and runs.
        self.chance = random.Random(secrets.randbits(64))
        # These rotate from answer to answer, so that a release surely differs from itself in every run.
        self._banners = cycle(("Two for one on mugs, today", None))
        self._lengths = cycle((3, 4, 5, 6))

    # -- small and stable

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "release": self.release})

    async def categories(self, _: Request) -> Response:
        return JSONResponse({"categories": list(catalogue.categories())})

    # -- browsing

    async def home(self, _: Request) -> Response:
        nonce = secrets.token_hex(8)
        items = "".join(f"<li>{html.escape(name)}</li>" for name in catalogue.categories())
        return HTMLResponse(f"<!doctype html><title>Shop</title><ul>{items}</ul><p data-nonce={nonce}></p>\n")

    async def listing(self, request: Request) -> Response:
        page = self._number(request.query_params.get("page", "1"))
        found = list(catalogue.products().values())[(page - 1) * catalogue.PAGE : page * catalogue.PAGE]
        body = {"page": page, "items": [self._item(product) for product in found], "served_at": self._now()}
        return JSONResponse(body, headers=self.listing_headers())

    def listing_headers(self) -> dict[str, str]:
        return {"Cache-Control": "public, max-age=60"}

    async def product(self, request: Request) -> Response:
        product = self._product(request)
        item = {**self._item(product), "category": product.category, "stock": product.stock}
        return JSONResponse({**item, "tags": self.tags(product)})

    def tags(self, product: Product) -> list[str]:
        return list(product.tags)

    async def image(self, request: Request) -> Response:
        product = self._product(request)
        return Response(self.picture(product), media_type="image/png")

    def picture(self, product: Product) -> bytes:
        return png(red=product.id * 4 % 256, green=120, blue=product.cents % 256)

    async def reviews(self, request: Request) -> Response:
        found = catalogue.reviews(self._product(request).id)
        items = [{"author": review.author, "stars": review.stars, "text": review.text} for review in found]
        return JSONResponse({"reviews": items, "count": len(items)})

    async def search(self, request: Request) -> Response:
        asked = self.normalise(request.query_params.get("q", ""))
        found = [item for item in catalogue.products().values() if asked in item.name.casefold()]
        return JSONResponse(
            {"query": asked, "results": [{"id": item.id, "name": item.name} for item in found]}
        )

    def normalise(self, text: str) -> str:
        return text.strip().casefold()

    async def offers(self, _: Request) -> Response:
        body: dict[str, Any] = {"free_shipping_from": "50.00", "currency": "EUR"}
        if banner := next(self._banners):
            body["banner"] = banner
        return JSONResponse(body)

    async def recommendations(self, _: Request) -> Response:
        chosen = self.chance.sample(sorted(catalogue.products()), next(self._lengths))
        items = [{"id": number, "score": self.score(self.chance.random())} for number in chosen]
        return JSONResponse({"items": items, "model": "also-bought", "served_at": self._now()})

    def score(self, value: float) -> object:
        return round(0.5 + value / 2.1, 4)

    # -- what belongs to one customer

    async def profile(self, request: Request) -> Response:
        customer = self._customer(request)
        body = {
            "uid": customer.uid,
            "name": customer.name,
            "address": {"town": customer.town, "country": "EU"},
        }
        points = self.loyalty_points(customer)
        return JSONResponse({**body, "loyalty_points": points, "last_seen": self._now()})

    def loyalty_points(self, customer: Customer) -> object:
        return customer.loyalty_points

    async def cart(self, request: Request) -> Response:
        customer = self._customer(request)
        return JSONResponse(self.basket(customer))

    def basket(self, customer: Customer) -> dict[str, object]:
        return {"lines": self._lines(customer.cart), "total": self._total(customer.cart), "currency": "EUR"}

    async def add_to_cart(self, request: Request) -> Response:
        asked = await request.json()
        product = catalogue.products().get(asked.get("id"))
        if product is None:
            raise HTTPException(422, "no such product")
        line = ((product.id, int(asked.get("quantity", 1))),)
        return JSONResponse({"added": self._lines(line)[0], "total": self._total(line)}, status_code=201)

    async def orders(self, request: Request) -> Response:
        numbers = self.order_numbers(self._customer(request))
        found = [catalogue.orders()[number] for number in numbers]
        return JSONResponse({"orders": [{"id": order.id, "placed_on": order.placed_on} for order in found]})

    def order_numbers(self, customer: Customer) -> Sequence[int]:
        return customer.orders

    async def order(self, request: Request) -> Response:
        return JSONResponse(self.order_view(self._order(request)))

    def order_view(self, order: Order) -> dict[str, object]:
        return {
            "id": order.id,
            "placed_on": order.placed_on,
            "lines": self._lines(order.lines),
            "total": self._total(order.lines),
            "tracking": order.tracking,
        }

    async def invoice(self, request: Request) -> Response:
        order = self._order(request)
        text = f"Invoice {order.id}\nTotal {self._total(order.lines)} EUR\n"
        return Response(text, media_type=self.invoice_type())

    def invoice_type(self) -> str:
        return "text/plain"

    # -- shared

    @staticmethod
    def price(product: Product) -> str:
        """What a customer pays for *product*."""
        return money(product.discounted_cents)

    def _item(self, product: Product) -> dict[str, object]:
        return {"id": product.id, "name": product.name, "price": self.price(product), "currency": "EUR"}

    def _lines(self, lines: Sequence[tuple[int, int]]) -> list[dict[str, object]]:
        found = catalogue.products()
        return [
            {"id": number, "quantity": quantity, "unit_price": money(found[number].discounted_cents)}
            for number, quantity in lines
        ]

    def _total(self, lines: Sequence[tuple[int, int]]) -> str:
        found = catalogue.products()
        return money(sum(found[number].discounted_cents * quantity for number, quantity in lines))

    def _now(self) -> str:
        return datetime.now(UTC).isoformat()

    def _customer(self, request: Request) -> Customer:
        uid = request.cookies.get("uid")
        if not uid:
            raise HTTPException(401, "who are you?")
        return catalogue.customer(uid)

    def _product(self, request: Request) -> Product:
        return _known(catalogue.products().get(self._number(request.path_params["id"])))

    def _order(self, request: Request) -> Order:
        return _known(catalogue.orders().get(self._number(request.path_params["id"])))

    def _number(self, text: str) -> int:
        if not text.isdecimal() or len(text) > 9:
            raise HTTPException(400, "a number is expected")
        return int(text)

    async def think(self, _: Request) -> None:
        await asyncio.sleep(self.chance.uniform(*self.think_seconds))

    def app(self) -> Starlette:
        """The ASGI application of this release."""
        routes = [
            self._route("/", self.home),
            self._route("/health", self.health),
            self._route("/categories", self.categories),
            self._route("/catalogue", self.listing),
            self._route("/products/{id}", self.product),
            self._route("/products/{id}/image", self.image),
            self._route("/products/{id}/reviews", self.reviews),
            self._route("/search", self.search),
            self._route("/offers", self.offers),
            self._route("/recommendations", self.recommendations),
            self._route("/profile", self.profile),
            self._route("/cart", self.cart),
            self._route("/cart/items", self.add_to_cart, method="POST"),
            self._route("/orders", self.orders),
            self._route("/orders/{id}", self.order),
            self._route("/orders/{id}/invoice", self.invoice),
        ]
        # Named by its class, not as 500: Starlette would raise it again and close the connection.
        handlers = {HTTPException: self._refuse, UnicodeError: self._break_down}
        return Starlette(routes=routes, exception_handlers=handlers)

    async def _refuse(self, _: Request, refusal: Exception) -> Response:
        status = refusal.status_code if isinstance(refusal, HTTPException) else 500
        body = {"error": getattr(refusal, "detail", "")}
        return JSONResponse(body, status_code=status, headers=self._signature())

    async def _break_down(self, _: Request, __: Exception) -> Response:
        return PlainTextResponse("Internal Server Error", status_code=500, headers=self._signature())

    def _signature(self) -> dict[str, str]:
        return {"X-Request-Id": str(uuid.uuid4()), RELEASE_FIELD: self.release}

    def _route(self, path: str, handler: Any, method: str = "GET") -> Route:
        async def answer(request: Request) -> Response:
            await self.think(request)
            response: Response = await handler(request)
            response.headers.update(self._signature())
            return response

        return Route(path, answer, methods=[method], name=f"{method} {path}")


def money(cents: int) -> str:
    """*cents* as ``"12.50"``."""
    return f"{cents // 100}.{cents % 100:02}"


def png(*, red: int, green: int, blue: int, side: int = 8) -> bytes:
    """A square PNG of one colour, *side* pixels wide (PNG specification, RFC 2083)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + bytes((red, green, blue)) * side
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    # Level 0 stores, so that pictures of the same size are files of the same length.
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(row * side, 0)) + chunk(b"IEND", b"")


def _known(found: _T | None) -> _T:
    if found is None:
        raise HTTPException(404, "not found")
    return found


def _end_with_parent(server: uvicorn.Server) -> None:
    """End when standard input closes: a parent that died, however it died, leaves no shop behind."""

    def wait() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        server.should_exit = True

    threading.Thread(target=wait, daemon=True).start()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve one version until SIGTERM, or until standard input closes with ``--fd``."""
    from understudy.demo.next_release import NextShop

    parser = argparse.ArgumentParser(description="One version of the demo's shop.")
    parser.add_argument("--version", choices=("v1", "v2"), required=True)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--fd", type=int, default=None, help="listening socket handed over by a parent")
    chosen = parser.parse_args(arguments)
    shop = Shop() if chosen.version == "v1" else NextShop()
    listener = socket.socket(fileno=chosen.fd) if chosen.fd is not None else _listen(chosen.port)
    config = uvicorn.Config(shop.app(), log_level="warning", access_log=False, server_header=False)
    server = uvicorn.Server(config)
    if chosen.fd is not None:
        _end_with_parent(server)
    else:
        sys.stdout.write(f"shop {shop.release} on http://127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
    server.run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


if __name__ == "__main__":
    main()
