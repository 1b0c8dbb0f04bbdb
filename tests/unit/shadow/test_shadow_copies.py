"""What a shadow is sent: the request as it was, without what it must not see, and only when it may be."""

import asyncio
from typing import Any

import pytest
from shadow_examples import OK_JSON, assert_conserved
from shadow_stage import Origin, Stage, converse, document, get, on_uvloop, post, say, staged, until

CANARY = "canary-7f3a9c"
CREDENTIAL_FIELDS = [
    f"Authorization: Bearer {CANARY}",
    f"authorization: Basic {CANARY}",
    f"Proxy-Authorization: Basic {CANARY}",
    f"Proxy_Authorization: Basic {CANARY}",
    f"Cookie: uid=7; session={CANARY}",
    f"COOKIE: more={CANARY}",
    f"X-Api-Key: {CANARY}",
    f"x-api-key: {CANARY}",
    f"X_Api_Key: {CANARY}",
]


class Rehearsed:
    """What the origins saw of some requests."""

    def __init__(self, primary: Origin, shadow: Origin, stage: Stage) -> None:
        self.primary = primary
        self.shadow = shadow
        self.outcomes = dict(stage.target("mirror", "v2").outcomes)
        self.control = dict(stage.target("control", "v1").outcomes)


def rehearse(*requests: bytes, **settings: Any) -> Rehearsed:
    """Send *requests* through a proxy that mirrors, and wait until all copies are settled."""
    seen: list[Rehearsed] = []

    @on_uvloop
    async def play() -> None:
        async with (
            Origin(on_request=say(OK_JSON)).listening() as primary,
            Origin(on_request=say(OK_JSON)).listening() as shadow,
            staged(document(primary, shadow.port, **settings)) as stage,
        ):
            for request in requests:
                (answer,) = await converse(stage.port, request)
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            await stage.quiet()
            for target in stage.mirror.targets.values():
                assert_conserved(target)
            seen.append(Rehearsed(primary, shadow, stage))

    play()
    return seen[0]


@pytest.mark.parametrize("field", CREDENTIAL_FIELDS)
def test_no_credential_reaches_the_shadow(field: str) -> None:
    """In no spelling and no field; the shadow's raw bytes are searched."""
    seen = rehearse(get("/", field, "Accept: */*"), shadow={"control": 0})
    assert len(seen.shadow.requests) == 1
    assert CANARY.encode() not in seen.shadow.received
    assert b"Accept: */*" in seen.shadow.received


def test_all_credentials_at_once_are_stripped() -> None:
    """Together with fields that stay, in order."""
    fields = ["A: 1", *CREDENTIAL_FIELDS, "B: 2"]
    seen = rehearse(get("/", *fields), shadow={"control": 0})
    assert CANARY.encode() not in seen.shadow.received
    assert b"A: 1\r\nB: 2\r\n" in seen.shadow.received


def test_credentials_named_by_connection_do_not_come_back() -> None:
    """What Connection names ends at this hop, for the primary too; positions of the others still fit."""
    seen = rehearse(
        get("/", "Connection: x-drop", f"X-Drop: {CANARY}", f"Cookie: a={CANARY}", "Accept: */*"),
        shadow={"control": 0},
    )
    assert CANARY.encode() not in seen.shadow.received
    assert b"X-Drop" not in seen.primary.received
    assert b"Cookie: a=" in seen.primary.received


def test_a_service_sees_the_credentials_it_is_trusted_with_and_no_others() -> None:
    """forward_credentials names fields one by one."""
    seen = rehearse(
        get("/", "Cookie: uid=7", f"Authorization: Bearer {CANARY}", f"X_Api_Key: {CANARY}"),
        shadow_service={"forward_credentials": ["cookie"]},
        shadow={"control": 0},
    )
    assert b"Cookie: uid=7\r\n" in seen.shadow.received
    assert CANARY.encode() not in seen.shadow.received


def test_a_service_is_given_credentials_of_its_own() -> None:
    """set_headers replaces the client's field in every spelling."""
    seen = rehearse(
        get("/", f"Authorization: Bearer {CANARY}", f"X_Env: {CANARY}"),
        shadow_service={"set_headers": {"Authorization": "Bearer rehearsal", "X-Env": "dark"}},
        shadow={"control": 0},
    )
    assert CANARY.encode() not in seen.shadow.received
    assert b"Authorization: Bearer rehearsal\r\n" in seen.shadow.received
    assert b"X-Env: dark\r\n" in seen.shadow.received


def test_the_control_is_asked_as_the_client_asked() -> None:
    """The same service gets the same credentials, and the mark that tells the copy from the request."""
    seen = rehearse(get("/", f"Cookie: session={CANARY}"), shadow={"control": 1})
    first, second = seen.primary.requests
    assert CANARY.encode() in first
    assert CANARY.encode() in second
    marks = [b"X-Understudy-Shadow: control" in request for request in (first, second)]
    assert sorted(marks) == [False, True]
    assert CANARY.encode() not in seen.shadow.received


def test_the_copy_is_the_request() -> None:
    """Request line and query byte for byte, fields in order with duplicates, ours as the primary's."""
    seen = rehearse(get("/a%20b/%2e?q=%C3%A4&&", "X-A: 1", "x-a: 2", "X-A: 1"), shadow={"control": 0})
    (request,), (copy,) = seen.primary.requests, seen.shadow.requests
    assert copy == request.replace(b"\r\n\r\n", b"\r\nX-Understudy-Shadow: 1\r\n\r\n")
    assert copy.startswith(b"GET /a%20b/%2e?q=%C3%A4&& HTTP/1.1\r\n")


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_is_copied_whole_and_sized(is_chunked: bool) -> None:
    """Whatever its framing was, the copy has a length."""
    body = bytes(range(256)) * 300
    request = post(body)
    if is_chunked:
        head = b"POST /orders HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"
        request = (
            head + b"".join(b"%x\r\n%b\r\n" % (256, bytes(range(256))) for _ in range(300)) + b"0\r\n\r\n"
        )
    seen = rehearse(request, shadow={"control": 0})
    (copy,) = seen.shadow.requests
    assert copy.endswith(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    assert b"chunked" not in copy.partition(b"\r\n\r\n")[0]


def test_a_body_over_the_cap_is_skipped_and_the_primary_gets_it_whole() -> None:
    """skipped(body_too_large), nothing held."""
    body = b"b" * 200_000
    seen = rehearse(post(body), shadow={"body_cap": "64KiB"})
    assert seen.primary.requests[0].endswith(body)
    assert seen.shadow.requests == []
    assert seen.outcomes["skipped", "body_too_large"] == 1


def test_a_body_of_exactly_the_cap_is_mirrored() -> None:
    """The cap is what may be copied."""
    body = b"b" * 64 * 1024
    seen = rehearse(post(body), shadow={"body_cap": "64KiB", "control": 0})
    assert seen.shadow.requests[0].endswith(body)


METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("opted_in", [(), ("GET", "HEAD", "OPTIONS", "POST", "DELETE")])
def test_only_methods_that_the_route_opts_in_are_mirrored(method: str, opted_in: tuple[str, ...]) -> None:
    """GET, HEAD and OPTIONS by default, others by explicit opt-in; the primary is always asked."""
    route: dict[str, Any] = {"path": "/", "flag": "shop"}
    if opted_in:
        route["mirror_methods"] = list(opted_in)
    body = b"Content-Length: 0\r\n" if method not in ("GET", "HEAD", "OPTIONS") else b""
    seen = rehearse(
        b"%b / HTTP/1.1\r\nHost: shop\r\n%b\r\n" % (method.encode(), body),
        routes=[route],
        shadow={"control": 1},
    )
    is_mirrored = method in (opted_in or ("GET", "HEAD", "OPTIONS"))
    assert len(seen.shadow.requests) == int(is_mirrored)
    assert ("skipped", "method") in seen.outcomes or is_mirrored
    is_safe = method in ("GET", "HEAD", "OPTIONS")
    assert len(seen.primary.requests) == 1 + int(is_mirrored and is_safe)


@pytest.mark.parametrize(
    "fields",
    [
        ["X-HTTP-Method-Override: DELETE"],
        ["x-http-method-override:delete"],
        ["X-HTTP-Method: PUT"],
        ["X-Method-Override: PATCH"],
        ["X_HTTP_Method_Override: DELETE"],
        ["X-HTTP-Method-Override: DELETE", "X-HTTP-Method-Override: GET"],
        ["X-HTTP-Method-Override: GET", "X-Method-Override: DELETE"],
        ["X-HTTP-Method-Override: DELETE", "X-Method-Override: GET"],
        ["X-HTTP-Method-Override: GET, DELETE"],
    ],
)
def test_a_read_that_is_a_write_by_override_is_not_mirrored(fields: list[str]) -> None:
    """In any spelling, and also when several fields disagree."""
    seen = rehearse(get("/", *fields), shadow={"control": 1})
    assert seen.shadow.requests == []
    assert len(seen.primary.requests) == 1
    assert seen.outcomes["skipped", "method"] == 1


@pytest.mark.parametrize(
    "mark", ["X-Understudy-Shadow: 1", "x-understudy-shadow: control", "X_Understudy_Shadow: 1"]
)
def test_a_copy_is_never_mirrored_again(mark: str) -> None:
    """skipped(loop), whoever set the mark; it is not passed on as ours."""
    seen = rehearse(get("/", mark))
    assert seen.shadow.requests == []
    assert seen.outcomes["skipped", "loop"] == 1
    assert b"understudy-shadow" not in seen.primary.received.lower().replace(b"_", b"-")


def test_a_shadow_that_is_the_proxy_itself_gets_one_copy_and_no_more() -> None:
    """A thousand in, at most a thousand out: no loop, no amplification."""

    @on_uvloop
    async def play() -> None:
        async with Origin(on_request=say(OK_JSON)).listening() as primary:
            settings = document(primary, 1, shadow={"control": 0})
            async with staged(settings) as outer:
                again = document(primary, outer.port, shadow={"control": 0})
                again["services"]["v2"]["url"] = f"http://127.0.0.1:{outer.port}"
                async with staged(again) as stage:
                    await converse(stage.port, *[get("/")] * 10)
                    await stage.quiet()
                    # The inner proxy knows its own Via, so it answers 508 and forwards nothing.
                    assert len(primary.requests) == 10
                    assert stage.target("mirror", "v2").answers == 10

    play()


def test_a_request_that_is_cut_off_is_not_mirrored() -> None:
    """Half a body is no request: skipped, and given back."""

    @on_uvloop
    async def play() -> None:
        async with (
            Origin(on_request=say(OK_JSON)).listening() as primary,
            Origin(on_request=say(OK_JSON)).listening() as shadow,
            staged(document(primary, shadow.port)) as stage,
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
            writer.write(post(b"b" * 5000)[:-1000])
            await until(lambda: stage.mirror.held == 4000, "the half body")
            writer.close()
            await until(lambda: stage.mirror.held == 0, "the end of it")
            assert stage.target("mirror", "v2").outcomes["skipped", "client_aborted"] == 1
            assert shadow.requests == []
            assert_conserved(stage.target("mirror", "v2"))

    play()


def test_what_is_cut_at_the_end_of_the_drain_is_accounted_for() -> None:
    """Half a request is skipped, one without an answer is lost: a worker's last words are true."""

    @on_uvloop
    async def play() -> None:
        async with (
            Origin(on_request=lambda visit, request: None).listening() as primary,
            Origin(on_request=say(OK_JSON)).listening() as shadow,
            staged(document(primary, shadow.port, shadow={"control": 0})) as stage,
        ):
            writers = []
            for request in (get(), post(b"b" * 5000)[:-1000]):
                _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
                writers.append(writer)
                writer.write(request)
            await until(lambda: stage.mirror.held > 4000, "both requests")
            await until(lambda: stage.target("mirror", "v2").answers == 1, "the first one's shadow")
            assert await stage.proxy.drain(0.3, wait=asyncio.sleep) == 2
            mirror = stage.target("mirror", "v2")
            assert_conserved(mirror)
            assert mirror.outcomes["skipped", "client_aborted"] == 1
            assert stage.mirror.held == 0
            assert [n for key, n in stage.mirror.drain().items() if key[3] == "unpaired"] == [1]
            for writer in writers:
                writer.close()

    play()


def test_a_body_is_booked_once_while_its_copy_is_under_way() -> None:
    """What was captured is given back when the copy holds it: the budget lasts for what it says."""

    @on_uvloop
    async def play() -> None:
        async with (
            Origin(on_request=say(OK_JSON)).listening() as primary,
            Origin(on_request=lambda visit, request: None).listening() as shadow,
            staged(document(primary, shadow.port, shadow={"control": 0})) as stage,
        ):
            await converse(stage.port, post(b"b" * 5000))
            await until(lambda: len(shadow.requests) == 1, "the copy")
            assert 5000 < stage.mirror.held < 6000
            stage.mirror.cancel_all()
            assert stage.mirror.held == 0

    play()
