"""Settings of what is told of a request, to services and to a log, and of what a worker may hold."""

from pathlib import Path
from typing import Any

import pytest

from understudy.config import AUTO, Settings, json_schema, parse_settings
from understudy.errors import ConfigError

SERVICES = {"v1": {"url": "http://127.0.0.1:9001"}}


def parse(changes: dict[str, Any], environ: dict[str, str] | None = None) -> Settings:
    """The settings of one service with *changes*."""
    return parse_settings({"services": SERVICES, **changes}, base=Path("/etc"), environ=environ or {})


def refusals(changes: dict[str, Any], environ: dict[str, str] | None = None) -> list[str]:
    """The problems of one service with *changes*."""
    with pytest.raises(ConfigError) as refused:
        parse(changes, environ)
    return [str(problem) for problem in refused.value.problems]


def test_by_default() -> None:
    """Ids are made, X-Forwarded-* told, nothing is logged, bounds follow the machine."""
    settings = parse({})
    assert (settings.request_id, settings.forwarded) == ("x-request-id", "x-forwarded")
    assert (settings.access_log.path, settings.access_log.sample, settings.access_log.query) == (
        "",
        1.0,
        False,
    )
    assert (settings.limits.memory_bytes, settings.limits.client_connections) == (AUTO, AUTO)


@pytest.mark.parametrize(
    ("given", "path"),
    [("access.log", "/etc/access.log"), ("/var/log/a", "/var/log/a"), ("-", "-"), ("off", ""), ("OFF", "")],
)
def test_the_log_lies_beside_the_configuration(given: str, path: str) -> None:
    """Unless its name is absolute, or no name."""
    assert parse({"access_log": {"path": given}}).access_log.path == path


@pytest.mark.parametrize(
    ("limits", "memory", "connections"),
    [
        ({"memory": "AUTO", "client_connections": "auto"}, AUTO, AUTO),
        ({"memory": "off", "client_connections": 10}, 0, 10),
        ({"memory": "1GiB"}, 2**30, AUTO),
    ],
)
def test_bounds_by_word_or_number(limits: dict[str, Any], memory: int, connections: int) -> None:
    """``auto`` and ``off`` stand for numbers."""
    read = parse({"limits": limits}).limits
    assert (read.memory_bytes, read.client_connections) == (memory, connections)


@pytest.mark.parametrize(
    ("given", "name"), [("Trace-Id", "trace-id"), ("x_id", "x_id"), ("off", ""), ("Off", "")]
)
def test_the_field_of_ids(given: str, name: str) -> None:
    """Any field that means nothing else; or none."""
    assert parse({"request_id": given}).request_id == name


def test_by_variables() -> None:
    """Every scalar of them."""
    settings = parse(
        {},
        {
            "UNDERSTUDY_ACCESS_LOG__PATH": "-",
            "UNDERSTUDY_ACCESS_LOG__SAMPLE": "0.5",
            "UNDERSTUDY_ACCESS_LOG__QUERY": "True",
            "UNDERSTUDY_LIMITS__MEMORY": "off",
            "UNDERSTUDY_LIMITS__CLIENT_CONNECTIONS": "100",
            "UNDERSTUDY_REQUEST_ID": "off",
            "UNDERSTUDY_FORWARDED": "both",
        },
    )
    log = settings.access_log
    assert (log.path, log.sample, log.query) == ("-", 0.5, True)
    assert (settings.limits.memory_bytes, settings.limits.client_connections) == (0, 100)
    assert (settings.request_id, settings.forwarded) == ("", "both")
    assert parse({}, {"UNDERSTUDY_LIMITS__CLIENT_CONNECTIONS": "auto"}).limits.client_connections == AUTO


MISTAKES: list[tuple[dict[str, Any], str]] = [
    (
        {"access_log": {"path": 1}},
        "access_log.path: must be the name of a file, not 1 (for example access.log, - or off)",
    ),
    (
        {"access_log": {"path": ""}},
        'access_log.path: must be the name of a file, not "" (for example access.log, - or off)',
    ),
    (
        {"access_log": {"query": "yes"}},
        'access_log.query: must be true or false, not "yes" (did you mean true?)',
    ),
    (
        {"access_log": {"query": "off"}},
        'access_log.query: must be true or false, not "off" (did you mean false?)',
    ),
    ({"access_log": {"query": 1}}, "access_log.query: must be true or false, not 1"),
    ({"access_log": {"file": "a"}}, "access_log.file: unknown key (known: path, query, sample)"),
    (
        {"access_log": "access.log"},
        'access_log: must be a mapping of keys to values, not "access.log" (known: path, query, sample)',
    ),
    ({"forwarded": False}, "forwarded: must be a form, not false (known: both, rfc7239, x-forwarded)"),
    (
        {"trusted_proxies": "10.0.0.0/8"},
        'trusted_proxies: must be a list, not "10.0.0.0/8" (did you mean [10.0.0.0/8]?)',
    ),
    ({"request_id": False}, "request_id: must be the name of a header field, not false (did you mean off?)"),
    ({"forwarded": "x"}, 'forwarded: unknown form "x" (known: both, rfc7239, x-forwarded)'),
    ({"forwarded": "rfc-7239"}, 'forwarded: unknown form "rfc-7239" (did you mean rfc7239?)'),
    (
        {"request_id": "Host"},
        'request_id: "Host" means something else already (did you mean x-request-id?)',
    ),
    (
        {"request_id": "traceparent"},
        'request_id: "traceparent" means something else already (did you mean x-request-id?)',
    ),
    (
        {"request_id": "X_Understudy_Id"},
        'request_id: "X_Understudy_Id" means something else already (did you mean x-request-id?)',
    ),
    ({"request_id": "a b"}, 'request_id: "a b" cannot name a header field (letters, digits and hyphens)'),
    ({"limits": {"memory": "1MiB"}}, 'limits.memory: must be 32MiB to 1024GiB, not "1MiB"'),
    (
        {"limits": {"memory": "none"}},
        (
            'limits.memory: "none" is not a size '
            "(units: B, KB, MB, GB (1000) and KiB, MiB, GiB (1024); for example 64MiB)"
        ),
    ),
    ({"limits": {"client_connections": 0}}, "limits.client_connections: must be 1 to 1000000, not 0"),
    (
        {"limits": {"client_connections": "many"}},
        'limits.client_connections: must be a whole number, not "many"',
    ),
]


@pytest.mark.parametrize(("changes", "problem"), MISTAKES)
def test_a_mistake_is_told(changes: dict[str, Any], problem: str) -> None:
    """Its place, what is wrong, what was probably meant."""
    assert refusals(changes) == [problem]


def test_the_schema_knows_the_words() -> None:
    """And names the defaults as they would be written."""
    known = json_schema()["properties"]
    limits = known["limits"]["properties"]
    assert limits["memory"]["anyOf"][0] == {"enum": ["auto", "off"]}
    assert (limits["memory"]["default"], limits["client_connections"]["default"]) == ("auto", "auto")
    log = known["access_log"]["properties"]
    assert (log["path"]["default"], log["query"]["default"], log["sample"]["default"]) == ("off", False, 1.0)
    assert (known["request_id"]["default"], known["forwarded"]["enum"]) == (
        "x-request-id",
        ["x-forwarded", "rfc7239", "both"],
    )
