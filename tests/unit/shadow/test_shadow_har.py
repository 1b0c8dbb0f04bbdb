"""`understudy.shadow.har`: an entry of a HAR, without a secret in it, that a replay can ask again."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.messages import Answer, Headers, Taken
from understudy.replay.entry import Unusable, read_entry
from understudy.shadow import Redaction
from understudy.shadow.har import har_entry

HIDE = Redaction(
    key=b"k" * 16, headers=("authorization", "cookie", "set-cookie", "x-api-key", "proxy-authorization")
)
JSON: Headers = ((b"Content-Type", b"application/json"),)
FORM: Headers = ((b"Content-Type", b"application/x-www-form-urlencoded"),)


def entry(
    *,
    method: str = "POST",
    path: str = "/a",
    query: str = "",
    headers: Headers = (),
    body: bytes = b"",
    answer: bytes = b"",
    answer_headers: Headers = JSON,
    **more: Any,
) -> dict[str, Any]:
    taken = Taken(
        method=method,
        host="shop",
        path=path,
        query=query,
        at=1.5,
        seconds=0.25,
        unit=more.get("unit", ""),
        unit_at=more.get("unit_at", ""),
        headers=headers,
        body=body,
        body_bytes=more.get("body_bytes", len(body)),
        answer=Answer(status=200, headers=answer_headers, body=answer, length_bytes=len(answer)),
    )
    read = json.loads(har_entry(taken, HIDE))
    assert isinstance(read, dict)
    return read


SECRETS = (
    "hunter2hunter2",
    "eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
    "4111111111111111",
    "ada@example.com",
    "user-4711",
)


def test_no_secret_leaves() -> None:
    """In the URL, in fields, in JSON, forms and text, of the request and of the answer."""
    password, token, card, mail, unit = SECRETS
    told = json.dumps(
        [
            entry(
                path=f"/users/{mail}",
                query=f"api_key={password}&t={token}",
                headers=(
                    (b"Authorization", f"Bearer {password}".encode()),
                    (b"Cookie", f"sid={password}".encode()),
                    (b"X-Api-Key", password.encode()),
                    (b"X-Mail", mail.encode()),
                    (b"X-User", unit.encode()),
                    *JSON,
                ),
                body=json.dumps({"password": password, "deep": [{"note": f"card {card}"}]}).encode(),
                answer=json.dumps({"access_token": password, "mail": mail}).encode(),
                answer_headers=((b"Set-Cookie", f"sid={token}".encode()), *JSON),
                unit=unit,
                unit_at="header:x-user",
            ),
            entry(headers=FORM, body=f"password={password}&mail={mail}".encode()),
            entry(
                headers=((b"Content-Type", b"text/plain"),), body=f"write to {mail}, token={token}".encode()
            ),
            entry(
                headers=((b"Content-Type", b"multipart/form-data; boundary=x"),),
                body=f"--x\r\n\r\n{password}\r\n--x--".encode(),
            ),
            entry(headers=((b"Content-Encoding", b"gzip"), *JSON), body=b"\x1f\x8b" + password.encode()),
            entry(headers=JSON, body=b"\xff\xfe" + password.encode()),
        ]
    )
    assert [secret for secret in SECRETS if secret in told] == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (JSON, b'{"a": [1.50, "x"], "b": "gr\xc3\xbcn"}'),
        (FORM, b"a=1&b=c%20d"),
        (((b"Content-Type", b"text/plain; charset=utf-8"),), "grün".encode()),
        ((), b""),
    ],
)
def test_what_holds_no_secret_is_asked_again_as_it_was(headers: Headers, body: bytes) -> None:
    """The entry is read by a replay, byte for byte."""
    read = read_entry(entry(headers=(*headers, (b"X-A", b"1")), body=body, path="/a%20b", query="x=1"))
    assert (read.method, read.host, read.path, read.query) == ("POST", "shop", "/a%20b", "x=1")
    assert read.body == body
    assert read.headers == (*headers, (b"X-A", b"1"))
    assert read.at == 1.5


def test_a_body_that_was_left_out_is_missed_by_a_replay() -> None:
    """Bytes that cannot be searched are not written down, and their absence is told."""
    with pytest.raises(Unusable, match="body_missing"):
        read_entry(entry(body=b"\0\1\2"))


def test_hidden_credentials_are_not_sent_by_a_replay() -> None:
    """A placeholder is no credential."""
    read = read_entry(entry(headers=((b"Authorization", b"Bearer abcdefgh"), (b"Cookie", b"a=b"))))
    assert (read.headers, read.credentials) == ((), ())


def test_answers_are_decoded_or_left_out() -> None:
    """JSON of an answer is text; an answer that was cut off has only its size."""
    assert entry(answer=b'{"n": 1}')["response"]["content"] == {
        "size": 8,
        "mimeType": "application/json",
        "text": '{"n": 1}',
    }
    assert "text" not in entry(answer=b"\0\1")["response"]["content"]


@given(
    body=st.binary(max_size=40) | st.text(max_size=20).map(lambda text: json.dumps({text: [text]}).encode()),
    field=st.sampled_from(
        [b"application/json", b"text/html; charset=nope", b"application/x-www-form-urlencoded", b""]
    ),
    name=st.binary(min_size=1, max_size=5),
    path=st.text(st.characters(max_codepoint=255), max_size=10),
)
@settings(max_examples=50, deadline=None)
def test_nothing_raises_on_any_content(body: bytes, field: bytes, name: bytes, path: str) -> None:
    """Garbage becomes an entry that is JSON."""
    headers = ((b"Content-Type", field), (name, body.replace(b"\0", b"")))
    assert entry(headers=headers, body=body, path="/" + path, answer=body, answer_headers=headers)
