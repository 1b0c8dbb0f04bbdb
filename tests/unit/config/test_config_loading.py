"""One file becomes settings; everything that is wrong in it is told at once."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.config import Service, Settings, load, parse_settings, parse_yaml
from understudy.config.place import MOST_PROBLEMS
from understudy.errors import ConfigError

EXAMPLES = Path(__file__).parents[3] / "examples"
SERVICES = {"v1": {"url": "http://127.0.0.1:9001"}}


def parse(changes: dict[str, Any], environ: dict[str, str] | None = None) -> Settings:
    """The settings of one service with *changes*."""
    return parse_settings({"services": SERVICES, **changes}, base=Path("/etc"), environ=environ or {})


def refusals(changes: dict[str, Any], environ: dict[str, str] | None = None) -> list[str]:
    """The problems of one service with *changes*."""
    with pytest.raises(ConfigError) as refused:
        parse(changes, environ)
    return [str(problem) for problem in refused.value.problems]


def test_the_example_loads_as_it_is_written() -> None:
    """The file that the documentation shows is valid, and means what it says."""
    settings = load(EXAMPLES / "understudy.yaml", {})
    assert settings.listen == ("127.0.0.1:8080",)
    assert settings.workers == 1
    assert settings.admin.listen == "127.0.0.1:9090"
    assert settings.store == f"sqlite:///{EXAMPLES.absolute()}/understudy.db"
    assert settings.services["shop-v2"] == Service(url="http://127.0.0.1:9002")
    assert (settings.shadow.control, settings.shadow.timeout, settings.shadow.in_flight) == (0.1, 5.0, 64)
    assert (settings.shadow.budget_bytes, settings.shadow.body_cap_bytes) == (64 * 2**20, 2**20)
    assert settings.rules.routes[0].unit == "cookie:uid"
    assert len(settings.rules.compare) == 1


def test_the_examples_defaults_are_the_defaults() -> None:
    """What the example calls defaults is what a file without them gets."""
    example, bare = load(EXAMPLES / "understudy.yaml", {}), parse({})
    assert example.shadow == bare.shadow
    assert (example.listen, example.workers, example.admin) == (bare.listen, bare.workers, bare.admin)


def test_the_least_file_loads() -> None:
    """Services, one flag and one route are enough."""
    settings = load(EXAMPLES / "minimal.yaml", {})
    assert settings.rules.flags["shop"]["variants"]["dark"]["mirror"] == ["v2"]


def test_a_list_of_addresses_is_read() -> None:
    """One address or several."""
    assert parse({"listen": ["127.0.0.1:1", "[::1]:1"]}).listen == ("127.0.0.1:1", "[::1]:1")


def test_a_unix_socket_lies_beside_the_file() -> None:
    """Unless its path is absolute; a trusted proxy may be whoever connects to it."""
    settings = parse({"listen": ["unix:run.sock", "unix:/run/u.sock"], "trusted_proxies": ["unix"]})
    assert settings.listen == ("unix:/etc/run.sock", "unix:/run/u.sock")
    assert settings.trusted_proxies == ("unix",)


def test_settings_keep_the_document_that_says_them() -> None:
    """With what the environment changed and without rules, so that another process reads the same."""
    settings = parse({"workers": 1, "routes": []}, {"UNDERSTUDY_WORKERS": "3"})
    assert settings.document == {"services": SERVICES, "workers": 3}
    assert parse_settings(settings.document, base=Path("/etc"), environ={}) == settings


def test_a_service_is_read_in_full() -> None:
    """Times are seconds, credential names lower case, fields to set as spelled."""
    service = {
        "url": "http://v1/",
        "connect_timeout": "500ms",
        "first_byte_timeout": "1m",
        "idle_timeout": 90,
        "connections": 8,
        "queue": 0,
        "pool_idle": "2 s",
        "forward_credentials": ["Cookie"],
        "set_headers": {"Authorization": "Bearer x"},
    }
    assert parse({"services": {"v1": service}}).services["v1"] == Service(
        url="http://v1:80",
        connect_timeout=0.5,
        first_byte_timeout=60.0,
        idle_timeout=90.0,
        connections=8,
        queue=0,
        pool_idle=2.0,
        forward_credentials=("cookie",),
        set_headers={"Authorization": "Bearer x"},
    )


TLS_NAMES = [
    'tls.cert: must be the name of a file, not ""',
    "tls.key: must be the name of a file, not 1",
]
MISTAKES: list[tuple[dict[str, Any], list[str]]] = [
    ({"listn": 1}, ["listn: unknown key (did you mean listen?)"]),
    (
        {"wat": 1},
        [
            (
                "wat: unknown key (known: $evaluators, access_log, admin, compare, endpoints, "
                "environment, exposures, flags, forwarded, kill_file, killed, limits, …)"
            )
        ],
    ),
    (
        {"tls": {"cert": "a", "key": "b"}},
        ["tls.cert: there is no file /etc/a"],
    ),
    (
        {"tls": {"cert": "a"}},
        ["tls.key: is missing (PEM file of its private key, unencrypted.)"],
    ),
    ({"tls": {"cert": "", "key": 1}}, TLS_NAMES),
    (
        {"listen": ["https://[::1]:80"]},
        ["listen[0]: https://[::1]:80 needs a certificate (tls: {cert: cert.pem, key: key.pem})"],
    ),
    (
        {"listen": "unix:" + "a" * 103},
        [f"listen[0]: unix:/etc/{'a' * 103} is longer than the 107 bytes that a Unix socket's path may have"],
    ),
    (
        {"listen": ["unix:/etc/a", "unix:a"]},
        ["listen[1]: unix:a and listen[0], unix:/etc/a, cannot both be bound"],
    ),
    (
        {"listen": ["http://127.0.0.1:80", "127.0.0.1:80"]},
        ["listen[1]: 127.0.0.1:80 and listen[0], http://127.0.0.1:80, cannot both be bound"],
    ),
    (
        {"listen": "http://127.0.0.1:9090"},
        ["admin.listen: 127.0.0.1:9090 is taken by listen (give the admin API its own port)"],
    ),
    ({"trusted_proxies": ["unix:"]}, ['trusted_proxies[0]: "unix:" is not a network (did you mean unix?)']),
    ({"listen": []}, ["listen: must name at least one"]),
    ({"listen": ["127.0.0.1:80", "127.0.0.1:80"]}, ['listen[1]: "127.0.0.1:80" stands here twice']),
    (
        {"listen": ["127.0.0.1:80", "0.0.0.0:80"]},
        ["listen[1]: 0.0.0.0:80 and listen[0], 127.0.0.1:80, cannot both be bound"],
    ),
    (
        {"listen": "127.0.0.1:9090"},
        ["admin.listen: 127.0.0.1:9090 is taken by listen (give the admin API its own port)"],
    ),
    (
        {"admin": {"listen": "0.0.0.0:9090"}},
        [
            (
                "admin.listen: 0.0.0.0:9090 can be reached from other machines, "
                "and without TLS tokens can be read on the way "
                "(did you mean 127.0.0.1:9090?)"
            )
        ],
    ),
    (
        {"admin": {"listen": "127.0.0.1:9090", "sync": "127.0.0.1:9090"}},
        ["admin.sync: 127.0.0.1:9090 is taken (127.0.0.1:8015 is where providers look)"],
    ),
    (
        {"admin": "127.0.0.1:9090"},
        [
            (
                'admin: must be a mapping of keys to values, not "127.0.0.1:9090"'
                " (known: issuer, listen, origins, sync)"
            )
        ],
    ),
    ({"workers": "four"}, ['workers: must be a whole number, not "four"']),
    ({"workers": 0}, ["workers: must be 1 to 256, not 0"]),
    ({"services": {}}, ["services: must name at least one service"]),
    (
        {"services": {"v1": {}}},
        [
            (
                "services.v1.url: is missing (The origin: http://host:port or https://host:port, "
                "nothing behind it; or unix:/path/of.sock.)"
            )
        ],
    ),
    (
        {"services": {"v1": "http://a"}},
        [
            (
                'services.v1: must be a mapping of keys to values, not "http://a" '
                "(did you mean {url: http://a}?)"
            )
        ],
    ),
    (
        {"services": {"v 1": {"url": "http://a"}}},
        [
            (
                'services["v 1"]: "v 1" is not a name: '
                "1 to 64 letters, digits, '.', '_' or '-' (did you mean v-1?)"
            )
        ],
    ),
    (
        {"services": {"v1": {"url": "http://127.0.0.1:8080"}}},
        ["services.v1.url: is the address this proxy listens on"],
    ),
    (
        {"services": {"v1": {"url": "http://localhost:8080"}}},
        ["services.v1.url: is the address this proxy listens on"],
    ),
    ({"shadow": {"tiemout": "5s"}}, ["shadow.tiemout: unknown key (did you mean timeout?)"]),
    (
        {"shadow": {"budget": "64KiB"}},
        [
            (
                "shadow.budget: is less than body_cap, so a capped copy would never fit "
                "(raise budget or lower body_cap)"
            )
        ],
    ),
    ({"limits": {"header_bytes": 100}}, ["limits.header_bytes: must be 1KiB to 1MiB, not 100"]),
    (
        {"trusted_proxies": ["10.1.0.0/8"]},
        ['trusted_proxies[0]: "10.1.0.0/8" has bits set beyond its mask (did you mean 10.0.0.0/8?)'],
    ),
    (
        {"redact": {"detectors": ["emails"]}},
        ['redact.detectors[0]: unknown detector "emails" (did you mean email?)'],
    ),
    (
        {"redact": {"paths": ["$.body.card.number"]}},
        [
            (
                'redact.paths[0]: must be a path such as /body/card/number, not "$.body.card.number" '
                "(did you mean /body/card/number?)"
            )
        ],
    ),
    (
        {"redact": {"headers": ["a b"]}},
        ['redact.headers[0]: "a b" cannot name a header field (letters, digits and hyphens)'],
    ),
]


@pytest.mark.parametrize(("changes", "expected"), MISTAKES)
def test_a_wrong_setting_is_told(changes: dict[str, Any], expected: list[str]) -> None:
    """One mistake, one problem, with its path and what was probably meant."""
    assert refusals(changes) == expected


SERVICE_MISTAKES: list[tuple[dict[str, Any], list[str]]] = [
    ({"conect_timeout": 1}, ["conect_timeout: unknown key (did you mean connect_timeout?)"]),
    ({"connections": 0}, ["connections: must be 1 to 65535, not 0"]),
    (
        {"tls": True},
        [("tls: must be a mapping of keys to values, not true (known: ca, cert, key, server_name, verify)")],
    ),
    (
        {"forward_credentials": "cookie"},
        ['forward_credentials: must be a list, not "cookie" (did you mean [cookie]?)'],
    ),
    (
        {"forward_credentials": ["cookies"]},
        ['forward_credentials[0]: "cookies" is not stripped from copies anyway (did you mean cookie?)'],
    ),
    ({"set_headers": {"Host": "a"}}, ["set_headers.Host: belongs to the connection, so it cannot be set"]),
    (
        {"set_headers": {"Content-Length": "1"}},
        ["set_headers.Content-Length: belongs to the connection, so it cannot be set"],
    ),
    (
        {"set_headers": {"X_Understudy_Variant": "a"}},
        ["set_headers.X_Understudy_Variant: X-Understudy- fields are set by Understudy alone"],
    ),
    (
        {"set_headers": {"X-A": "a\r\nX-B: b"}},
        [
            (
                "set_headers.X-A: is not a field value: visible ASCII, spaces inside, no line breaks, "
                "at most 8192 characters"
            )
        ],
    ),
    ({"set_headers": {"X-A": 5}}, ['set_headers.X-A: must be text, not 5 (quote it: "5")']),
    ({"set_headers": {"X-A": "1", "x-a": "2"}}, ['set_headers.x-a: sets the same field as "X-A"']),
    (
        {"set_headers": {"X A": "1"}},
        ['set_headers["X A"]: "X A" cannot name a header field (letters, digits and hyphens)'],
    ),
]


@pytest.mark.parametrize(("changes", "expected"), SERVICE_MISTAKES)
def test_a_wrong_service_is_told(changes: dict[str, Any], expected: list[str]) -> None:
    """What a header field cannot carry never gets as far as a header field."""
    assert refusals({"services": {"v1": {"url": "http://a", **changes}}}) == [
        f"services.v1.{problem}" for problem in expected
    ]


def test_a_refused_field_value_is_not_repeated() -> None:
    """It is often a credential."""
    changes = {"services": {"v1": {"url": "http://a", "set_headers": {"Authorization": "Bearer s3cret\n"}}}}
    assert "s3cret" not in "".join(refusals(changes))


def test_services_are_missing() -> None:
    """The one setting without a default."""
    with pytest.raises(ConfigError) as refused:
        parse_settings({}, base=Path("/etc"), environ={})
    assert [problem.path for problem in refused.value.problems] == ["services"]


def test_settings_and_rules_are_told_together() -> None:
    """A mistake in the settings hides none in the rules, nor a broken service the flags that name it."""
    found = refusals(
        {
            "workers": 0,
            "services": {"v1": {"url": "ftp://v1"}},
            "flags": {
                "shop": {"variants": {"a": {"serve": "v1"}, "b": {"serve": "v2"}}, "defaultVariant": "a"}
            },
            "routes": [{"flag": "shop"}],
        }
    )
    assert [problem.split(": ")[0] for problem in found] == [
        "workers",
        "services.v1.url",
        "flags.shop.variants.b.serve",
    ]


def test_a_broken_file_is_told_with_its_place(tmp_path: Path) -> None:
    """Line and column of broken YAML come out of load as one problem."""
    file = tmp_path / "understudy.yaml"
    file.write_text("services:\n  v1: {url: http://a\nflags: {}\n")
    with pytest.raises(ConfigError) as refused:
        load(file, {})
    assert str(refused.value).startswith("broken YAML at line 3, column 6: ")


keys = st.sampled_from(
    ["listen", "services", "v1", "url", "shadow", "timeout", "limits", "redact", "admin", "store", "routes"]
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["5s", "127.0.0.1:1"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    values,
    st.dictionaries(
        st.sampled_from(["UNDERSTUDY_LISTEN", "UNDERSTUDY_SHADOW__TIMEOUT", "UNDERSTUDY_X"]), st.text()
    ),
)
def test_any_document_is_accepted_or_refused(document: Any, environ: dict[str, str]) -> None:
    """Nothing but ConfigError is ever raised."""
    try:
        settings = parse_settings(document, base=Path("/etc"), environ=environ)
    except ConfigError as refused:
        count = len(refused.problems)
    else:
        count = len(settings.services)
    assert 1 <= count <= MOST_PROBLEMS


def test_yaml_words_are_names() -> None:
    """A service called on and a variant called off are what they are in flagd files."""
    text = (
        "services: {on: {url: http://a}}\nflags: {f: {variants: {off: {serve: on}}, defaultVariant: off}}\n"
    )
    document = parse_yaml(text + "routes: [{flag: f}]\n")
    settings = parse_settings(document, base=Path("/etc"), environ={})
    assert list(settings.rules.flags["f"]["variants"]) == ["off"]


def test_one_file_serves_the_proxy_and_the_application() -> None:
    """Where ``services.app`` says where the application answers, a variant that serves nothing serves it."""
    document = {
        "services": {"app": {"url": "http://127.0.0.1:9001"}, "v2": {"url": "http://127.0.0.1:9002"}},
        "flags": {
            "shop": {
                "state": "ENABLED",
                "variants": {"stable": {}, "dark": {"mirror": ["v2"]}, "canary": {"serve": "v2"}},
                "defaultVariant": "stable",
            }
        },
        "routes": [{"path": "/", "flag": "shop"}],
    }
    proxy, mounted = (
        parse_settings(document, base=Path(), environ={}, has_app=has_app).rules for has_app in (False, True)
    )
    assert proxy.flags == mounted.flags
    assert {name: variant["serve"] for name, variant in proxy.flags["shop"]["variants"].items()} == {
        "stable": "app",
        "dark": "app",
        "canary": "v2",
    }
