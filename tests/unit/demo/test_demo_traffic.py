"""`understudy.demo.traffic`: the visits, and the eye on their answers."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from understudy.demo import catalogue
from understudy.demo.next_release import NextShop
from understudy.demo.shop import RELEASE_FIELD, Shop
from understudy.demo.traffic import WEIGHTS, Step, Tally, problem_with, shop_around, visits

V1, V2 = Shop.release, NextShop.release


@pytest.mark.parametrize("requests", [1, 3, 4, 17, 500])
def test_exactly_the_requests_asked_for(requests: int) -> None:
    """The visits add up to the number of requests, no more and no fewer."""
    assert sum(len(visit.steps) for visit in visits(requests=requests, seed=1)) == requests


def test_the_same_seed_gives_the_same_visits() -> None:
    """Traffic is reproducible by its seed, and another seed gives other traffic."""
    assert visits(requests=300, seed=1) == visits(requests=300, seed=1)
    assert visits(requests=300, seed=1) != visits(requests=300, seed=2)


def test_every_kind_of_request_is_made() -> None:
    """Three thousand requests reach every endpoint of the shop, and from staff as well as customers."""
    planned = visits(requests=3000, seed=1)
    paths = {(step.method, step.path.strip("/").split("/")[0]) for visit in planned for step in visit.steps}
    assert {path for method, path in paths if method == "GET"} == {
        *("", "health", "catalogue", "products", "search", "recommendations"),
        *("categories", "offers", "profile", "cart", "orders"),
    }
    assert ("POST", "cart") in paths
    assert {visit.uid.startswith("staff-") for visit in planned} == {True, False}
    assert sum(WEIGHTS.values()) == 100


def answer(status: int, release: str = "", **body: object) -> httpx.Response:
    headers = {RELEASE_FIELD: release} if release else {}
    return httpx.Response(status, json=body, headers=headers)


PLAIN = Step(path="/x", status={V1: 200, V2: 500})
PRICED = Step(path="/products/6", status={V1: 200, V2: 200}, price_of=6)
RIGHT = Shop.price(catalogue.products()[6])


@pytest.mark.parametrize(
    ("step", "given", "is_right"),
    [
        (PLAIN, answer(200, V1), True),
        (PLAIN, answer(500, V2), True),
        (PLAIN, answer(500, V1), False),
        (PLAIN, answer(200, V2), False),
        (PLAIN, answer(502), False),
        (PRICED, answer(200, V1, price=RIGHT), True),
        (PRICED, answer(200, V1, price="0.01"), False),
        (PRICED, answer(200, V1), False),
        (PRICED, answer(200, V2, price="0.01"), True),
    ],
)
def test_an_answer_is_right_for_the_release_that_gave_it(
    step: Step, given: httpx.Response, is_right: bool
) -> None:
    """The known faults of the next release are no fault of the proxy; anything else is."""
    assert (problem_with(step, given.headers.get(RELEASE_FIELD, ""), given) == "") is is_right


def test_a_user_who_meets_two_releases_is_noticed() -> None:
    """Users must stay in their cohort."""
    tally = Tally(releases={"a": {V1}, "b": {V1, V2}})
    assert tally.split_users == ["b"]


def test_wrong_answers_are_all_counted_and_few_are_kept() -> None:
    """The examples are bounded, the count is not."""
    tally = Tally()
    for number in range(20):
        tally.blame(str(number))
    assert (tally.wrong, tally.examples) == (20, ["0", "1", "2", "3", "4"])


async def test_what_clients_see_is_counted() -> None:
    """A walk through the real shop finds every answer right."""
    tally = await walk(Shop().app())
    assert (tally.asked, tally.wrong, tally.examples) == (60, 0, [])
    assert tally.by_release == {V1: 60}


async def test_an_answer_of_no_release_is_wrong() -> None:
    """An error that the proxy made up is never taken for the shop's."""
    tally = await walk(broken())
    assert (tally.asked, tally.wrong) == (60, 60)


async def test_no_answer_is_wrong() -> None:
    """A connection that fails is counted and does not end the walk."""

    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    tally = await walk_with(httpx.MockTransport(refuse))
    assert (tally.asked, tally.wrong) == (60, 60)
    assert "ConnectError" in tally.examples[0]


async def walk(app: Starlette) -> Tally:
    return await walk_with(httpx.ASGITransport(app=app))


async def walk_with(transport: httpx.AsyncBaseTransport) -> Tally:
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        return await shop_around(client, visits(requests=60, seed=3), progress=lambda: None)


def broken() -> Starlette:
    async def refuse(_: Request) -> Response:
        return Response(status_code=502)

    return Starlette(routes=[Route("/{path:path}", refuse, methods=["GET", "POST"])])
