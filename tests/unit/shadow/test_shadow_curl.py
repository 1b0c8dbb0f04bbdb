"""The command that asks again: what the shell makes of it is the request, without a secret."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.messages import Answer, Asked, Pair
from understudy.shadow import Redaction
from understudy.shadow.curl import curl

HIDE = Redaction(key=b"k" * 32, headers=("authorization", "cookie"))
ORIGINS = {"v1": "http://127.0.0.1:9001", "v2": "http://127.0.0.1:9002/"}
NO_ANSWER = Answer(status=200, headers=[], body=b"", length_bytes=0)


def pair(
    *lines: bytes,
    method: str = "GET",
    path: str = "/orders/7",
    query: str = "",
    body: bytes = b"",
    body_bytes: int = 0,
    unit: str = "",
    unit_at: str = "",
) -> Pair:
    return Pair(
        service="v2",
        endpoint="GET /orders/{id}",
        flag="shop",
        method=method,
        path=path,
        query=query,
        at=0.0,
        primary=NO_ANSWER,
        shadow=NO_ANSWER,
        control=None,
        asked=Asked(
            unit=unit,
            unit_at=unit_at,
            primary="v1",
            lines=b"\r\n".join((b"Host: shop", *lines)),
            body=body,
            body_bytes=body_bytes or len(body),
        ),
    )


def command(given_pair: Pair) -> str:
    return curl(given_pair, HIDE.of_unit(given_pair.asked.unit, given_pair.asked.unit_at), ORIGINS)


def words(text: str, **variables: str) -> list[str]:
    """The arguments that a shell hands to curl for *text*."""
    script = f'curl() {{ printf "%s\\0" "$@"; }}; {text}'
    done = subprocess.run(["/bin/sh", "-uc", script], capture_output=True, check=True, env=variables)
    assert done.stderr == b""
    return os.fsdecode(done.stdout).split("\0")[:-1]


def test_both_sides_are_asked_the_same() -> None:
    """The primary, then the shadow; as it went on, without what curl says by itself."""
    asked = pair(b"Accept: */*", b"Accept-Encoding: gzip", b"traceparent: 00-1-1-00", query="q=a%20b&n=1")
    assert words(command(asked)) == [
        "-sSig",
        "--path-as-is",
        "-w",
        "\\n",
        "-H",
        "Host: shop",
        "-H",
        "Accept: */*",
        "--compressed",
        "http://127.0.0.1:9001/orders/7?q=a%20b&n=1",
        "http://127.0.0.1:9002/orders/7?q=a%20b&n=1",
    ]


def test_a_request_that_may_change_something_goes_to_the_shadow_alone() -> None:
    """Pasting it must not order a second time."""
    asked = pair(b"Content-Type: application/json", method="POST", body=b'{"a": "it\'s"}')
    assert words(command(asked))[-4:] == [
        "Content-Type: application/json",
        "--data-raw",
        '{"a": "it\'s"}',
        "http://127.0.0.1:9002/orders/7",
    ]


def test_head_is_asked_as_head() -> None:
    """curl -X HEAD would wait for a body."""
    assert "--head" in words(command(pair(method="HEAD")))


def test_secrets_are_variables() -> None:
    """Credentials, secret names, what a detector finds; set them and the request is whole again."""
    asked = pair(
        b"Authorization:",
        b"X-Api-Key: s3cret-1",
        b"X-Mail: a@example.com",
        query="access_token=s3cret-2&to=b%40example.com&c@example.com=1&n=1",
        path="/mail/d@example.com",
    )
    text = command(asked)
    for private in ("s3cret", "example.com", "%40"):
        assert private not in text
    given_words = words(
        text,
        AUTHORIZATION="Bearer x",
        X_API_KEY="k",
        X_MAIL="m",
        SEGMENT_2="d",
        ACCESS_TOKEN="t",
        TO="b",
        PARAMETER_3="c=1",
    )
    assert "Authorization: Bearer x" in given_words
    assert given_words[-2] == "http://127.0.0.1:9001/mail/d?access_token=t&to=b&c=1&n=1"


@pytest.mark.parametrize(
    ("unit", "unit_at", "line", "query"),
    [
        ("alice", "header:x-user", b"X-User: alice", ""),
        ("7", "header:X-User", b"x-user: 7", ""),
        ("7", "query:uid", b"A: b", "uid=7"),
    ],
)
def test_the_unit_is_a_variable(unit: str, unit_at: str, line: bytes, query: str) -> None:
    """Where the route finds it, however short."""
    text = command(pair(line, query=query, unit=unit, unit_at=unit_at))
    assert "$X_USER" in text or "$UID" in text
    assert unit not in text.replace("/orders/7", "").replace("127.0.0.1", "")


def test_bodies_are_redacted() -> None:
    """A JSON body and a form keep their shape; what is not text is sent from a file."""
    json_body = command(
        pair(b"Content-Type: application/json", method="PUT", body=b'{"password":"hunter2","n":1}')
    )
    form = command(
        pair(b"Content-Type: application/x-www-form-urlencoded", method="PUT", body=b"password=hunter2&n=1")
    )
    part = b'--B\r\nContent-Disposition: form-data; name="password"\r\n\r\nhunter2\r\n--B--'
    multipart = command(pair(b"Content-Type: multipart/form-data; boundary=B", method="PUT", body=part))
    for text in (json_body, form, multipart):
        assert "hunter2" not in text
    assert '"n":1' in json_body
    assert "&n=1" in form
    assert "--data-binary @request-body" in multipart
    assert "--data-binary @request-body" in command(pair(method="PUT", body=b"\x00\xff"))
    assert "--data-binary @request-body" in command(pair(method="PUT", body_bytes=10_000))


def test_without_an_address_the_sides_are_variables() -> None:
    """A Unix socket is no URL."""
    text = curl(pair(), HIDE, {"v1": "unix:/run/v1.sock"})
    assert words(text, PRIMARY="http://a", SHADOW="http://b")[-2:] == [
        "http://a/orders/7",
        "http://b/orders/7",
    ]


def test_what_nobody_knows_is_not_told() -> None:
    """A pair without its request has no command."""
    assert curl(pair()._replace(asked=Asked()), HIDE, ORIGINS) == ""


NASTY = "$(touch pwned)`touch pwned`'\"\\;|&<>!{a,b}[1-9]*?#~ \t\n\x1b\x7fé€"


@settings(max_examples=50, deadline=None)
@given(
    st.text(st.sampled_from(NASTY), max_size=25),
    st.text(st.sampled_from(NASTY), max_size=25),
    st.text(st.sampled_from("abc$`'!#&*|~^_-."), min_size=1, max_size=10),
    st.text(st.sampled_from(NASTY), max_size=25),
    st.text(st.sampled_from(NASTY), max_size=25),
)
def test_nothing_is_executed(path: str, query: str, name: str, value: str, body: str) -> None:
    """Whatever a client sends: the shell sees one command with plain arguments, or unset variables."""
    line = f"{name}: {value}".encode("latin-1", "replace").replace(b"\r", b"").replace(b"\n", b"")
    asked = pair(
        line,
        path="/" + path.encode("latin-1", "replace").decode("latin-1"),
        query=query.encode("latin-1", "replace").decode("latin-1"),
        method="POST",
        body=body.encode(),
    )
    text = command(asked)
    script = f'curl() {{ printf "%s\\0" "$@"; }}; {text}'
    done = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, check=True, env={"PATH": "/nowhere"}
    )
    assert done.stderr == b""
    assert done.stdout.startswith(b"-sSig\0--path-as-is\0")
    assert not Path("pwned").exists()
