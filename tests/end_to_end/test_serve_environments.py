"""Two environments in one store, each with its own ``understudy serve``."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serve_world import ThreadedOrigin, always, ask, config_text, rules, wait_until
from servers import Serving
from store_servers import postgres_server, redis_server

RULES = "/api/v1/rules"
PROD = "/api/v1/environments/prod/rules"
PROMOTION = "/api/v1/environments/dev/flags/shop/promotion?to=prod"


@pytest.fixture(scope="module")
def origin() -> Iterator[ThreadedOrigin]:
    with always().listening() as primary:
        yield primary


@pytest.fixture(scope="module", params=["sqlite", "layered"])
def hosts(
    request: pytest.FixtureRequest, origin: ThreadedOrigin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Serving, Serving]]:
    """One of ``dev`` and one of ``prod``, which knows no service v2."""
    with contextlib.ExitStack() as running:
        store: Any = f"sqlite:///{tmp_path_factory.mktemp('store')}/understudy.db"
        folder = tmp_path_factory.mktemp("host")
        if request.param == "layered":
            sql, redis = running.enter_context(postgres_server()), running.enter_context(redis_server())
            store = {
                "sql": f"postgresql://understudy@127.0.0.1:{sql.port}/postgres",
                "redis": f"redis://127.0.0.1:{redis.port}",
                # One folder on one host: the files of the environments must not be one.
                "file": str(folder / "last-good.json"),
            }
        started = []
        for name in ("dev", "prod"):
            more: dict[str, Any] = {"store": store, "environment": name}
            if name == "prod":
                more["services"] = {"v1": {"url": f"http://127.0.0.1:{origin.port}"}}
                shop = {
                    "state": "ENABLED",
                    "variants": {"stable": {"serve": "v1"}},
                    "defaultVariant": "stable",
                }
                more["flags"] = {"shop": shop}
            text = config_text(origin.port, origin.port, **more)
            serving = Serving.start(text, folder=tmp_path_factory.mktemp(name))
            running.callback(serving.stop)
            started.append(serving)
        yield started[0], started[1]
    if request.param == "layered":
        assert {file.name for file in folder.iterdir()} == {"last-good.dev.json", "last-good.prod.json"}


def put(serving: Serving, path: str, document: dict[str, Any], match: str = "*") -> Any:
    return serving.admin(path, method="PUT", body=document, headers={"If-Match": match})


def variant_of(serving: Serving, origin: ThreadedOrigin) -> str:
    before = len(origin.requests())
    assert ask(serving.proxy_port)[0] == 200
    return origin.requests()[before].variant


def test_each_serves_its_own_rules(hosts: tuple[Serving, Serving], origin: ThreadedOrigin) -> None:
    """A change in one moves nobody in the other; both know of each other."""
    dev, prod = hosts
    before = prod.admin(RULES)
    assert put(dev, RULES, rules("canary")).status == 200
    wait_until(lambda: variant_of(dev, origin) == "canary", "the change")

    assert (prod.admin(RULES).body, variant_of(prod, origin)) == (before.body, "stable")
    wait_until(
        lambda: (
            [
                (told["name"], told["own"], told["services"])
                for told in prod.admin("/api/v1/environments").json()["environments"]
            ]
            == [("dev", False, ["v1", "v2"]), ("prod", True, ["v1"])]
        ),
        "the services of both",
    )


def test_a_change_from_elsewhere_is_served(hosts: tuple[Serving, Serving], origin: ThreadedOrigin) -> None:
    """The admin API of ``dev`` replaces the rules of ``prod``, whose processes follow by themselves."""
    dev, prod = hosts
    calm = {"state": "ENABLED", "variants": {"calm": {"serve": "v1"}}, "defaultVariant": "calm"}
    assert put(dev, PROD, rules() | {"flags": {"shop": calm}}).status == 200
    wait_until(lambda: variant_of(prod, origin) == "calm", "the change")

    assert variant_of(dev, origin) != "calm"


def test_a_promotion_that_does_not_fit_changes_nothing(hosts: tuple[Serving, Serving]) -> None:
    """``prod`` has no v2, and says so although ``dev`` has one."""
    dev, prod = hosts
    assert put(dev, RULES, rules("canary")).status == 200
    before = prod.admin(RULES)
    refused = dev.admin(PROMOTION, method="POST", headers={"If-Match": before.headers["etag"]})

    assert refused.status == 422
    places = {error["path"] for error in refused.json()["errors"]}
    assert "flags.shop.variants.canary.serve" in places
    assert prod.admin(RULES).headers["etag"] == before.headers["etag"]


def test_a_promotion_is_served(hosts: tuple[Serving, Serving], origin: ThreadedOrigin) -> None:
    """Shown, then made, from the process of the source; the audit of both tells of it."""
    dev, prod = hosts
    fresh = {"state": "ENABLED", "variants": {"fresh": {"serve": "v1"}}, "defaultVariant": "fresh"}
    assert put(dev, RULES, rules() | {"flags": {"shop": fresh}}).status == 200
    shown = dev.admin(PROMOTION)
    assert shown.json()["errors"] == []
    made = dev.admin(PROMOTION, method="POST", headers={"If-Match": shown.headers["etag"]})
    assert made.status == 200, made.body
    wait_until(lambda: variant_of(prod, origin) == "fresh", "the promotion")

    (entry,) = prod.admin(f"/api/v1/audit?after={shown_at(prod)}").json()["entries"][-1:]
    assert (entry["environment"], entry["reason"][:22]) == ("prod", "promote shop from dev ")


def shown_at(serving: Serving) -> int:
    return int(serving.admin("/api/v1/audit").json()["head"]["number"]) - 1


def test_a_setting_that_names_no_environment_is_refused(tmp_path: Path) -> None:
    """Before anything is opened."""
    with pytest.raises(AssertionError, match='environment: "Prod!" names no environment'):
        Serving.start(config_text(1, 1, environment="Prod!"), folder=tmp_path)
    assert not (tmp_path / "understudy.db").exists()
