"""UNDERSTUDY_* variables override scalar settings, and misspelled ones are told."""

from pathlib import Path
from typing import Any

import pytest

from understudy.config import Settings, parse_settings
from understudy.config.environ import overrides, variable
from understudy.errors import ConfigError

DOCUMENT: dict[str, Any] = {
    "services": {"shop-v1": {"url": "http://127.0.0.1:9001"}},
    "shadow": {"control": 0.5},
}


def parse(environ: dict[str, str], document: dict[str, Any] = DOCUMENT) -> Settings:
    """The settings of *document* under *environ*."""
    return parse_settings(document, base=Path("/etc"), environ=environ)


def refusals(environ: dict[str, str], document: dict[str, Any] = DOCUMENT) -> list[str]:
    """The problems of *document* under *environ*."""
    with pytest.raises(ConfigError) as refused:
        parse(environ, document)
    return [str(problem) for problem in refused.value.problems]


def test_variables_win_over_the_file() -> None:
    """Text, numbers, shares, durations, sizes and lists; what is not named stays."""
    settings = parse(
        {
            "UNDERSTUDY_LISTEN": "127.0.0.1:1, [::1]:1",
            "UNDERSTUDY_WORKERS": "3",
            "UNDERSTUDY_STORE": "memory://",
            "UNDERSTUDY_ADMIN__LISTEN": "127.0.0.1:2",
            "UNDERSTUDY_SHADOW__TIMEOUT": "2 s",
            "UNDERSTUDY_SHADOW__BUDGET": "2MiB",
            "UNDERSTUDY_SERVICES__SHOP_V1__URL": "http://shop:80",
            "UNDERSTUDY_TRUSTED_PROXIES": "10.0.0.0/8,::1",
            "PATH": "/bin",
        }
    )
    assert settings.listen == ("127.0.0.1:1", "[::1]:1")
    assert settings.workers == 3
    assert settings.store == "memory://"
    assert settings.admin.listen == "127.0.0.1:2"
    assert (settings.shadow.timeout, settings.shadow.budget_bytes, settings.shadow.control) == (
        2.0,
        2 * 2**20,
        0.5,
    )
    assert settings.services["shop-v1"].url == "http://shop:80"
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1/128")


def test_the_document_is_left_alone() -> None:
    """Overriding makes a copy."""
    parse({"UNDERSTUDY_SERVICES__SHOP_V1__URL": "http://shop:80", "UNDERSTUDY_SHADOW__CONTROL": "1"})
    assert DOCUMENT == {"services": {"shop-v1": {"url": "http://127.0.0.1:9001"}}, "shadow": {"control": 0.5}}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {"UNDERSTUDY_WORKRES": "3"},
            ["UNDERSTUDY_WORKRES: unknown environment variable (did you mean UNDERSTUDY_WORKERS?)"],
        ),
        (
            {"UNDERSTUDY_SHADOW_TIMEOUT": "3"},
            [
                (
                    "UNDERSTUDY_SHADOW_TIMEOUT: unknown environment variable "
                    "(did you mean UNDERSTUDY_SHADOW__TIMEOUT?)"
                )
            ],
        ),
        ({"UNDERSTUDY_WORKERS": "many"}, ['UNDERSTUDY_WORKERS: must be a whole number, not "many"']),
        ({"UNDERSTUDY_WORKERS": ""}, ['UNDERSTUDY_WORKERS: must be a whole number, not ""']),
        (
            {"UNDERSTUDY_SHADOW__CONTROL": "10%"},
            ['UNDERSTUDY_SHADOW__CONTROL: must be a number from 0 to 1, not "10%" (did you mean 0.1?)'],
        ),
        (
            {"UNDERSTUDY_LISTEN": "127.0.0.1:1,here"},
            ['UNDERSTUDY_LISTEN: "here" has no port (did you mean here:8080?)'],
        ),
        (
            {"UNDERSTUDY_ADMIN__LISTEN": "127.0.0.1:8080"},
            ["UNDERSTUDY_ADMIN__LISTEN: 127.0.0.1:8080 is taken by listen (give the admin API its own port)"],
        ),
    ],
)
def test_a_wrong_variable_is_told_by_its_name(environ: dict[str, str], expected: list[str]) -> None:
    """Whoever set it looks for the variable, not for a key of the file."""
    assert refusals(environ) == expected


def test_a_variable_that_fits_two_services_is_told() -> None:
    """a.b and a-b are the same words in a variable."""
    document = {"services": {"a.b": {"url": "http://a"}, "a-b": {"url": "http://b"}}}
    assert refusals({"UNDERSTUDY_SERVICES__A_B__URL": "http://c"}, document) == [
        "UNDERSTUDY_SERVICES__A_B__URL: could mean services.a.b.url and services.a-b.url (set it in the file)"
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UNDERSTUDY_ADMIN", "http://127.0.0.1:9090"),
        ("UNDERSTUDY_ADMIN_TOKEN", "x"),
        ("UNDERSTUDY_CONFIG", "understudy.yaml"),
        ("UNDERSTUDY_PORT", "tcp://10.0.0.1:8080"),
        ("UNDERSTUDY_SERVICE_HOST", "10.0.0.1"),
        ("UNDERSTUDY_SERVICE_PORT_HTTP", "8080"),
        ("UNDERSTUDY_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("UNDERSTUDY_ADMIN_PORT", "tcp://10.0.0.1:9090"),
    ],
)
def test_variables_of_others_are_let_be(name: str, value: str) -> None:
    """The command line has its own, and Kubernetes sets some for every Service called understudy."""
    assert parse({name: value}) == parse({})


def test_a_port_set_by_hand_is_no_kubernetes_variable() -> None:
    """UNDERSTUDY_PORT=8080 is a mistake that must not be swallowed."""
    assert refusals({"UNDERSTUDY_PORT": "8080"})[0].startswith(
        "UNDERSTUDY_PORT: unknown environment variable"
    )


def test_each_scalar_setting_has_its_variable() -> None:
    """The names are derived: nobody keeps a second list."""
    found = {entry.variable for entry in overrides(Settings, DOCUMENT)}
    assert {
        "UNDERSTUDY_LIMITS__HEAD_TIMEOUT",
        "UNDERSTUDY_SERVICES__SHOP_V1__POOL_IDLE",
        "UNDERSTUDY_REDACT__PATHS",
    } <= found
    assert variable(("services", "shop-v1", "url")) == "UNDERSTUDY_SERVICES__SHOP_V1__URL"
