"""What goes on, what stays and what is ours: DESIGN 6, rules 1, 5, 8 and 11, both ways."""

import pytest
from http1_harness import FLAGGED, VIA, get, ok, post, scripted, stage

CLIENT_FIELDS = (
    b"X-Understudy-Flag: evil",
    b"x-understudy-variant: evil",
    b"X_UNDERSTUDY_VARIANT: evil",
    b"x-Understudy_Flag: evil",
    b"X-Understudy-Anything: evil",
)


@scripted
async def test_a_plain_request_and_its_answer() -> None:
    """Target, fields, their order and spelling arrive as sent; ours stand behind; nothing else is added."""
    async with stage() as s:
        client, upstream, request = await s.asked(
            get(
                b"/a%2Fb//c/../d?x=%20&y=+&&z",
                b"x-ODD: 1",
                b"Accept: a",
                b"X-Odd: 2",
                b"accept: b",
                b"X-Empty: ",
            )
        )
        assert request.start == b"GET /a%2Fb//c/../d?x=%20&y=+&&z HTTP/1.1"
        assert request.fields == [
            (b"Host", b"a.example"),
            (b"x-ODD", b"1"),
            (b"Accept", b"a"),
            (b"X-Odd", b"2"),
            (b"accept", b"b"),
            (b"X-Empty", b""),
            (b"X-Forwarded-For", b"127.0.0.1"),
            (b"X-Forwarded-Proto", b"http"),
            (b"Via", b"1.1 " + VIA),
            (b"X-Forwarded-Host", b"a.example"),
        ]
        upstream.send(ok(b"hello", b"X-B: 2", b"Set-Cookie: a=1", b"set-cookie: b=2", b"X-b: 1"))
        answer = await client.message()
        assert answer.start == b"HTTP/1.1 200 OK"
        assert answer.fields == [
            (b"X-B", b"2"),
            (b"Set-Cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
            (b"X-b", b"1"),
            (b"Content-Length", b"5"),
            (b"Via", b"1.1 " + VIA),
        ]
        assert answer.body == b"hello"


@scripted
async def test_every_byte_by_itself() -> None:
    """A dialogue dribbled byte by byte, both ways, reads like one sent at once."""
    request = post(b"12345", b"X-A: one", b"X-Empty:", b"Cookie: a=1; b=2", target=b"/p?q=1")
    async with stage() as s:
        client = await s.client()
        await client.dribble(request)
        upstream = await s.upstream.accepted()
        seen = await upstream.message()
        assert seen.start == b"POST /p?q=1 HTTP/1.1"
        assert seen.fields[:4] == [
            (b"Host", b"a.example"),
            (b"X-A", b"one"),
            (b"X-Empty", b""),
            (b"Cookie", b"a=1; b=2"),
        ]
        assert seen.body == b"12345"
        await upstream.dribble(ok(b"hello", b"X-B: 2", b"X-Empty:", b"X-C: 3"))
        answer = await client.message()
        assert answer.fields[:3] == [(b"X-B", b"2"), (b"X-Empty", b""), (b"X-C", b"3")]
        assert answer.body == b"hello"


@pytest.mark.parametrize("version", ["whole", "split"])
@scripted
async def test_split_at_every_place(version: str) -> None:
    """Wherever a request and its answer are split, the same bytes go on, on the same two connections."""
    request, reply = get(b"/x", b"X-A: one"), ok(b"hi", b"X-B: two")
    places = range(1, len(request)) if version == "split" else [len(request)]
    async with stage() as s:
        client = await s.client()
        for at in places:
            await client.send_split(request, at)
            upstream = s.upstream.connections[0] if s.upstream.connections else await s.upstream.accepted()
            seen = await upstream.message()
            assert (seen.start, seen.fields[:2]) == (
                b"GET /x HTTP/1.1",
                [(b"Host", b"a.example"), (b"X-A", b"one")],
            )
            await upstream.send_split(reply, min(at, len(reply)))
            answer = await client.message()
            assert (answer.start, answer.fields[0], answer.body) == (
                b"HTTP/1.1 200 OK",
                (b"X-B", b"two"),
                b"hi",
            )
        assert len(s.upstream.connections) == 1


@scripted
async def test_hop_by_hop_fields_of_a_request_stay_here() -> None:
    """What Connection names, in any of its fields and cases, and the hop-by-hop fields do not go on."""
    async with stage() as s:
        _, _, request = await s.asked(
            get(
                b"/",
                b"Connection: X-One, keep-alive",
                b"connection: ,x-TWO ,",
                b"x-one: 1",
                b"X-Two: 2",
                b"X-Three: 3",
                b"Keep-Alive: timeout=5",
                b"Proxy-Connection: keep-alive",
                b"TE: trailers",
                b"Trailer: X-Sum",
                b"Proxy-Authorization: Basic eA==",
                b"Proxy-Authenticate: Basic",
                b"Authorization: Bearer t",
            )
        )
        names = [name for name, _ in request.fields]
        assert names == [
            b"Host",
            b"X-Three",
            b"Authorization",
            b"X-Forwarded-For",
            b"X-Forwarded-Proto",
            b"Via",
            b"X-Forwarded-Host",
        ]


@pytest.mark.parametrize(
    "victim", [b"host", b"x-forwarded-for", b"via", b"x-understudy-flag", b"content-length"]
)
@scripted
async def test_connection_cannot_name_away_what_is_ours(victim: bytes) -> None:
    """A client that names our fields in Connection removes its own at most, never ours."""
    async with stage(FLAGGED) as s:
        _, _, request = await s.asked(post(b"abc", b"Connection: close, " + victim))
        assert request.body == b"abc"
        assert request.field(b"host") == b"a.example"
        assert request.field(b"x-forwarded-for") == b"127.0.0.1"
        assert request.field(b"via") == b"1.1 " + VIA
        assert request.field(b"x-understudy-flag") == b"shop"
        assert request.field(b"x-understudy-variant") == b"stable"


@scripted
async def test_hop_by_hop_fields_of_an_answer_stay_here() -> None:
    """The same on the way back; Connection of the upstream says nothing about the client's."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(
            ok(
                b"ok",
                b"Connection: X-One, close",
                b"X-One: 1",
                b"X-Two: 2",
                b"Keep-Alive: timeout=5",
                b"Proxy-Authenticate: Basic",
                b"Trailer: X-Sum",
                b"Upgrade: h2c",
            )
        )
        answer = await client.message()
        assert [name for name, _ in answer.fields] == [b"X-Two", b"Content-Length", b"Via"]
        client.send(get(b"/2"))
        assert (await (await s.upstream.accepted()).message()).start == b"GET /2 HTTP/1.1"


@scripted
async def test_an_upstream_cannot_name_away_the_framing() -> None:
    """An answer whose Connection names Content-Length still reaches the client with a length."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(ok(b"hello", b"Connection: content-length, keep-alive"))
        answer = await client.message()
        assert answer.field(b"content-length") == b"5"
        assert answer.body == b"hello"


@scripted
async def test_cohort_fields_of_a_client_are_removed_in_any_spelling() -> None:
    """Only our own X-Understudy fields reach the upstream, once each."""
    async with stage(FLAGGED) as s:
        _, _, request = await s.asked(get(b"/", *CLIENT_FIELDS))
        ours = [
            (n, v) for n, v in request.fields if n.lower().replace(b"_", b"-").startswith(b"x-understudy")
        ]
        assert ours == [(b"X-Understudy-Flag", b"shop"), (b"X-Understudy-Variant", b"stable")]


@scripted
async def test_without_a_flag_no_cohort_field_goes_on() -> None:
    """A route without a flag adds none, and the client's are removed all the same."""
    async with stage() as s:
        _, _, request = await s.asked(get(b"/", *CLIENT_FIELDS))
        assert not [n for n, _ in request.fields if b"nderstudy" in n.lower()]


@scripted
async def test_forwarding_fields_are_overwritten() -> None:
    """What an untrusted client says about earlier hops is dropped, in any spelling; Via is kept."""
    async with stage() as s:
        _, _, request = await s.asked(
            get(
                b"/",
                b"X-Forwarded-For: 1.2.3.4",
                b"x_forwarded_for: 1.2.3.4",
                b"X-FORWARDED-HOST: evil",
                b"X-Forwarded-Proto: https",
                b"Forwarded: for=1.2.3.4",
                b"Via: 1.0 fred",
            )
        )
        assert request.fields[1:] == [
            (b"Via", b"1.0 fred"),
            (b"X-Forwarded-For", b"127.0.0.1"),
            (b"X-Forwarded-Proto", b"http"),
            (b"Via", b"1.1 " + VIA),
            (b"X-Forwarded-Host", b"a.example"),
        ]


@scripted
async def test_a_trusted_peer_is_believed_and_appended_to() -> None:
    """Behind a trusted proxy its fields stay; the peer's address is appended to the one list of hops."""
    async with stage(trusted_proxies=["127.0.0.0/8"]) as s:
        _, _, request = await s.asked(
            get(
                b"/",
                b"X-Forwarded-For: 1.2.3.4",
                b"X-Forwarded-For: 5.6.7.8 ",
                b"X-Forwarded-Host: shop.example",
                b"X-Forwarded-Proto: https",
                b"Forwarded: for=1.2.3.4, for=5.6.7.8",
            )
        )
        assert request.fields_named(b"x-forwarded-for") == [b"1.2.3.4, 5.6.7.8, 127.0.0.1"]
        assert request.fields_named(b"x-forwarded-host") == [b"shop.example"]
        assert request.fields_named(b"x-forwarded-proto") == [b"https"]
        assert request.fields_named(b"forwarded") == [
            b"for=1.2.3.4, for=5.6.7.8, for=127.0.0.1;host=a.example;proto=http"
        ]
        assert request.field(b"via") == b"1.1 " + VIA


@scripted
async def test_a_trusted_peer_that_says_nothing_is_completed() -> None:
    """What the trusted peer left out is what we see ourselves."""
    async with stage(trusted_proxies=["127.0.0.1"]) as s:
        _, _, request = await s.asked(get(b"/", b"X-Forwarded-For:"))
        assert request.field(b"x-forwarded-for") == b"127.0.0.1"
        assert request.field(b"x-forwarded-host") == b"a.example"
        assert request.field(b"x-forwarded-proto") == b"http"


@scripted
async def test_behind_a_trusted_peer_the_unit_ip_is_the_clients() -> None:
    """``ip`` is the right-most hop that is not trusted, so users behind one balancer are not one unit."""
    rules = {
        **FLAGGED,
        "flags": {
            "shop": {
                "state": "ENABLED",
                "variants": {"stable": {"serve": "a"}, "canary": {"serve": "a"}},
                "defaultVariant": "stable",
                "targeting": {"if": [{"==": [{"var": "ip"}, "5.6.7.8"]}, "canary", "stable"]},
            }
        },
    }
    async with stage(rules, trusted_proxies=["127.0.0.1", "10.0.0.0/8"]) as s:
        _, _, request = await s.asked(get(b"/", b"X-Forwarded-For: 9.9.9.9, 5.6.7.8, 10.1.1.1"))
        assert request.field(b"x-understudy-variant") == b"canary"
        client, _, request = await s.asked(get(b"/", b"X-Forwarded-For: 5.6.7.8, nonsense"))
        assert request.field(b"x-understudy-variant") == b"stable"
        client.close()
    async with stage(rules) as s:
        _, _, request = await s.asked(get(b"/", b"X-Forwarded-For: 5.6.7.8"))
        assert request.field(b"x-understudy-variant") == b"stable"


@scripted
async def test_our_own_via_is_a_loop() -> None:
    """508, counted, and nothing goes round once more."""
    async with stage() as s:
        answer = await s.refused(get(b"/", b"Via: 1.1 fred, 1.1 " + VIA))
        assert (answer.status, answer.reason) == (508, "loop")
        assert s.errors == {"loop": 1}


@scripted
async def test_http_1_0_goes_on_as_http_1_1() -> None:
    """Requests of HTTP/1.0 go on as HTTP/1.1 with the service's own Host when they had none."""
    async with stage() as s:
        _, _, request = await s.asked(b"GET /old HTTP/1.0\r\nX-A: 1\r\n\r\n")
        assert request.start == b"GET /old HTTP/1.1"
        assert request.field(b"host") == b"127.0.0.1:%d" % s.upstream.port
        assert request.fields_named(b"x-forwarded-host") == []
        assert request.field(b"via") == b"1.0 " + VIA


@scripted
async def test_space_around_a_value_changes_no_decision() -> None:
    """Outer space is not part of a value (RFC 9110 5.5): the same variant with and without."""
    async with stage(FLAGGED) as s:
        _, _, request = await s.asked(get(b"/", b"X-Beta: \t yes \t"))
        assert request.field(b"x-understudy-variant") == b"dark"


@scripted
async def test_underscored_twins_of_framing_fields_do_not_go_on() -> None:
    """WSGI merges ``-`` and ``_``; such a twin of a field that frames or names a hop is dropped."""
    async with stage() as s:
        _, _, request = await s.asked(
            get(
                b"/",
                b"Content_Length: 5",
                b"transfer_encoding: chunked",
                b"Proxy_Connection: x",
                b"X_Fine: 1",
            )
        )
        assert [n for n, _ in request.fields if b"_" in n] == [b"X_Fine"]
