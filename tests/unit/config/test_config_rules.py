"""One gate for every rules document: accepted whole, or refused with everything that is wrong."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.comparators import Comparison
from understudy.config import Rules, parse_rules
from understudy.decide import Route, compile_rules
from understudy.errors import ConfigError
from understudy.messages import Answer, RequestHead

SERVICES = ("shop-v1", "shop-v2")
JSON = ((b"Content-Type", b"application/json"),)
STABLE = {"serve": "shop-v1"}
FLAG = {"state": "ENABLED", "variants": {"stable": STABLE}, "defaultVariant": "stable"}


def flag(**changes: Any) -> dict[str, Any]:
    """A routing flag with *changes*; None takes a key away."""
    return {key: value for key, value in {**FLAG, **changes}.items() if value is not None}


def document(*, shop: Any = FLAG, route: Any = None, **more: Any) -> dict[str, Any]:
    """A rules document with one flag and one route."""
    return {
        "flags": {"shop": shop},
        "routes": [{"path": "/", "flag": "shop"} if route is None else route],
        **more,
    }


def refusals(value: object) -> list[str]:
    """The problems of the rules document *value*."""
    with pytest.raises(ConfigError) as refused:
        parse_rules(value, services=SERVICES)
    return [str(problem) for problem in refused.value.problems]


def test_an_empty_document_is_no_rules() -> None:
    """Nothing said: no flags, no routes, and a document that says so."""
    assert parse_rules({}, services=()) == Rules()
    assert parse_rules({}, services=()).document == {"flags": {}, "routes": [], "compare": [], "killed": []}


def test_the_parts_are_what_the_kernels_take() -> None:
    """Flags and routes compile, compare rules compare, and a killed flag answers its safe variant."""
    rules = parse_rules(
        document(
            shop=flag(
                variants={"stable": STABLE, "dark": {**STABLE, "mirror": ["shop-v2"]}},
                targeting={"if": ["dark"]},
            ),
            compare=[{"endpoint": "GET /orders/{id}", "ignore": ["/a"]}],
            metadata={"flagSetId": "shop"},
            killed=["shop"],
            **{"$evaluators": {"staff": {"in": ["@example.com", {"var": "headers.x-user-email"}]}}},
        ),
        services=SERVICES,
    )
    compiled = compile_rules(
        flags=rules.flags,
        routes=rules.routes,
        evaluators=rules.evaluators,
        metadata=rules.metadata,
        killed=rules.killed,
    )
    decision = compiled.decide(RequestHead())
    assert decision is not None
    assert (decision.variant, decision.reason, decision.serve) == ("stable", "KILLED", "shop-v1")
    one, other = (
        Answer(status=200, headers=JSON, body=body, length_bytes=len(body))
        for body in (b'{"a":1}', b'{"a":2}')
    )
    comparison = Comparison(rules.compare)
    assert [found.ignored for found in comparison.compare("GET /orders/{id}", one, other)] == [True]
    assert [found.ignored for found in comparison.compare("GET /carts/{id}", one, other)] == [False]


def test_the_document_is_a_copy() -> None:
    """Whoever hands a document in cannot change the rules afterwards."""
    given_document = document()
    rules = parse_rules(given_document, services=SERVICES)
    given_document["flags"]["shop"]["state"] = "DISABLED"
    assert rules.document["flags"]["shop"]["state"] == "ENABLED"


def test_a_document_reads_back_as_itself() -> None:
    """What the API shows can be put again and means the same."""
    rules = parse_rules(document(killed=["shop"]), services=SERVICES)
    again = parse_rules(json.loads(json.dumps(rules.document)), services=SERVICES)
    assert again == rules


@pytest.mark.parametrize("path", ["path", "exact"])
def test_a_route_is_read(path: str) -> None:
    """Every key of a route arrives in its field; hosts and header units in lower case."""
    entry = {
        path: "/api",
        "host": "*.Example.com",
        "methods": ["GET", "POST"],
        "flag": "shop",
        "unit": "header:X-User",
        "mirror_methods": ["GET"],
        "name": "the api",
    }
    fields: dict[str, Any] = {
        path: "/api",
        "host": "*.example.com",
        "methods": ("GET", "POST"),
        "flag": "shop",
        "unit": "header:x-user",
        "mirror_methods": ("GET",),
        "name": "the api",
    }
    assert parse_rules(document(route=entry), services=SERVICES).routes == (Route(**fields),)


ROUTE_MISTAKES: list[tuple[Any, list[str]]] = [
    (3, ["routes[0]: must be a mapping of keys to values, not 3"]),
    ({}, ["routes[0]: has neither flag nor serve (name the flag to consult, or the service that answers)"]),
    ({"flag": "shpo"}, ['routes[0].flag: unknown flag "shpo" (did you mean shop?)']),
    ({"flag": 3}, ["routes[0].flag: must be the name of a flag, not 3 (there is only shop)"]),
    ({"serve": "shop-v3"}, ['routes[0].serve: unknown service "shop-v3" (did you mean shop-v1 or shop-v2?)']),
    (
        {"flag": "shop", "serve": "shop-v1"},
        ["routes[0]: has flag and serve (the variants of a flag say which service answers)"],
    ),
    ({"flag": "shop", "units": "ip"}, ["routes[0].units: unknown key (did you mean unit?)"]),
    ({"serve": "shop-v1", "unit": "ip"}, ["routes[0].unit: means nothing without a flag"]),
    (
        {"serve": "shop-v1", "mirror_methods": ["GET"]},
        ["routes[0].mirror_methods: means nothing without a flag"],
    ),
    (
        {"flag": "shop", "path": "/", "exact": "/"},
        ["routes[0]: has path and exact (one of path, exact and template says which paths match)"],
    ),
    ({"flag": "shop", "path": "api"}, ['routes[0].path: "api" does not start with / (did you mean /api?)']),
    (
        {"flag": "shop", "path": "/a?b=1"},
        ['routes[0].path: "/a?b=1" has more than a path (did you mean /a?)'],
    ),
    (
        {"flag": "shop", "path": "/caf\N{LATIN SMALL LETTER E WITH ACUTE}"},
        [
            (
                'routes[0].path: "/caf\N{LATIN SMALL LETTER E WITH ACUTE}" is not a path '
                "as it stands in a request "
                "(did you mean /caf%C3%A9?)"
            )
        ],
    ),
    (
        {"flag": "shop", "path": "/api/*"},
        ['routes[0].path: "/api/*" has a * (path: /api matches all below /api; template: /orders/{id})'],
    ),
    (
        {"flag": "shop", "path": "/orders/{id}"},
        ['routes[0].path: "/orders/{id}" has a parameter (did you mean template: /orders/{id}?)'],
    ),
    (
        {"flag": "shop", "template": "/orders/x{id}"},
        ['routes[0].template: "x{id}" is not a segment ({name} stands for one whole segment)'],
    ),
    (
        {"flag": "shop", "template": "/orders/*"},
        ['routes[0].template: "/orders/*" has a * (a segment that varies is written {name})'],
    ),
    (
        {"flag": "shop", "host": "https://shop.example.com/"},
        ['routes[0].host: "https://shop.example.com/" is not a host (did you mean shop.example.com?)'],
    ),
    (
        {"flag": "shop", "host": "a b"},
        ['routes[0].host: "a b" is not a host (for example shop.example.com or *.example.com)'],
    ),
    (
        {"flag": "shop", "methods": "get"},
        ['routes[0].methods: must be a list, not "get" (did you mean [GET]?)'],
    ),
    (
        {"flag": "shop", "methods": ["get"]},
        ['routes[0].methods[0]: "get" is not a method (did you mean GET?)'],
    ),
    ({"flag": "shop", "methods": ["GET", "GET"]}, ['routes[0].methods[1]: "GET" stands here twice']),
    (
        {"flag": "shop", "methods": ["CONNECT"]},
        ["routes[0].methods[0]: CONNECT is answered with 405 and reaches no route"],
    ),
    (
        {"flag": "shop", "unit": "cookies:uid"},
        ['routes[0].unit: "cookies:uid" is not a unit (did you mean cookie:uid?)'],
    ),
    (
        {"flag": "shop", "unit": "uid"},
        ['routes[0].unit: "uid" is not a unit (use header:NAME, cookie:NAME, query:NAME or ip)'],
    ),
    (
        {"flag": "shop", "unit": "cookie:"},
        ['routes[0].unit: "cookie:": "" cannot name a cookie (for example cookie:uid)'],
    ),
    (
        {"flag": "shop", "unit": "header:a b"},
        ['routes[0].unit: "a b" cannot name a header field (letters, digits and hyphens)'],
    ),
    (
        {"flag": "shop", "unit": "jwt:sub"},
        [
            (
                "routes[0].unit: units from a JWT are not in this version "
                "(use header:NAME, cookie:NAME, query:NAME or ip)"
            )
        ],
    ),
    (
        {"flag": "shop", "unit": 7},
        ["routes[0].unit: must be header:NAME, cookie:NAME, query:NAME or ip, not 7"],
    ),
    (
        {"flag": "shop", "name": "a\nb"},
        ['routes[0].name: "a\\nb" is not a route\'s name (1 to 128 visible ASCII characters)'],
    ),
]


@pytest.mark.parametrize(("route", "expected"), ROUTE_MISTAKES)
def test_a_wrong_route_is_told(route: Any, expected: list[str]) -> None:
    """One mistake, one problem, with its path and what was probably meant."""
    assert refusals(document(route=route)) == expected


VARIANT = "flags.shop.variants.stable"
FLAG_MISTAKES: list[tuple[Any, list[str]]] = [
    (3, ["flags.shop: must be a mapping of keys to values, not 3"]),
    (
        flag(defaultVariant=None),
        [
            (
                "flags.shop.defaultVariant: is missing: a route needs it whenever no rule decides "
                "(there is only stable)"
            )
        ],
    ),
    (
        flag(variants={"stable": "shop-v1"}),
        [
            (
                f'{VARIANT}: must be a mapping with serve, because a route consults this flag, not "shop-v1" '
                "(did you mean {serve: shop-v1}?)"
            )
        ],
    ),
    (flag(variants={"stable": {}}), [f"{VARIANT}.serve: is missing (known: shop-v1, shop-v2)"]),
    (
        flag(variants={"stable": {"serve": "shop-v9"}}),
        [f'{VARIANT}.serve: unknown service "shop-v9" (did you mean shop-v1 or shop-v2?)'],
    ),
    (
        flag(variants={"stable": {**STABLE, "mirrors": ["shop-v2"]}}),
        [f"{VARIANT}.mirrors: unknown key (did you mean mirror?)"],
    ),
    (
        flag(variants={"stable": {**STABLE, "mirror": "shop-v2"}}),
        [f'{VARIANT}.mirror: must be a list, not "shop-v2" (did you mean [shop-v2]?)'],
    ),
    (
        flag(variants={"stable": {**STABLE, "mirror": ["shop-v2", "shop-v2", "v3"]}}),
        [
            f'{VARIANT}.mirror[1]: "shop-v2" stands here twice',
            f'{VARIANT}.mirror[2]: unknown service "v3" (known: shop-v1, shop-v2)',
        ],
    ),
    (
        flag(variants={"stable": {**STABLE, "control": "shop-v0"}}),
        [f'{VARIANT}.control: unknown service "shop-v0" (did you mean shop-v1 or shop-v2?)'],
    ),
    (
        flag(variants={"stable": STABLE, "a\r\nX: y": STABLE}),
        [
            (
                'flags.shop.variants["a\\r\\nX: y"]: "a\\r\\nX: y" is not a variant: '
                "1 to 64 letters, digits, '.', '_' or '-' (did you mean a-X-y?)"
            )
        ],
    ),
]


@pytest.mark.parametrize(("shop", "expected"), FLAG_MISTAKES)
def test_a_wrong_routing_flag_is_told(shop: Any, expected: list[str]) -> None:
    """A flag that a route consults needs variants that serve known services, and a default."""
    assert refusals(document(shop=shop)) == expected


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"targeting": {"fractional": [["stable", 0.5]]}}, "flags.shop.targeting.fractional[0][1]"),
        ({"targeting": {"fractionl": [["stable", 1]]}}, "flags.shop.targeting.fractionl"),
        ({"targeting": {"$ref": "nobody"}}, "flags.shop.targeting.$ref"),
        ({"defaultVariant": "stabel"}, "flags.shop.defaultVariant"),
        ({"state": "ON"}, "flags.shop.state"),
    ],
)
def test_what_the_kernel_finds_gets_its_place_in_the_document(changes: dict[str, Any], path: str) -> None:
    """Problems of a flag definition are told below flags.KEY, each once."""
    with pytest.raises(ConfigError) as refused:
        parse_rules(document(shop=flag(**changes)), services=SERVICES)
    assert [problem.path for problem in refused.value.problems] == [path]


def test_a_flag_without_a_route_may_be_any_flag() -> None:
    """Only routing flags need variants that serve: the others are for applications."""
    colours = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    rules = parse_rules({"flags": {"colours": colours}}, services=SERVICES)
    assert rules.flags == {"colours": colours}


def test_flag_keys_keep_to_the_grammar() -> None:
    """A flag's key ends up in header fields, URLs and labels."""
    assert refusals({"flags": {"new checkout": FLAG}}) == [
        (
            'flags["new checkout"]: "new checkout" is not a flag key: '
            "1 to 64 letters, digits, '.', '_' or '-' (did you mean new-checkout?)"
        )
    ]


def test_the_same_match_twice_is_never_reached() -> None:
    """Two routes for the same requests are one too many, whatever they lead to."""
    routes = [
        {"path": "/a", "flag": "shop"},
        {"path": "/a", "host": "x", "flag": "shop"},
        {"path": "/a", "serve": "shop-v1"},
    ]
    assert refusals({"flags": {"shop": FLAG}, "routes": routes}) == [
        "routes[2]: matches the same requests as routes[0], so it is never reached"
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ["must be a mapping of keys to values, not nothing"]),
        ([], ["must be a mapping of keys to values, not a list"]),
        ({"flag": {}}, ["flag: unknown key (did you mean flags?)"]),
        ({"flags": []}, ["flags: must be a mapping of keys to values, not a list"]),
        ({"routes": {}}, ["routes: must be a list, not a mapping"]),
        ({"compare": None}, ["compare: must be a list, not nothing"]),
        ({"killed": ["shop"]}, ['killed[0]: unknown flag "shop"']),
        ({"killed": [3]}, ["killed[0]: must be the name of a flag, not 3"]),
        ({"flags": {"shop": FLAG}, "killed": ["shop", "shop"]}, ["killed[1]: shop stands here twice"]),
        ({1: 2}, ['key 1 is not text (quote it: "1")']),
        ({"metadata": {"x": float("nan")}}, ["metadata.x: is not a finite number: nan"]),
    ],
)
def test_a_wrong_document_is_told(value: object, expected: list[str]) -> None:
    """Each part must have its shape, and a killed flag must exist."""
    assert refusals(value)[: len(expected)] == expected


def test_several_mistakes_are_told_at_once() -> None:
    """Nobody wants to learn of them one by one."""
    found = refusals(
        {
            "flags": {"shop": flag(variants={"stable": {"serve": "shop"}}, defaultVariant="stabel")},
            "routes": [{"path": "x", "flag": "shop"}, {"flag": "shpo", "unit": "cookies:a"}],
            "killed": ["sho"],
            "compare": {},
        }
    )
    paths = [problem.split(": ")[0] for problem in found]
    assert sorted(paths) == [
        "compare",
        "flags.shop.defaultVariant",
        "flags.shop.variants.stable.serve",
        "killed[0]",
        "routes[0].path",
        "routes[1].flag",
        "routes[1].unit",
    ]


def test_the_list_of_problems_is_bounded() -> None:
    """A document of the wrong kind does not fill the log."""
    assert len(refusals({str(number): 1 for number in range(1000)})) == 100


plain_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["shop", "shop-v1", "/"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5)
            | st.sampled_from(
                ["flags", "routes", "shop", "serve", "variants", "targeting", "if", "var", "fractional"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
documents = plain_values | st.fixed_dictionaries(
    {},
    optional={
        "flags": plain_values
        | st.fixed_dictionaries(
            {
                "shop": plain_values
                | st.fixed_dictionaries({"variants": plain_values, "targeting": plain_values})
            }
        ),
        "routes": plain_values
        | st.lists(
            st.fixed_dictionaries(
                {}, optional={"path": plain_values, "flag": plain_values, "unit": plain_values}
            )
        ),
        "compare": plain_values | st.lists(plain_values),
        "killed": plain_values,
        "metadata": plain_values,
        "$evaluators": plain_values,
    },
)


@given(documents)
def test_any_document_is_accepted_or_refused(value: Any) -> None:
    """Nothing but ConfigError is ever raised, and what is accepted reads back as itself."""
    try:
        rules = parse_rules(value, services=SERVICES)
    except ConfigError as refused:
        is_sound = bool(refused.problems)
    else:
        is_sound = parse_rules(rules.document, services=SERVICES) == rules
    assert is_sound


def test_what_was_accepted_before_is_not_read_again_but_what_it_asks_is() -> None:
    """A change elsewhere is found with the same problems as in a first reading."""
    asking = flag(variants={"a": 1, "stable": 2}, targeting={"flag": "base"})
    given = {"base": flag(variants={"stable": 1}), "top": asking, "other": flag(variants={"stable": 1})}
    before = parse_rules({"flags": given}, services=())
    assert parse_rules({"flags": given}, services=(), before=before) == before
    for changed in (
        {"top": asking, "other": given["other"]},
        {**given, "other": flag(variants={"stable": 1}, state="ON")},
    ):
        with pytest.raises(ConfigError) as first:
            parse_rules({"flags": changed}, services=())
        with pytest.raises(ConfigError) as again:
            parse_rules({"flags": changed}, services=(), before=before)
        assert again.value.problems == first.value.problems


def test_a_shared_rule_may_ask_a_flag() -> None:
    """It is checked among the flags of the document: one that is there is found, one that is not is told."""
    beta = flag(
        variants={"on": True, "off": False}, defaultVariant="off", targeting={"if": [{"$ref": "early"}, "on"]}
    )
    document = {"flags": {"beta": beta, "base": flag(variants={"v1": 1, "v2": 2}, defaultVariant="v1")}}
    asking: Any = {"$evaluators": {"early": {"===": [{"flag": "base"}, "v2"]}}}
    assert parse_rules({**document, **asking}, services=()).evaluators == asking["$evaluators"]
    with pytest.raises(ConfigError) as refused:
        parse_rules({"flags": {"beta": beta}, **asking}, services=())
    assert "$evaluators.early.===[0].flag: there is no flag 'base'" in str(refused.value)


def test_a_document_of_mistakes_is_given_up_on() -> None:
    """A hundred are told; to look for the other thousands would only take time."""
    wrong = flag(variants={"on": True}, targeting={"flag": "nowhere"})
    with pytest.raises(ConfigError) as refused:
        parse_rules({"flags": {f"flag-{n}": wrong for n in range(5000)}, "killed": ["x"] * 5000}, services=())
    assert len(refused.value.problems) == 100


_SWITCHED: dict[str, Any] = {
    "flags": {
        "shop": {"state": "ENABLED", "variants": {"a": 1, "b": 2}, "defaultVariant": "a"},
        "other": {"state": "ENABLED", "variants": {"a": 1}},
    },
    "routes": [],
    "compare": [{"endpoint": "GET /", "ignore": ["/at"]}],
    "killed": ["shop"],
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"killed": []},
        {"killed": ["other", "shop"]},
        {"killed": ["none"]},
        {"killed": [1]},
        {"killed": {"shop": 1}},
        {"killed": float("nan")},
        {"flags": {**_SWITCHED["flags"], "other": {"variants": {"a": True}}}},
        {"flags": {"shop": {"state": "ENABLED", "variants": {"a": 1.0, "b": 2}, "defaultVariant": "a"}}},
        {"flags": {}},
        {"routes": [{"path": "/", "serve": "none"}]},
        {"metadata": {"flagSetId": "x"}},
        {"unknown": 1},
        {"compare": [{"endpoint": "GET /", "ignore": ["/at"], "unknown": 1}]},
    ],
)
def test_what_is_known_of_the_rules_before_changes_no_answer(change: dict[str, Any]) -> None:
    """Parts that are as they were are not copied again; rules and mistakes are those of a first reading."""

    def read(before: Rules | None) -> object:
        try:
            return repr(parse_rules({**_SWITCHED, **change}, services=(), before=before))
        except ConfigError as refused:
            return refused.problems

    assert read(parse_rules(_SWITCHED, services=())) == read(None)
