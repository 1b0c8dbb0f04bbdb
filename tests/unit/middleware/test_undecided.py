"""Paths that no flag decides: after the first request they are known, and decided the same for less."""

from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest

from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.middleware.decision import Undecided
from understudy.middleware.request import Scope

RULES: dict[str, Any] = {
    "store": "memory://",
    "flags": {
        "beta": {
            "state": "ENABLED",
            "variants": {"on": True, "off": False},
            "defaultVariant": "off",
            "targeting": {
                "if": [
                    {
                        "and": [
                            {"==": [{"var": "query.q"}, "ä b"]},
                            {"==": [{"var": "cookies.uid"}, "u-1"]},
                            {"==": [{"var": "method"}, "PUT"]},
                            {"==": [{"var": "host"}, "shop.example"]},
                            {"in": ["/a%2Fb", {"var": "path"}]},
                        ]
                    },
                    "on",
                    "off",
                ]
            },
        }
    },
    "routes": [{"path": "/", "serve": "app", "name": "all"}],
}


def scope_with(**given: Any) -> dict[str, Any]:
    """A request that the flag is on for."""
    return {
        "type": "http",
        "method": "PUT",
        "path": "/a/b",
        "raw_path": b"/a%2Fb",
        "query_string": b"q=%C3%A4+b",
        "headers": [(b"host", b"Shop.Example"), (b"cookie", b"uid=u-1")],
        "client": ("127.0.0.1", 1),
        **given,
    }


def without(key: str) -> dict[str, Any]:
    """One of a server that does not tell *key*."""
    return {name: value for name, value in scope_with(path="/a%2Fb").items() if name != key}


async def receive() -> dict[str, Any]:
    """An empty body."""
    return {"type": "http.request"}


async def send(_message: Any) -> None:
    """Nobody listens."""


class Asking:
    """An application that spoils its scope, and then asks its decision."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.kinds: list[type] = []

    async def __call__(self, scope: Any, _receive: Any, _send: Any) -> None:
        decision = scope["understudy"]
        assert scope["state"]["understudy"] is decision
        scope["headers"][:] = [(b"host", b"other")]
        scope.update(method="GET", raw_path=b"/other", path="/other", query_string=b"")
        head = decision.head
        assert decision.head is head
        self.kinds.append(type(decision))
        self.told.append(
            (
                decision.variant_of("beta"),
                (decision.route, decision.flag, decision.variant, decision.reason, decision.unit),
                (decision.version, repr(decision)),
                (head.method, head.host, head.path, head.query, head.client_ip, list(head.headers)),
            )
        )


SCOPES: dict[str, Callable[[], Scope]] = {
    "usual": scope_with,
    "with a state": lambda: scope_with(state={"pool": 1}),
    "another mapping": lambda: UserDict(scope_with()),
    "no client": lambda: scope_with(client=None),
    "a query that is text": lambda: scope_with(query_string="q=%C3%A4+b"),
}


@pytest.mark.parametrize("kind", SCOPES)
async def test_what_is_known_of_a_path_is_what_was_found(kind: str) -> None:
    """Each answer is the first one's, however late it is asked."""
    asking, understudy = Asking(), Understudy(RULES)
    middleware = UnderstudyMiddleware(asking, understudy=understudy)
    for _ in range(3):
        await middleware(SCOPES[kind](), receive, send)
    await understudy.stop()
    assert asking.told == [asking.told[0]] * 3
    assert asking.told[0][0] == "on"
    assert Undecided not in asking.kinds[:1]
    assert asking.kinds[1:] == [Undecided] * 2


@pytest.mark.parametrize("key", ["raw_path", "client"])
async def test_what_a_server_does_not_tell_is_not_needed(key: str) -> None:
    """Nor does it make a difference the second time."""
    asking, understudy = Asking(), Understudy(RULES)
    middleware = UnderstudyMiddleware(asking, understudy=understudy)
    for _ in range(2):
        await middleware(without(key), receive, send)
    await understudy.stop()
    assert asking.told[0] == asking.told[1]
    assert asking.kinds[1] is Undecided


async def test_a_scope_that_is_none_passes_and_is_told_of_each_time() -> None:
    """Also on a path that is known."""
    seen: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["understudy"].reason)

    understudy = Understudy(RULES)
    middleware = UnderstudyMiddleware(app, understudy=understudy)
    await middleware(scope_with(), receive, send)
    for _ in range(2):
        await middleware(without("headers") | {"raw_path": b"/a%2Fb"}, receive, send)
    assert understudy.stage is not None
    assert understudy.stage.metrics.errors["internal"] == 2
    await understudy.stop()
    assert seen == ["ROUTE", "NO_ROUTE", "NO_ROUTE"]


async def test_a_stage_that_ends_decides_nothing_more() -> None:
    """Nor when it turns to other rules once more while it is ending."""
    understudy = Understudy(RULES)
    await understudy.start()
    stage = understudy.stage
    assert stage is not None
    assert list(understudy.ready) == [stage.loop]
    await understudy.stop()
    stage.lay_out()
    assert not understudy.ready


async def test_rules_that_come_into_force_decide_the_next_request() -> None:
    """A path without a flag gets one."""
    asking, understudy = Asking(), Understudy(RULES)
    middleware = UnderstudyMiddleware(asking, understudy=understudy)
    await middleware(scope_with(), receive, send)
    await middleware(scope_with(), receive, send)
    stage = understudy.stage
    assert stage is not None
    flags = {"beta": {**RULES["flags"]["beta"], "variants": {"on": {}, "off": {}}}}
    rules = {"flags": flags, "routes": [{"path": "/", "flag": "beta"}]}
    await stage.put_rules(rules, author="ann", reason="")
    await middleware(scope_with(), receive, send)
    await understudy.stop()
    assert [told[1][:3] for told in asking.told] == [("all", "", "")] * 2 + [("/", "beta", "on")]
