"""The rules document over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from admin_fakes import DOCUMENT, FakeControl, LockedStore, stored

from understudy.admin import request as admin_request
from understudy.admin.payload import MOST_RULES_BYTES

RULES = "/api/v1/rules"
CURRENT = {"If-Match": '"7"', "Content-Type": "application/json"}
NEXT: dict[str, Any] = {"flags": {"shop": {}, "search": {}}}


def assert_problem(answer: httpx.Response, status: int) -> dict[str, object]:
    """*answer* is an RFC 9457 problem of *status*, without a traceback; returns its members."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in answer.text
    assert "File " not in answer.text
    return body


async def test_get_gives_the_document_and_its_tag(client: httpx.AsyncClient) -> None:
    """The body is the document alone; the version is in the ETag."""
    answer = await client.get(RULES)

    assert answer.status_code == 200
    assert answer.headers["etag"] == '"7"'
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT


async def test_get_names_the_history_where_no_store_keeps_it(
    client: httpx.AsyncClient, control: FakeControl
) -> None:
    """With the document and with the word that it is known; not where versions never begin anew."""
    assert "x-understudy-history" not in (await client.get(RULES)).headers
    control.succession.history = "0123abcd"
    for known in ('"6"', '"7"'):
        answer = await client.get(RULES, headers={"If-None-Match": known})
        assert answer.headers["x-understudy-history"] == "0123abcd"


@pytest.mark.parametrize("known", ['"7"', 'W/"7"', '"3", "7"', "*"])
async def test_a_known_version_is_not_sent_again(client: httpx.AsyncClient, known: str) -> None:
    """If-None-Match compares weakly, in lists too, and * knows everything."""
    answer = await client.get(RULES, headers={"If-None-Match": known})

    assert answer.status_code == 304
    assert answer.headers["etag"] == '"7"'
    assert answer.content == b""


@pytest.mark.parametrize("known", ['"6"', '"07"', '"seven"', '""', '"7x", "8"'])
async def test_another_version_is_sent(client: httpx.AsyncClient, known: str) -> None:
    """Only the very tag of the current version counts as known."""
    answer = await client.get(RULES, headers={"If-None-Match": known})

    assert answer.status_code == 200


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
async def test_a_tag_without_quotes_is_refused(client: httpx.AsyncClient, header: str) -> None:
    """A tag that cannot be read is a mistake to be told, not a mismatch."""
    method = "PUT" if header == "If-Match" else "GET"

    answer = await client.request(method, RULES, headers={header: "7"})

    assert "quotes" in str(assert_problem(answer, 400)["detail"])


@pytest.mark.parametrize("match", ['"7"', "*", '"3", "7"', ' "7" '])
async def test_put_replaces_the_version_it_names(
    client: httpx.AsyncClient, control: FakeControl, match: str
) -> None:
    """A PUT with the current tag, or *, stores the next version and says how far it has come."""
    answer = await client.put(RULES, json=NEXT, headers={"If-Match": match}, params={"reason": "search too"})

    assert answer.status_code == 200
    assert answer.headers["etag"] == '"8"'
    assert answer.json() == {
        "version": 8,
        "sha256": "ab" * 32,
        "author": "admin API (127.0.0.1)",
        "reason": "search too",
        "at": 1_767_000_000.0,
        "workers": 2,
        "applied": 2,
    }
    assert control.versions[-1].document == NEXT


async def test_put_takes_yaml(client: httpx.AsyncClient, control: FakeControl) -> None:
    """What stands in a file may be sent as it is; words like on and no stay text."""
    text = b"flags:\n  shop: {defaultVariant: on, country: [no, se]}\n"

    answer = await client.put(RULES, content=text, headers=CURRENT | {"Content-Type": "application/yaml"})

    assert answer.status_code == 200, answer.text
    assert control.versions[-1].document == {
        "flags": {"shop": {"defaultVariant": "on", "country": ["no", "se"]}}
    }


async def test_put_without_if_match_is_refused(client: httpx.AsyncClient, control: FakeControl) -> None:
    """Nobody overwrites what he has not seen without saying so."""
    answer = await client.put(RULES, json=NEXT)

    assert "If-Match" in str(assert_problem(answer, 428)["detail"])
    assert len(control.versions) == 1


@pytest.mark.parametrize("match", ['"6"', 'W/"7"', '"seven"', '"5", "6"'])
async def test_put_over_another_version_conflicts(
    client: httpx.AsyncClient, control: FakeControl, match: str
) -> None:
    """The loser learns the current tag, and nothing is stored."""
    answer = await client.put(RULES, json=NEXT, headers={"If-Match": match})

    assert_problem(answer, 412)
    assert answer.headers["etag"] == '"7"'
    assert len(control.versions) == 1


async def test_the_etag_flow_lets_one_of_two_writers_win(client: httpx.AsyncClient) -> None:
    """Two who read the same version: the first PUT wins, the second must read again."""
    tag = (await client.get(RULES)).headers["etag"]

    first = await client.put(RULES, json=NEXT, headers={"If-Match": tag})
    second = await client.put(RULES, json=NEXT, headers={"If-Match": tag})
    third = await client.put(RULES, json=NEXT, headers={"If-Match": second.headers["etag"]})

    assert [first.status_code, second.status_code, third.status_code] == [200, 412, 200]
    assert second.json()["actual"] == 8


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"flags": {,}}', "line 1, column 12"),
        (b'{\n"flags": }', "line 2, column 10"),
        (b"", "line 1, column 1"),
        (b'{"flags": {}, "flags": {}}', "duplicate key"),
        (b'{"flags": NaN}', "finite"),
        (b'{"flags": 1e999}', "finite"),
        (b'{"flags": 123456789012345678901}', "64 bits"),
        (b'{"flags": "\\ud800"}', "Unicode"),
        (b'{"flags": "\xff"}', "byte 11"),
        (b"[" * 200_000, "nested"),
    ],
)
async def test_a_broken_body_is_refused_with_its_place(
    client: httpx.AsyncClient, control: FakeControl, body: bytes, where: str
) -> None:
    """JSON that is broken, ambiguous, or says what JSON cannot say is a 400 that says where."""
    answer = await client.put(RULES, content=body, headers=CURRENT)

    assert where in str(assert_problem(answer, 400)["detail"])
    assert len(control.versions) == 1


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"flags: [1, 2", "line 1"),
        (b"flags: {a: 1}\nflags: {}\n", "flags"),
        (b"flags: !!python/object/apply:os.system [id]\n", "tag"),
        (
            b"a: &a [x,x,x,x,x,x,x,x,x]\n"
            + b"".join(
                b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9))
                for c in range(ord("b"), ord("k"))
            ),
            "values",
        ),
        (b"[" * 5000 + b"]" * 5000, "nested"),
    ],
)
async def test_broken_yaml_is_refused_with_its_place(
    client: httpx.AsyncClient, body: bytes, where: str
) -> None:
    """YAML that is broken, that would run something, or that unfolds without end is a 400."""
    answer = await client.put(RULES, content=body, headers=CURRENT | {"Content-Type": "application/yaml"})

    assert where in str(assert_problem(answer, 400)["detail"])


async def test_an_invalid_document_is_refused_whole(client: httpx.AsyncClient, control: FakeControl) -> None:
    """Every mistake comes with its path and a hint, and nothing is stored."""
    answer = await client.put(RULES, json={"rules": {}}, headers=CURRENT)

    assert assert_problem(answer, 422)["errors"] == [
        {"path": "", "message": "must hold flags", "hint": ""},
        {"path": "routes[0].flag", "message": "unknown flag 'shpo'", "hint": "did you mean shop?"},
    ]
    assert len(control.versions) == 1


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""]
)
async def test_another_media_type_is_refused(client: httpx.AsyncClient, kind: str) -> None:
    """The answer names the types that are taken; types that a form can send are not among them."""
    answer = await client.put(RULES, content=b"{}", headers=CURRENT | {"Content-Type": kind})

    assert_problem(answer, 415)
    assert answer.headers["accept"] == "application/json, application/yaml"


async def test_a_coded_body_is_refused(client: httpx.AsyncClient) -> None:
    """Nothing is decompressed, so no bomb can go off."""
    answer = await client.put(RULES, content=b"x", headers=CURRENT | {"Content-Encoding": "gzip"})

    assert_problem(answer, 415)
    assert answer.headers["accept-encoding"] == "identity"


async def test_too_large_a_body_is_refused_unread(client: httpx.AsyncClient) -> None:
    """A declared length over the bound is refused before a byte is read."""
    answer = await client.put(RULES, content=b" " * (MOST_RULES_BYTES + 1), headers=CURRENT)

    assert_problem(answer, 413)
    assert answer.headers["connection"] == "close"


async def test_a_body_without_length_is_bounded_while_read(client: httpx.AsyncClient) -> None:
    """Of an endless chunked body little more than the bound is read."""
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 65536
            yield b" " * 65536

    answer = await client.put(RULES, content=endless(), headers=CURRENT)

    assert_problem(answer, 413)
    assert read <= MOST_RULES_BYTES + 2 * 65536


async def test_a_document_at_the_bound_is_taken(client: httpx.AsyncClient) -> None:
    """Exactly four mebibytes pass."""
    body = orjson.dumps(NEXT)

    answer = await client.put(RULES, content=body.ljust(MOST_RULES_BYTES), headers=CURRENT)

    assert answer.status_code == 200


@pytest.mark.parametrize("reason", ["two\nlines", "\x1b[31mred", "x" * 501])
async def test_a_reason_is_one_line_of_text(client: httpx.AsyncClient, reason: str) -> None:
    """What later stands in a history or a terminal is checked when it comes in."""
    answer = await client.put(RULES, json=NEXT, headers=CURRENT, params={"reason": reason})

    assert_problem(answer, 422)


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_store_that_cannot_answer_is_503(
    client: httpx.AsyncClient, control: FakeControl, method: str
) -> None:
    """The store's own words say what to do; the client may try again."""
    control.failure = LockedStore()

    answer = await client.request(method, RULES, json=NEXT, headers={"If-Match": "*"})

    assert "locked" in str(assert_problem(answer, 503)["detail"])
    assert answer.headers["retry-after"] == "1"


async def test_a_store_that_hangs_is_503(
    client: httpx.AsyncClient, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every wait has an end."""
    monkeypatch.setattr(admin_request, "ANSWER_SECONDS", 0.0)
    control.hangs = True

    answer = await client.get(RULES)

    assert "in time" in str(assert_problem(answer, 503)["detail"])


async def test_the_history_is_newest_first(client: httpx.AsyncClient, control: FakeControl) -> None:
    """Who, when and why, without the documents themselves."""
    control.versions.append(stored(8, DOCUMENT, "admin API (::1)", "more"))

    versions = (await client.get(RULES + "/history")).json()["versions"]

    assert [item["version"] for item in versions] == [8, 7]
    assert versions[0] == {
        "version": 8,
        "sha256": "ab" * 32,
        "author": "admin API (::1)",
        "reason": "more",
        "at": 1_767_000_000.0,
    }


async def test_the_history_is_bounded(client: httpx.AsyncClient, control: FakeControl) -> None:
    """``limit`` asks for fewer."""
    control.versions.append(stored(8, DOCUMENT))

    answer = await client.get(RULES + "/history", params={"limit": "1"})

    assert [item["version"] for item in answer.json()["versions"]] == [8]


@pytest.mark.parametrize("limit", ["0", "201", "-1", "ten", "", "1e2", "99999999999999999999"])
async def test_a_bad_limit_is_refused(client: httpx.AsyncClient, limit: str) -> None:
    """A limit is a number from 1 to 200."""
    assert_problem(await client.get(RULES + "/history", params={"limit": limit}), 400)
