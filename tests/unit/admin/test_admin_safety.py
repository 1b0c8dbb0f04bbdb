"""Whom the admin server answers, and with which safety headers."""

import httpx
import pytest
from admin_fakes import FakeControl
from hypothesis import given
from hypothesis import strategies as st

from understudy.admin.safety import SAFE_HEADERS, is_cross_site, is_trusted_host

WRITES = [
    ("PUT", "/api/v1/rules"),
    ("POST", "/api/v1/flags/shop/kill"),
    ("POST", "/api/v1/flags/shop/revive"),
    ("DELETE", "/api/v1/report"),
    ("POST", "/api/v1/compare"),
    ("DELETE", "/api/v1/compare"),
]


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize(
    "fields",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8000"},
        {"Origin": "http://localhost:9090"},
        {"Origin": "http://127.0.0.1:9090.evil.example"},
        {"Origin": "http://[broken"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:9090"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    ],
)
async def test_a_cross_site_write_changes_nothing(
    client: httpx.AsyncClient, control: FakeControl, method: str, path: str, fields: dict[str, str]
) -> None:
    """A page of another origin, another port included, is refused before anything is read."""
    answer = await client.request(method, path, headers=fields | {"If-Match": "*"}, json={"flags": {}})

    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert (len(control.versions), control.killed, control.is_cleared) == (1, [], False)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Origin": "http://127.0.0.1:9090", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
)
async def test_a_tool_and_our_own_page_may_write(client: httpx.AsyncClient, fields: dict[str, str]) -> None:
    """curl sends neither field; our own page sends our own origin."""
    assert (await client.post("/api/v1/flags/shop/kill", headers=fields)).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:9090",
        "[::1]:9090",
        "localhost:9090",
        "LOCALHOST.",
        "a.localhost",
        "10.1.2.3:9090",
        "admin.internal:9090",
        "Admin.Internal",
    ],
)
async def test_our_own_names_are_answered(client: httpx.AsyncClient, host: str) -> None:
    """Loopback names, any address, and the names given."""
    assert (await client.get("/api/v1/report", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/v1/rules", "/api/v1/report", "/metrics", "/static/report.js"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9090",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "notlocalhost",
        "127.0.0.1@evil.example",
        "",
        "[::1",
        "localhost:x",
        "127.1",
    ],
)
async def test_a_rebound_name_is_refused(client: httpx.AsyncClient, host: str, path: str) -> None:
    """A page whose name was made to resolve to us learns nothing."""
    answer = await client.get(path, headers={"Host": host})

    assert answer.status_code == 421
    assert answer.headers["content-type"] == "application/problem+json"


async def test_probes_are_answered_under_any_name(client: httpx.AsyncClient) -> None:
    """Orchestrators ask under names of their own."""
    for path in ("/healthz", "/readyz"):
        assert (await client.get(path, headers={"Host": "pod-7.cluster"})).status_code == 200


async def test_two_hosts_are_refused(client: httpx.AsyncClient) -> None:
    """One of two Host fields could be meant for somebody else."""
    fields = [("Host", "localhost"), ("Host", "evil.example")]

    assert (await client.get("/", headers=fields)).status_code == 400


async def test_a_host_that_holds_a_path_does_not_change_ours(
    client: httpx.AsyncClient, control: FakeControl
) -> None:
    """The path is the request line's, whatever a URL built from Host would say."""
    answer = await client.post("/api/v1/flags/shop/kill", headers={"Host": "localhost/healthz?x="})

    assert answer.status_code == 421
    assert control.killed == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/healthz", 200),
        ("GET", "/api/v1/rules", 200),
        ("GET", "/static/report.css", 200),
        ("GET", "/nowhere", 404),
        ("PATCH", "/api/v1/rules", 405),
        ("POST", "/api/v1/flags/none/kill", 404),
        ("PUT", "/api/v1/rules", 428),
    ],
)
async def test_every_answer_carries_the_safety_headers(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    """No sniffing, no framing, no caching, no referrer, and a policy that allows nothing unsaid."""
    answer = await client.request(method, path)

    assert answer.status_code == status
    assert {name for name in SAFE_HEADERS if name not in answer.headers} == set()
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers
    assert "unsafe" not in answer.headers["content-security-policy"]


async def test_a_refusal_and_a_failure_carry_them_too(
    client: httpx.AsyncClient, control: FakeControl
) -> None:
    """403, 421 and 500 come from outside the usual way, with the same headers."""
    control.failure = RuntimeError("secret detail")

    answers = [
        await client.delete("/api/v1/report", headers={"Origin": "null"}),
        await client.get("/", headers={"Host": "evil.example"}),
        await client.get("/"),
    ]

    assert [answer.status_code for answer in answers] == [403, 421, 500]
    for answer in answers:
        assert {name for name in SAFE_HEADERS if name not in answer.headers} == set()
    assert "secret" not in answers[2].text


@given(st.text(max_size=40))
def test_any_host_text_is_judged(host: str) -> None:
    """Judging a Host never fails, and never trusts what ends in another name."""
    is_trusted_host(host, ())

    assert not is_trusted_host(host + ".evil.example", ())


@given(st.text(max_size=40))
def test_any_origin_text_is_judged(origin: str) -> None:
    """An Origin is ours only if its authority is the Host."""
    headers = [(b"origin", origin.encode("utf-8", "replace"))]

    is_ours = not is_cross_site(headers, "localhost:9090")

    assert not is_ours or "localhost:9090" in origin.lower()
