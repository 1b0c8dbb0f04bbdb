"""Probes, metrics, the report, and what there is not."""

import asyncio
from html.parser import HTMLParser

import httpx
import pytest
from admin_fakes import REPORT, FakeControl, LockedStore

from understudy.access import Token
from understudy.admin import Keyring, create_admin
from understudy.admin import keyring as keyring_module
from understudy.errors import StoreError
from understudy.report import STATIC
from understudy.store import MemoryAccess


class Damaged(MemoryAccess):
    """Of its tokens one cannot be read."""

    async def tokens(self) -> list[Token]:
        raise StoreError("tokens: one of them is damaged")


class Resources(HTMLParser):
    """Collects what a page would load, and what it would run inline."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fields = dict(attrs)
        self.inline += [name for name in fields if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in fields):
            self.inline.append(tag)
        if tag in ("script", "link", "img", "iframe"):
            self.links.append(fields.get("src") or fields.get("href") or "")


async def test_healthz_is_up_while_the_process_runs(client: httpx.AsyncClient, control: FakeControl) -> None:
    """Nothing that fails elsewhere makes the process unhealthy."""
    control.is_ready, control.failure = False, LockedStore()

    assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(("is_ready", "status"), [(True, 200), (False, 503)])
async def test_readyz_lists_its_checks(
    client: httpx.AsyncClient, control: FakeControl, is_ready: bool, status: int
) -> None:
    """Each check by name, with what it found."""
    control.is_ready = is_ready

    answer = await client.get("/readyz")

    assert answer.status_code == status
    checks = {
        "workers": {"ok": is_ready, "detail": "2 of 2 serve"},
        "tokens": {"ok": True, "detail": "known"},
    }
    assert answer.json() == {"ready": is_ready, "checks": checks}


async def test_readyz_waits_for_the_tokens(control: FakeControl) -> None:
    """Whoever comes as soon as it is ready is not answered 503 by the API."""
    keyring = Keyring(MemoryAccess())
    transport = httpx.ASGITransport(app=create_admin(control, keyring=keyring), client=("127.0.0.1", 50123))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9090") as client:
        before = await client.get("/readyz")
        assert (before.status_code, before.json()["ready"]) == (503, False)
        assert before.json()["checks"]["tokens"]["ok"] is False
        assert (await client.get("/api/v1/rules")).status_code == 503

        await keyring.refresh()
        after = await client.get("/readyz")
        assert (after.status_code, after.json()["ready"]) == (200, True)
        assert (await client.get("/api/v1/rules")).status_code == 200


async def test_readyz_does_not_wait_for_tokens_that_cannot_be_read(
    control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is damaged locks the API, whose callers are told; the traffic of the proxy needs no token."""
    monkeypatch.setattr(keyring_module, "FIRST_SECONDS", 0.0)
    keyring = Keyring(Damaged())
    transport = httpx.ASGITransport(app=create_admin(control, keyring=keyring), client=("127.0.0.1", 50123))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9090") as client:
        await keyring.begin()
        assert (await client.get("/readyz")).status_code == 503
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(keyring.run())
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0)
            running.cancel()
        told = (await client.get("/readyz")).json()["checks"]["tokens"]
        assert "lets nobody in" in told["detail"]
        assert (await client.get("/api/v1/rules")).status_code == 503


async def test_metrics_are_in_the_text_format(client: httpx.AsyncClient) -> None:
    """Prometheus reads the version of the format from the media type."""
    answer = await client.get("/metrics")

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "understudy_rules_version 7" in answer.text


async def test_the_report_is_json(client: httpx.AsyncClient) -> None:
    """The report passes unchanged."""
    answer = await client.get("/api/v1/report")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == REPORT


async def test_a_report_that_orjson_cannot_write_is_written(
    client: httpx.AsyncClient, control: FakeControl
) -> None:
    """A lone surrogate or a huge integer in a sample does not take the whole report away."""
    control.evidence["endpoints"] = [{"endpoint": "\ud800", "exchanges": 2**70}]

    answer = await client.get("/api/v1/report")

    assert answer.json()["endpoints"] == [{"endpoint": "\ud800", "exchanges": 2**70}]


async def test_delete_clears_the_evidence(client: httpx.AsyncClient, control: FakeControl) -> None:
    """After it, the report starts anew."""
    answer = await client.delete("/api/v1/report")

    assert (answer.status_code, answer.content) == (204, b"")
    assert control.is_cleared


async def test_the_page_loads_only_from_here(client: httpx.AsyncClient) -> None:
    """Nothing inline, nothing foreign: the policy could not be stricter."""
    answer = await client.get("/")
    page = Resources()
    page.feed(answer.text)

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert page.inline == []
    assert page.links == ["/static/report.css", "/static/icon.svg", "/static/report.js"]
    for link in page.links:
        assert (await client.get(link)).status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "require-trusted-types-for 'script'" in policy


async def test_the_page_refreshes_itself_without_a_script(client: httpx.AsyncClient) -> None:
    """Where no script runs, the browser asks again every half minute."""
    text = (await client.get("/")).text

    assert '<noscript><meta http-equiv="refresh" content="30"></noscript>' in text


async def test_the_file_is_a_download(client: httpx.AsyncClient) -> None:
    """The same report as one file, which a browser saves instead of showing it from our origin."""
    answer = await client.get("/api/v1/report.html")
    page = Resources()
    page.feed(answer.text)

    assert answer.headers["content-disposition"] == 'attachment; filename="understudy-report.html"'
    assert "sandbox" in answer.headers["content-security-policy"]
    assert page.links == []
    assert "<script" not in answer.text


@pytest.mark.parametrize("name", sorted(STATIC))
async def test_static_files_have_their_types(client: httpx.AsyncClient, name: str) -> None:
    """With nosniff, a wrong type would keep the page bare."""
    answer = await client.get(f"/static/{name}")

    assert answer.headers["content-type"].partition(";")[0] == STATIC[name]


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/static/",
        "/static/../page.py",
        "/static/..%2fpage.py",
        "/static/page.py",
        "/api/v1/rules/",
        "/favicon.ico",
    ],
)
async def test_there_is_nothing_else(client: httpx.AsyncClient, path: str) -> None:
    """An unknown path is a problem, never a redirect and never a file."""
    answer = await client.get(path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/v1/rules", {"GET", "HEAD", "PUT"}),
        ("GET", "/api/v1/bulk", {"POST"}),
        ("PUT", "/api/v1/report", {"GET", "HEAD", "DELETE"}),
        ("OPTIONS", "/api/v1/rules", {"GET", "HEAD", "PUT"}),
        ("TRACE", "/", {"GET", "HEAD"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
    ],
)
async def test_another_method_is_405(
    client: httpx.AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    """Allow lists every method the path knows."""
    answer = await client.request(method, path)

    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/api/v1/rules", "/api/v1/report"])
async def test_head_is_get_without_a_body(client: httpx.AsyncClient, path: str) -> None:
    """HEAD has the status and the headers of GET; the server in front cuts the body."""
    get, head = await client.get(path), await client.head(path)

    assert head.status_code == get.status_code
    assert head.headers["content-length"] == get.headers["content-length"]


@pytest.mark.parametrize("path", ["/", "/api/v1/report", "/api/v1/report.html", "/api/v1/rules"])
async def test_a_failure_tells_nothing(client: httpx.AsyncClient, control: FakeControl, path: str) -> None:
    """An unforeseen error is a problem without a traceback, a message or a path of the source."""
    control.failure = RuntimeError("password=hunter2")

    answer = await client.get(path)

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
