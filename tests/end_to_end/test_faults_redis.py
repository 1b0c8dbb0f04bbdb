"""A Redis that is the only store, and loses everything: nobody changes sides, and the kill switch works."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from serve_world import (
    ThreadedOrigin,
    always,
    ask,
    config_text,
    control_of,
    end_by_force,
    followed,
    rules,
    wait_until,
)
from servers import Serving, UnderstudyServe, started_unready
from store_servers import Server, redis_server

RULES = "/api/v1/rules"


@pytest.fixture
def store() -> Iterator[Server]:
    with redis_server() as server:
        yield server


def replaced_by_a_folder(file: Path) -> bool:
    """*file* makes way for a folder of its name; OSError when it was just written again."""
    file.unlink()
    file.mkdir()
    return True


def variant_of(serving: Serving, origin: ThreadedOrigin) -> str:
    """The variant that a request gets, as the service saw it."""
    before = len(origin.requests())
    assert ask(serving.proxy_port)[0] == 200
    return origin.requests()[before].variant


def test_a_host_that_starts_without_its_redis_has_its_last_good_rules(store: Server, tmp_path: Path) -> None:
    """A store of one server, too. A kill that it cannot take says what still works; later it works itself."""
    with always().listening() as origin:
        text = config_text(origin.port, origin.port, store=f"redis://127.0.0.1:{store.port}")
        first = Serving.start(text, folder=tmp_path)
        put = first.admin(RULES, method="PUT", body=rules("dark"), headers={"If-Match": "*"})
        assert put.status == 200
        assert first.stop() == 0
        store.end()
        with started_unready(text, tmp_path) as again:
            assert variant_of(again, origin) == "dark"
            wait_until(lambda: again.admin("/readyz").json()["checks"]["rules"]["ok"] is True, "its rules")
            assert again.admin("/readyz").status == 503
            store.start()
            wait_until(again.is_ready, "the store")
            store.end()
            refused = again.admin("/api/v1/flags/shop/kill", method="POST")
            assert refused.status == 503
            assert "`understudy kill --local shop`" in refused.json()["detail"]
            store.start()
            followed(lambda: again.admin("/api/v1/flags/shop/kill", method="POST"))
            assert again.admin(RULES).json()["killed"] == ["shop"]


@pytest.mark.parametrize("restarts", [False, True])
def test_a_flushed_redis_takes_no_rules_back(
    understudy_serve: UnderstudyServe, store: Server, restarts: bool
) -> None:
    """Also if the control process starts anew afterwards: then the workers know what was in force."""
    with always().listening() as origin:
        text = config_text(origin.port, origin.port, store=f"redis://127.0.0.1:{store.port}")
        serving = understudy_serve(text)
        for variant in ("stable", "dark", "canary"):
            put = serving.admin(RULES, method="PUT", body=rules(variant), headers={"If-Match": "*"})
            assert put.status == 200
        wait_until(lambda: variant_of(serving, origin) == "canary", "the last of them")
        redis.Redis(port=store.port).flushall()
        if restarts:
            end_by_force(control_of(serving.server.process.pid, serving.admin_port))
            wait_until(lambda: serving.admin(RULES).headers["etag"] == '"5"', "the workers' rules")
        assert variant_of(serving, origin) == "canary"
        killed = followed(lambda: serving.admin("/api/v1/flags/shop/kill", method="POST"))
        assert killed.json()["version"] == (6 if restarts else 5)
        wait_until(serving.is_ready, "the new version everywhere")
        assert serving.admin(RULES).json()["flags"]["shop"]["defaultVariant"] == "canary"
        file = serving.folder / "understudy-rules.json"
        wait_until(file.is_file, "the last good rules")
        wait_until(lambda: replaced_by_a_folder(file), "a place where nothing can be written any more")
        assert serving.admin("/api/v1/flags/shop/revive", method="POST").status == 200
        alarm = 'understudy_store_alarm{reason="file"} 1.0'
        wait_until(lambda: alarm in serving.admin("/metrics").body.decode(), "the alarm")
