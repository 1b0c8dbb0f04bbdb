"""What a service may say of its origins, and how each mistake in it is told."""

from pathlib import Path
from typing import Any

import pytest

from understudy.config import Ejection, HealthCheck, OriginTls, Service, Settings, parse_settings, summary
from understudy.errors import ConfigError

ONE = {"url": "http://127.0.0.1:9001"}


def parse(service: dict[str, Any], environ: dict[str, str] | None = None, **more: Any) -> Settings:
    document = {"services": {"v1": service}, **more}
    return parse_settings(document, base=Path("/etc/understudy"), environ=environ or {})


def refusals(service: dict[str, Any], environ: dict[str, str] | None = None, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        parse(service, environ, **more)
    return [str(problem) for problem in refused.value.problems]


def test_origins_are_read_in_full() -> None:
    """Several in their order, how they are balanced, checked and ejected; sockets lie beside the file."""
    service = {
        "origins": ["http://10.0.0.1:9002", "unix:shop.sock", "unix:/run/shop.sock", "https://shop"],
        "balance": "least_connections",
        "tls": {"server_name": "shop.internal", "verify": False},
        "health": {
            "path": "/healthz?full",
            "interval": "1s",
            "timeout": "500ms",
            "healthy": 1,
            "unhealthy": 2,
            "status": [204, "2XX"],
        },
        "eject": {"failures": 3, "seconds": "1m"},
    }
    assert parse(service).services["v1"] == Service(
        origins=(
            "http://10.0.0.1:9002",
            "unix:/etc/understudy/shop.sock",
            "unix:/run/shop.sock",
            "https://shop:443",
        ),
        balance="least_connections",
        tls=OriginTls(server_name="shop.internal", verify=False),
        health=HealthCheck(
            path="/healthz?full", interval=1.0, timeout=0.5, healthy=1, unhealthy=2, status=(204, "2xx")
        ),
        eject=Ejection(failures=3, seconds=60.0),
    )


def test_what_is_not_said_is_as_the_design_says() -> None:
    """Round robin, no active checks, five failures in a row for thirty seconds."""
    service = parse(ONE).services["v1"]
    assert (service.balance, service.tls, service.health) == ("round_robin", None, None)
    assert (service.eject.failures, service.eject.seconds) == (5, 30.0)
    assert parse({**ONE, "health": {}}).services["v1"].health == HealthCheck(
        path="/", interval=5.0, timeout=2.0, healthy=2, unhealthy=3, status=(200,)
    )


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ({"origins": []}, ["origins: must name at least one"]),
        ({**ONE, "origins": ["http://a"]}, ["origins: stands beside url (give one of them)"]),
        ({"origins": "http://a"}, ['origins: must be a list, not "http://a" (did you mean [http://a]?)']),
        ({"origins": ["http://a", "http://a:80/"]}, ['origins[1]: "http://a:80/" stands here twice']),
        (
            {"origins": ["http://a", "b:1"]},
            ['origins[1]: "b:1" has no scheme (did you mean http://b:1?)'],
        ),
        ({"origins": ["http://127.0.0.1:8080"]}, ["origins[0]: is the address this proxy listens on"]),
        (
            {**ONE, "balance": "robin"},
            ['balance: unknown way to balance "robin" (did you mean round_robin?)'],
        ),
        ({**ONE, "tls": {"verify": False}}, ["tls: no origin of this service is https://"]),
        (
            {"url": "https://a", "tls": {"verify": "no"}},
            ['tls.verify: must be true or false, not "no" (did you mean false?)'],
        ),
        ({"url": "https://a", "tls": {"verify": 0}}, ["tls.verify: must be true or false, not 0"]),
        (
            {"url": "https://a", "tls": {"server_name": "a b"}},
            ['tls.server_name: must be a host name, not "a b" (for example shop.internal)'],
        ),
        ({"url": "https://a", "tls": {"ca": ""}}, ['tls.ca: must be the name of a file, not ""']),
        ({"url": "https://a", "tls": {"key": "a.key"}}, ["tls.key: is of no use without cert"]),
        (
            {"url": "https://a", "tls": {"ca": "a.pem", "verify": False}},
            ["tls.ca: is of no use while verify is false (leave out verify)"],
        ),
        (
            {"url": "https://a", "tls": {"cafile": "a.pem"}},
            ["tls.cafile: unknown key (known: ca, cert, key, server_name, verify)"],
        ),
        (
            {**ONE, "health": {"path": "healthz"}},
            ['health.path: must be a path such as /healthz, not "healthz" (did you mean /healthz?)'],
        ),
        (
            {**ONE, "health": {"path": "/a b"}},
            ['health.path: must be a path such as /healthz, not "/a b" (did you mean /healthz?)'],
        ),
        (
            {**ONE, "health": {"status": [True]}},
            [
                (
                    "health.status[0]: must be a status or a class of them, not true "
                    "(for example [200, 204] or [2xx])"
                )
            ],
        ),
        (
            {**ONE, "health": {"status": [100]}},
            ["health.status[0]: must be 200 to 599, not 100 (for example [200, 204] or [2xx])"],
        ),
        ({**ONE, "health": {"status": []}}, ["health.status: must name at least one"]),
        (
            {**ONE, "health": {"interval": 0}},
            ["health.interval: must be longer than 0, not 0 (every wait has an end)"],
        ),
        (
            {**ONE, "health": True},
            [
                (
                    "health: must be a mapping of keys to values, not true "
                    "(known: healthy, interval, path, status, timeout, unhealthy)"
                )
            ],
        ),
        (
            {**ONE, "health": {"status": 204}},
            ["health.status: must be a list, not 204 (did you mean [204]?)"],
        ),
        ({**ONE, "eject": {"failures": -1}}, ["eject.failures: must be 0 to 1000, not -1"]),
        ({**ONE, "eject": {"time": "30s"}}, ["eject.time: unknown key (known: failures, seconds)"]),
    ],
)
def test_a_mistake_is_told_with_its_place(service: dict[str, Any], expected: list[str]) -> None:
    """One mistake, one problem, and what was probably meant."""
    assert refusals(service) == [f"services.v1.{problem}" for problem in expected]


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:8080", "http://localhost:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("http://[::]:8080", "http://127.0.0.1:8080"),
    ],
)
def test_a_listener_on_all_interfaces_is_the_proxy_on_loopback_too(listen: str, url: str) -> None:
    """Each request would come back; an address that may be another machine's is nobody's business."""
    assert refusals({"url": url}, listen=listen) == ["services.v1.url: is the address this proxy listens on"]
    assert parse({"url": "http://10.0.0.5:8080"}, listen=[listen, "unix:/run/u.sock"]).services


def test_variables_override_what_is_a_scalar() -> None:
    """Inside the sections of a service too; lists by commas."""
    environ = {
        "UNDERSTUDY_SERVICES__V1__ORIGINS": "https://a, http://b",
        "UNDERSTUDY_SERVICES__V1__BALANCE": "least_connections",
        "UNDERSTUDY_SERVICES__V1__TLS__VERIFY": "true",
        "UNDERSTUDY_SERVICES__V1__HEALTH__STATUS": "204,2xx",
        "UNDERSTUDY_SERVICES__V1__EJECT__SECONDS": "1m",
    }
    read = parse({"origins": ["https://c"]}, environ).services["v1"]
    assert read.origins == ("https://a:443", "http://b:80")
    assert (read.balance, read.tls, read.eject.seconds) == ("least_connections", OriginTls(), 60.0)
    assert read.health is not None
    assert read.health.status == (204, "2xx")
    assert refusals(ONE, {"UNDERSTUDY_SERVICES__V1__TLS__VERIFY": "perhaps"}) == [
        'UNDERSTUDY_SERVICES__V1__TLS__VERIFY: must be true or false, not "perhaps"',
        "services.v1.tls: no origin of this service is https://",
    ]


def test_origins_are_retold() -> None:
    """What is as usual is left out; an unchecked certificate is warned of."""
    service = {
        "origins": ["https://10.0.0.1", "https://10.0.0.2"],
        "balance": "least_connections",
        "health": {"path": "/healthz"},
        "tls": {"verify": False},
    }
    told = summary(parse(service))
    assert told.services == {
        "v1": "https://10.0.0.1:443, https://10.0.0.2:443, least_connections, checked at /healthz every 5s, "
        "not verified"
    }
    assert "services.v1.tls.verify is false: whoever answers there is believed" in told.warnings
    assert summary(parse(ONE)).services == {"v1": "http://127.0.0.1:9001"}
