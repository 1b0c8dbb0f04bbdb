"""The two releases of the shop differ in what was planted, in noise, and in nothing else."""

from collections.abc import Mapping

import httpx
import pytest
import yaml

from understudy.comparators import Comparison, Endpoints, parse_compare_rules
from understudy.demo.faults import LATENCY, PLANTED, WOBBLES, Planted, accounts_for
from understudy.demo.next_release import SLOWER_SECONDS, NextShop
from understudy.demo.play import configuration
from understudy.demo.shop import Shop
from understudy.demo.traffic import Step, visits
from understudy.messages import Answer

Places = set[tuple[str, str, str]]
"""(endpoint, path, kind)."""

PORTS = {"proxy_port": 1, "admin_port": 2, "v1_port": 3, "v2_port": 4}


class QuickShop(Shop):
    think_seconds = (0.0, 0.0)


class QuickNextShop(NextShop):
    think_seconds = (0.0, 0.0)


async def answer(client: httpx.AsyncClient, uid: str, step: Step) -> Answer:
    given = await client.request(step.method, step.path, params=step.params, headers={"Cookie": f"uid={uid}"})
    return Answer(
        status=given.status_code,
        headers=tuple(given.headers.raw),
        body=given.content,
        length_bytes=len(given.content),
    )


def client_of(shop: Shop) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=shop.app(), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://shop")


@pytest.fixture(scope="module")
def places() -> dict[str, Places]:
    """Where old differs from new (``shadow``) and where it differs from itself (``control``)."""
    import asyncio

    return asyncio.run(rehearse())


async def rehearse() -> dict[str, Places]:
    rules, problems = parse_compare_rules(yaml.safe_load(configuration(PORTS))["compare"])
    assert not problems
    comparison, endpoints = Comparison(rules), Endpoints([rule.template for rule in rules if rule.template])
    found: Mapping[str, Places] = {"shadow": set(), "control": set()}
    async with client_of(QuickShop()) as old, client_of(QuickNextShop()) as new:
        for visit in visits(requests=400, seed=2):
            for step in visit.steps:
                if step.method != "GET":
                    continue
                endpoint = endpoints.of("GET", step.path)
                primary = await answer(old, visit.uid, step)
                for side, client in (("shadow", new), ("control", old)):
                    other = await answer(client, visit.uid, step)
                    differences = comparison.compare(endpoint, primary, other)
                    found[side].update(
                        (endpoint, item.path, item.kind) for item in differences if not item.ignored
                    )
    return dict(found)


@pytest.mark.parametrize("fault", [fault for fault in PLANTED if fault.kind != LATENCY], ids=lambda f: f.what)
def test_a_planted_fault_is_there_and_is_no_noise(fault: Planted, places: dict[str, Places]) -> None:
    """The comparators name it where the list says, and never between two answers of the old release."""
    place = (fault.endpoint, fault.path, fault.kind)
    assert place in places["shadow"]
    assert place not in places["control"]


def test_nothing_else_differs_between_the_releases(places: dict[str, Places]) -> None:
    """What differs beyond the noise of the old release is accounted for by a planted fault."""
    unexplained = {
        place
        for place in places["shadow"] - places["control"]
        if not any(accounts_for(fault, *place) for fault in PLANTED)
    }
    assert unexplained == set()


def test_noise_stands_where_it_is_expected(places: dict[str, Places]) -> None:
    """Every wobble that the rules do not forgive differs in the old release, too."""
    noisy = {(endpoint, path) for endpoint, path, _ in places["control"]}
    expected = {(wobble.endpoint, wobble.path) for wobble in WOBBLES if "declared" not in wobble.what}
    assert expected <= noisy


def test_the_slower_endpoint_is_slower_than_any_noise() -> None:
    """The extra wait exceeds what the old release ever waits."""
    assert Shop.think_seconds[1] * 5 < SLOWER_SECONDS
