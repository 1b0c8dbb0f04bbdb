"""`understudy.comparators.learned` and `folding`: names that are data, and workers that learned apart."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.comparators import Endpoints, observe, report
from understudy.comparators.difference import Difference
from understudy.comparators.folding import fold, fold_names
from understudy.comparators.learned import MOST_COLLECTIONS, WIDEST, WIDEST_AT_ROOT
from understudy.comparators.ledger import Ledger

WORDS = [a + b + c for a in "bcdfg" for b in "aeiou" for c in "klmnprst"]
USERS = WORDS[: WIDEST + 1]


def test_many_names_at_one_place_are_data() -> None:
    """The first few stand for themselves; from then on all are one, those seen before too."""
    endpoints = Endpoints()
    first = [endpoints.of("GET", f"/users/{name}") for name in WORDS[:WIDEST]]
    assert first == [f"GET /users/{name}" for name in WORDS[:WIDEST]]
    assert endpoints.of("GET", f"/users/{WORDS[WIDEST]}") == "GET /users/{name}"
    assert endpoints.of("GET", f"/users/{WORDS[0]}") == "GET /users/{name}"
    assert endpoints.of("PUT", f"/users/{WORDS[0]}") == "PUT /users/{name}"
    assert endpoints.of("GET", "/users/zed/orders/17") == "GET /users/{name}/orders/{id}"
    assert endpoints.of("GET", "/users/17") == "GET /users/{id}"
    assert endpoints.of("GET", "/users") == "GET /users"


def test_what_lies_below_names_is_one_place_too() -> None:
    """`/users/alice/orders` and `/users/bob/orders` end as one, with what was learned below either."""
    endpoints = Endpoints()
    for name in USERS:
        endpoints.of("GET", f"/users/{name}/orders")
    endpoints.of("GET", f"/users/{USERS[0]}/profile")
    assert endpoints.of("GET", f"/users/{USERS[3]}/orders") == "GET /users/{name}/orders"
    assert endpoints.of("GET", f"/users/{USERS[3]}/profile") == "GET /users/{name}/profile"


def test_collections_side_by_side_stay_apart() -> None:
    """Forty resources below /api/v1, each with ids, are no data."""
    endpoints = Endpoints()
    for name in WORDS[: WIDEST + 10]:
        endpoints.of("GET", f"/api/v1/{name}/17")
        endpoints.of("GET", f"/api/v1/{name}")
    assert endpoints.of("GET", f"/api/v1/{WORDS[0]}/18") == f"GET /api/v1/{WORDS[0]}/{{id}}"
    assert endpoints.of("GET", f"/api/v1/{WORDS[5]}") == f"GET /api/v1/{WORDS[5]}"


def test_a_site_has_more_names_at_its_root() -> None:
    """Up to a hundred first segments stand for themselves."""
    endpoints = Endpoints()
    names = {endpoints.of("GET", f"/{name}") for name in WORDS[:WIDEST_AT_ROOT]}
    assert len(names) == WIDEST_AT_ROOT
    assert endpoints.of("GET", f"/{WORDS[WIDEST_AT_ROOT]}") == "GET /{name}"


def test_who_tries_names_hides_no_collection() -> None:
    """A site that answers 200 to anything: what has ids below keeps its name."""
    endpoints = Endpoints()
    endpoints.of("GET", "/orders/17")
    for name in WORDS[: WIDEST_AT_ROOT + 1]:
        endpoints.of("GET", f"/{name}")
    assert endpoints.of("GET", "/anything") == "GET /{name}"
    assert endpoints.of("GET", "/orders/18") == "GET /orders/{id}"
    assert endpoints.of("GET", "/orders") == "GET /orders"


def test_collections_without_end_are_data() -> None:
    """`/shops/NAME/17` for more than a hundred shops."""
    endpoints = Endpoints()
    names = {endpoints.of("GET", f"/shops/{name}/{i}") for i, name in enumerate(WORDS)}
    assert len(names) == MOST_COLLECTIONS + 1
    assert endpoints.of("GET", f"/shops/{WORDS[0]}/17") == "GET /shops/{name}/{id}"


@pytest.mark.parametrize("status", [0, 400, 404, 500])
def test_requests_that_fail_teach_nothing(status: int) -> None:
    """A scanner fills no bound, opens no place, and hides no endpoint that is learned later."""
    endpoints = Endpoints(most=3)
    assert {endpoints.of("GET", f"/users/{name}", "", status) for name in WORDS} == {"GET (other)"}
    assert endpoints.of("GET", "/users/bak", "", 200) == "GET /users/bak"
    assert endpoints.of("GET", "/users/bak", "", status) == "GET /users/bak"
    assert endpoints.of("GET", "/users/cab", "", 302) == "GET /users/cab"


def test_what_is_learned_outlives_a_change_of_rules() -> None:
    """New templates come first, the rest is known as before."""
    before = Endpoints()
    for name in USERS:
        before.of("GET", f"/users/{name}")
    after = Endpoints(["GET /users/search"], before=before)
    assert after.of("GET", "/users/new") == "GET /users/{name}"
    assert after.of("GET", "/users/search") == "GET /users/search"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/cart;jsessionid=8A1Fx", "GET /cart;jsessionid={value}"),
        ("/cart;jsessionid%3D8A1Fx;v=2/items", "GET /cart;jsessionid%3D{value};v={value}/items"),
        ("/reset/token=hunter2", "GET /reset/token={value}"),
    ],
)
def test_no_value_of_a_parameter_is_part_of_a_name(path: str, name: str) -> None:
    """A session that an old server writes into paths stands in no report and in no label of a metric."""
    assert Endpoints().of("GET", path) == name


def test_a_clients_braces_are_no_placeholder() -> None:
    """A client that asks for a template opens nothing."""
    endpoints = Endpoints()
    assert endpoints.of("GET", "/users/{name}") == "GET /users/%7Bname%7D"
    assert endpoints.of("GET", "/users/bob") == "GET /users/bob"


@given(st.lists(st.tuples(st.sampled_from(["users", "shops"]), st.sampled_from(WORDS)), max_size=120))
@settings(max_examples=25, deadline=None)
def test_names_stay_bounded_and_agree_with_the_tree(paths: list[tuple[str, str]]) -> None:
    """Whatever the order: what is asked again has a name that was not folded away."""
    endpoints = Endpoints(most=200)
    for place, word in paths:
        endpoints.of("GET", f"/{place}/{word}")
    names = {endpoints.of("GET", f"/{place}/{word}") for place, word in paths}
    assert len(names) <= 2 * WIDEST
    assert fold_names(names) == {}


# -- folding


def _observed(endpoint: str, *, differs: bool) -> Counter[tuple[str, ...]]:
    counts: Counter[tuple[str, ...]] = Counter()
    difference = Difference(path="/body/a", kind="value", primary=1, shadow=2)
    observe(
        counts,
        service="v2",
        endpoint=endpoint,
        differences=[difference] if differs else [],
        control_differences=[],
    )
    return counts


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(WORDS), st.booleans()), min_size=1, max_size=150)
)
@settings(max_examples=25, deadline=None)
def test_workers_that_learned_apart_agree_in_the_report(seen: list[tuple[int, str, bool]]) -> None:
    """Folded evidence is what it would be had the template been known to all from the start."""
    workers = [Endpoints(), Endpoints(), Endpoints()]
    learned: Counter[tuple[str, ...]] = Counter()
    told: Counter[tuple[str, ...]] = Counter()
    for worker, name, differs in seen:
        learned += _observed(workers[worker].of("GET", f"/users/{name}"), differs=differs)
        told += _observed("GET /users/{name}", differs=differs)
    assert report(learned, templates=["GET /users/{name}"]) == report(told)
    is_open = len({name for _, name, _ in seen}) > WIDEST
    assert report(learned) == report(told) or not is_open


def test_folding_renames_samples_and_leaves_the_rest() -> None:
    """Samples of single names stand under the template; flows and other endpoints are as they were."""
    evidence: dict[tuple[str, ...], int] = {
        ("exchange", "v2", "GET /o/{id}", "exchanges"): 3,
        ("exchange", "v2", "GET /o/{order}", "exchanges"): 4,
        ("latency", "v2", "GET /o/{id}", "primary", "7"): 2,
        ("mirror", "v2", "sent", ""): 7,
        ("exchange", "v2", "GET (other)", "exchanges"): 1,
        ("exchange", "v2", "GET /rpc?m=x", "exchanges"): 1,
    }
    samples = {("v2", "GET /o/{id}", "/body", "body"): [{"primary": i, "shadow": 0} for i in range(9)]}
    ledger = Ledger(evidence)
    whole, kept = fold(ledger, samples, ["GET /o/{order}", "GET /rpc?m={m}"])
    assert dict(whole) == {
        ("exchange", "v2", "GET /o/{order}", "exchanges"): 7,
        ("latency", "v2", "GET /o/{order}", "primary", "7"): 2,
        ("mirror", "v2", "sent", ""): 7,
        ("exchange", "v2", "GET (other)", "exchanges"): 1,
        ("exchange", "v2", "GET /rpc?m=x", "exchanges"): 1,
    }
    assert dict(ledger) == evidence
    assert len(kept["v2", "GET /o/{order}", "/body", "body"]) == 5


def test_nothing_to_fold_costs_no_copy() -> None:
    """The report of a run with templates of its own reads the evidence as it is."""
    ledger = Ledger({("exchange", "v2", "GET /o/{id}", "exchanges"): 3})
    assert fold(ledger, {})[0] is ledger
