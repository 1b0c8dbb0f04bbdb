"""What a worker starts from alone: the last good rules of the host, else the configuration."""

from pathlib import Path
from typing import Any

import pytest

from understudy.app.at_hand import rules_at_hand
from understudy.config import Layers, Settings, parse_settings
from understudy.store.location import last_good
from understudy.store.rules import json_text, stored_rules


def document(**more: Any) -> dict[str, Any]:
    flag = {
        "variants": {"stable": {"serve": "v1"}, "canary": {"serve": "v1"}},
        "defaultVariant": "canary",
        "metadata": {"safeVariant": "stable"},
    }
    return {"flags": {"shop": flag}, "routes": [{"path": "/", "flag": "shop"}], "compare": [], **more}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a host whose store has two layers."""
    store = {"sql": "postgresql://u@127.0.0.1:1/d", "redis": "redis://127.0.0.1:1"}
    services = {"v1": {"url": "http://127.0.0.1:9"}}
    return parse_settings({**document(), "store": store, "services": services}, base=tmp_path, environ={})


def keep(settings: Settings, kept: dict[str, Any]) -> None:
    assert isinstance(settings.store, Layers)
    stored = stored_rules(version=7, text=json_text(kept), author="ann", reason="", at=1.0)
    last_good(settings.store).write(stored, "origin")


def test_the_last_good_rules_come_before_the_configuration(settings: Settings) -> None:
    """With their kill switches."""
    keep(settings, document(killed=["shop"]))
    rules, whence = rules_at_hand(settings)
    assert (rules.killed, whence) == (("shop",), "the last good rules, version 7")


def test_without_them_the_configuration_is_all_there_is(settings: Settings) -> None:
    """Also when they name a service that is gone."""
    assert rules_at_hand(settings) == (settings.rules, "the configuration")
    keep(settings, document(routes=[{"path": "/", "serve": "gone"}]))
    assert rules_at_hand(settings) == (settings.rules, "the configuration")


def test_a_store_without_such_a_file_leaves_the_configuration(tmp_path: Path) -> None:
    """SQLite is on this host itself."""
    plain = parse_settings(
        {**document(), "services": {"v1": {"url": "http://127.0.0.1:9"}}}, base=tmp_path, environ={}
    )
    assert rules_at_hand(plain) == (plain.rules, "the configuration")
