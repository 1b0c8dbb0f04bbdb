"""What of a changed file applies at once, what waits, and that both are named."""

from pathlib import Path
from typing import Any

import pytest

from understudy.config import Settings, parse_settings, reloaded


def settings(**changes: Any) -> Settings:
    """A small configuration with *changes*."""
    document = {"services": {"v1": {"url": "http://127.0.0.1:9001"}}, "store": "memory://", **changes}
    return parse_settings(document, base=Path("/etc"), environ={})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("services", {"v2": {"url": "http://127.0.0.1:9002"}}),
        ("shadow", {"control": 0.5}),
        ("limits", {"head_timeout": "1s"}),
        ("trusted_proxies", ["10.0.0.0/8"]),
        ("redact", {"paths": ["/body/name"]}),
    ],
)
def test_what_applies_at_once(key: str, value: Any) -> None:
    """It is in the settings, and named."""
    new = settings(**{key: value})
    outcome = reloaded(settings(), new)
    assert outcome.settings == new
    assert (outcome.changed, outcome.waiting) == ((key,), ())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("listen", "127.0.0.1:1"),
        ("workers", 2),
        ("admin", {"listen": "127.0.0.1:2"}),
        ("store", "sqlite:///x.db"),
    ],
)
def test_what_waits_for_a_restart(key: str, value: Any) -> None:
    """It stays as it was, and is named."""
    outcome = reloaded(settings(), settings(**{key: value}))
    assert outcome.settings == settings()
    assert (outcome.changed, outcome.waiting) == ((), (key,))


def test_the_same_file_changes_nothing() -> None:
    """Also when it is written in another way."""
    outcome = reloaded(settings(), settings(workers=1, trusted_proxies=[]))
    assert (outcome.changed, outcome.waiting, outcome.is_seed_changed) == ((), (), False)


def test_rules_are_only_a_seed() -> None:
    """Nothing of them counts as changed; that they differ is told."""
    outcome = reloaded(settings(), settings(routes=[{"path": "/", "serve": "v1"}]))
    assert (outcome.changed, outcome.waiting, outcome.is_seed_changed) == ((), (), True)
    assert outcome.settings.rules.document["routes"]
