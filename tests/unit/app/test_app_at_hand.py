"""What a worker starts from alone: the last good rules of the host, else the configuration."""

from pathlib import Path
from typing import Any

import pytest

from understudy.app.at_hand import rules_at_hand
from understudy.config import Settings, parse_settings
from understudy.store.location import last_good
from understudy.store.rules import json_text, stored_rules

STORES = (
    {"sql": "postgresql://u@127.0.0.1:1/d", "redis": "redis://127.0.0.1:1"},
    "postgresql://u@127.0.0.1:1/d",
    "redis://127.0.0.1:1",
    "sqlite:///u.db",
)


def document(**more: Any) -> dict[str, Any]:
    flag = {
        "variants": {"stable": {"serve": "v1"}, "canary": {"serve": "v1"}},
        "defaultVariant": "canary",
        "metadata": {"safeVariant": "stable"},
    }
    return {"flags": {"shop": flag}, "routes": [{"path": "/", "flag": "shop"}], "compare": [], **more}


def with_store(store: object, base: Path) -> Settings:
    services = {"v1": {"url": "http://127.0.0.1:9"}}
    return parse_settings({**document(), "store": store, "services": services}, base=base, environ={})


def keep(settings: Settings, base: Path, kept: dict[str, Any]) -> None:
    stored = stored_rules(version=7, text=json_text(kept), author="ann", reason="", at=1.0)
    file = last_good(settings.store, base)
    assert file is not None
    file.write(stored, file.origin)


@pytest.mark.parametrize("store", STORES)
def test_the_last_good_rules_come_before_the_configuration(store: object, tmp_path: Path) -> None:
    """With their kill switches, whatever the store is."""
    settings = with_store(store, tmp_path)
    keep(settings, tmp_path, document(killed=["shop"]))
    rules, whence = rules_at_hand(settings, tmp_path)
    assert (rules.killed, whence) == (("shop",), "the last good rules, version 7")


@pytest.mark.parametrize("store", STORES)
def test_without_them_the_configuration_is_all_there_is(store: object, tmp_path: Path) -> None:
    """Also when they name a service that is gone."""
    settings = with_store(store, tmp_path)
    assert rules_at_hand(settings, tmp_path) == (settings.rules, "the configuration")
    keep(settings, tmp_path, document(routes=[{"path": "/", "serve": "gone"}]))
    assert rules_at_hand(settings, tmp_path) == (settings.rules, "the configuration")


def test_a_store_that_forgets_leaves_the_configuration(tmp_path: Path) -> None:
    """There is no such file for memory."""
    settings = with_store("memory://", tmp_path)
    assert rules_at_hand(settings, tmp_path) == (settings.rules, "the configuration")
    assert last_good("memory://") is None
