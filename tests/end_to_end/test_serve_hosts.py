"""Several ``understudy serve`` with one store in PostgreSQL and Redis, as on several hosts."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from serve_world import ThreadedOrigin, always, ask, config_text, rules, wait_until
from servers import Serving, started_unready
from store_servers import Server, postgres_server, redis_server

RULES = "/api/v1/rules"


@pytest.fixture(scope="module")
def stores() -> Iterator[tuple[Server, Server]]:
    with postgres_server() as sql, redis_server() as redis:
        yield sql, redis


@pytest.fixture(scope="module")
def origin() -> Iterator[ThreadedOrigin]:
    with always().listening() as primary:
        yield primary


@pytest.fixture(scope="module")
def config(stores: tuple[Server, Server], origin: ThreadedOrigin) -> str:
    sql, redis = stores
    store = {
        "sql": f"postgresql://understudy@127.0.0.1:{sql.port}/postgres",
        "redis": f"redis://127.0.0.1:{redis.port}",
    }
    return config_text(origin.port, origin.port, store=store)


@pytest.fixture(scope="module")
def hosts(config: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, Serving]]:
    """Two of them, each in a folder of its own."""
    with contextlib.ExitStack() as running:
        started = []
        for name in ("one", "two"):
            serving = Serving.start(config, folder=tmp_path_factory.mktemp(name))
            running.callback(serving.stop)
            started.append(serving)
        yield started[0], started[1]


def told(serving: Serving, variant: str) -> None:
    """Give *serving* rules that put everybody on *variant*."""
    answer = serving.admin(RULES, method="PUT", body=rules(variant), headers={"If-Match": "*"})
    assert answer.status == 200, answer.body


def variant_of(serving: Serving, origin: ThreadedOrigin) -> str:
    """The variant that a request through *serving* gets, as the service saw it."""
    before = len(origin.requests())
    assert ask(serving.proxy_port)[0] == 200
    return origin.requests()[before].variant


def test_a_change_on_one_host_is_in_force_on_the_other(
    hosts: tuple[Serving, Serving], origin: ThreadedOrigin
) -> None:
    """In the very requests; to and fro."""
    one, two = hosts
    for turn in range(4):
        asked, other = (one, two) if turn % 2 == 0 else (two, one)
        wanted = "stable" if turn % 2 == 0 else "dark"
        told(asked, wanted)
        wait_until(lambda: variant_of(other, origin) == wanted, "the change")  # noqa: B023


def test_a_kill_reaches_the_other_host_without_redis(
    hosts: tuple[Serving, Serving], origin: ThreadedOrigin, stores: tuple[Server, Server]
) -> None:
    """By PostgreSQL; the alarm is in the metrics, and over once Redis is back, which then has the rules."""
    one, two = hosts
    told(one, "canary")
    wait_until(lambda: variant_of(two, origin) == "canary", "the change")
    stores[1].end()
    try:
        killed = one.admin("/api/v1/flags/shop/kill", method="POST")
        assert killed.status == 200
        version = killed.json()["version"]
        wait_until(lambda: two.admin(RULES).headers["etag"] == f'"{version}"', "the kill")
        assert ask(two.proxy_port)[0] == 200
        alarm = 'understudy_store_alarm{reason="redis_away"} 1.0'
        wait_until(lambda: alarm in one.admin("/metrics").body.decode(), "the alarm")
    finally:
        stores[1].start()
    silent = 'understudy_store_alarm{reason="redis_away"} 0.0'
    wait_until(lambda: silent in one.admin("/metrics").body.decode(), "Redis again")
    assert one.admin("/api/v1/flags/shop/revive", method="POST").status == 200


def figures(serving: Serving) -> tuple[str, int, int]:
    """Verdict, exchanges, and copies that were answered, as *serving*'s report has them."""
    report = serving.report()
    return report["verdict"], report["exchanges"], report["mirror"]["answered"]


def copies(origin: ThreadedOrigin) -> int:
    """How many mirrored requests of all hosts the shadow has seen."""
    return len(origin.requests("1"))


def test_each_report_is_the_sum_of_all_hosts(
    hosts: tuple[Serving, Serving], origin: ThreadedOrigin, stores: tuple[Server, Server]
) -> None:
    """Verdict and counts; a clear at one is seen by the other; without SQL the last known is shown, dated."""
    one, two = hosts
    told(one, "dark")
    wait_until(lambda: variant_of(two, origin) == "dark", "the change")
    for host, requests in ((one, 20), (two, 30)):
        for _ in range(requests):
            assert ask(host.proxy_port)[0] == 200
    for host in hosts:
        wait_until(lambda: figures(host)[1:] == (copies(origin),) * 2, "the sum")  # noqa: B023
    assert figures(one) == figures(two)
    assert two.admin("/api/v1/report", method="DELETE").status == 204
    wait_until(lambda: figures(one)[1:] == (0, 0), "the clear")
    assert ask(one.proxy_port)[0] == 200
    wait_until(lambda: figures(two)[1:] == (1, 1), "one more")
    stores[0].end()
    try:
        report = two.report()
        assert (report["exchanges"], report["mirror"]["answered"]) == (1, 1)
        assert report["evidence_at"] <= report["generated_at"]
    finally:
        stores[0].start()
    wait_until(lambda: one.is_ready() and two.is_ready(), "both hosts ready")


def test_requests_do_not_notice_that_postgresql_is_gone(
    hosts: tuple[Serving, Serving], origin: ThreadedOrigin, stores: tuple[Server, Server]
) -> None:
    """Nobody is refused, nobody changes sides; a change is refused with the reason, and works afterwards."""
    one, two = hosts
    told(one, "stable")
    wait_until(lambda: variant_of(two, origin) == "stable", "the change")
    stores[0].end()
    try:
        refused = one.admin(RULES, method="PUT", body=rules("dark"), headers={"If-Match": "*"})
        assert refused.status == 503
        assert "is PostgreSQL running there" in refused.json()["detail"]
        assert {variant_of(host, origin) for host in hosts for _ in range(50)} == {"stable"}
    finally:
        stores[0].start()
    wait_until(lambda: one.is_ready() and two.is_ready(), "both hosts ready")
    told(two, "dark")
    wait_until(lambda: variant_of(one, origin) == "dark", "the change")


def test_a_host_that_starts_without_any_store_has_its_last_good_rules(
    config: str, origin: ThreadedOrigin, stores: tuple[Server, Server], tmp_path: Path
) -> None:
    """From its file, not the seed of its configuration; once the stores are back it is ready."""
    first = Serving.start(config, folder=tmp_path)
    told(first, "stable")
    assert first.stop() == 0
    for server in stores:
        server.end()
    try:
        with started_unready(config, tmp_path) as again:
            # The first request already; how soon it is answered is for benchmarks/store_faults.py.
            assert variant_of(again, origin) == "stable"
            assert again.admin("/readyz").status == 503
            for server in stores:
                server.start()
            wait_until(again.is_ready, "the stores")
            told(again, "dark")
            wait_until(lambda: variant_of(again, origin) == "dark", "the change")
    finally:
        for server in stores:
            if not server.is_running:
                server.start()
