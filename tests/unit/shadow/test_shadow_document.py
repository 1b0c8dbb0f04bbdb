"""One whole answer as it is stored: bounded, redacted, readable; whatever it holds."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.messages import Answer
from understudy.shadow import Redaction
from understudy.shadow.document import MOST_BYTES, MOST_ITEMS, shown_answer

HIDE = Redaction(key=b"k" * 32, headers=("authorization", "set-cookie"))


def answer(
    body: bytes, kind: str = "application/json", *fields: tuple[bytes, bytes], length: int = 0
) -> Answer:
    return Answer(
        status=200,
        headers=[(b"Content-Type", kind.encode()), *fields],
        body=body,
        length_bytes=length or len(body),
    )


def shown(body: bytes, kind: str = "application/json", hide: Redaction = HIDE) -> Any:
    return shown_answer(answer(body, kind), hide)["body"]


def test_an_answer_is_shown_whole() -> None:
    """Status, fields in their order with their spelling, the tree of the body."""
    told = shown_answer(answer(b'{"a":[1,2.5,null,true,"x"]}', "application/json", (b"X-One", b"1")), HIDE)
    assert told == {
        "status": 200,
        "headers": [["Content-Type", "application/json"], ["X-One", "1"]],
        "body": {"a": [1, 2.5, None, True, "x"]},
    }


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (b"", "application/json", None),
        (b"a=1&b=2&a=3", "application/x-www-form-urlencoded", {"a": ["1", "3"], "b": "2"}),
        (b'{"a":1}\n{"a":2}\n', "application/x-ndjson", [{"a": 1}, {"a": 2}]),
        (b"<p>hello</p>", "text/html", "<p>hello</p>"),
        (b'{"a": 1', "application/json", '{"a": 1'),
        (b'{"a": 1}', "text/plain", {"a": 1}),
        (
            (
                b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n--B\r\n'
                b'Content-Disposition: form-data; name="f"; filename="x.bin"\r\n\r\n\x00\xff\r\n--B--\r\n'
            ),
            "multipart/form-data; boundary=B",
            {
                "a": {"headers": {}, "content": "one"},
                "f": {"headers": {"filename": "x.bin"}, "content": "2 bytes, sha256 06eb7d6a69ee"},
            },
        ),
    ],
)
def test_bodies_are_read_by_what_they_are(body: bytes, kind: str, told: object) -> None:
    """Forms, lines and trees are laid out; the rest is text."""
    assert shown(body, kind) == told


def test_codings_are_undone() -> None:
    """Nobody reads gzip."""
    packed = answer(gzip.compress(b'{"a":1}'), "application/json", (b"Content-Encoding", b"gzip"))
    assert shown_answer(packed, HIDE)["body"] == {"a": 1}


@pytest.mark.parametrize("kind", ["image/png", "application/json", "text/plain", ""])
def test_bytes_are_described(kind: str) -> None:
    """By their number and a keyed hash, so that equal stays equal."""
    one, other = shown(b"\x00\xff\x01", kind), shown(b"\x00\xff\x02", kind)
    assert one.startswith("[3 bytes that are no text, hash ")
    assert one != other


def test_long_lists_are_cut_with_a_word() -> None:
    """Both sides in the same way."""
    told = shown(json.dumps(list(range(1000))).encode())
    assert told == [*range(MOST_ITEMS), "… 950 more items"]


@pytest.mark.parametrize(
    "value",
    [
        "x" * 100_000,
        ["é" * 1000] * 100,
        {f"key {n}": "v" * 100 for n in range(5000)},
        [[["deep"] * 40] * 40] * 40,
        {"a@example.com " * 30 + f"{n}": ["b@example.com"] * 40 for n in range(3)},
        [f"{n}@example.com" for n in range(10_000)],
        {f"n{n}": {f"m{m}": "c@example.com" for m in range(45)} for n in range(45)},
    ],
    ids=["text", "letters", "fields", "nested", "long names", "masked", "many masked"],
)
def test_sixteen_kilobytes_at_most(value: object) -> None:
    """Even where hiding makes a text longer."""
    told = shown(json.dumps(value).encode())
    assert len(json.dumps(told, ensure_ascii=False).encode()) <= MOST_BYTES * 1.2
    assert told != "[too long to be shown]"


def test_what_differs_is_shown_first() -> None:
    """However far down a list or an object it stands, and however long what comes before it is."""
    items = [{"n": number, "pad": "x" * 500} for number in range(900)]
    body = json.dumps({"first": "y" * 30_000, "items": items, "a/b": {"last": 1}}).encode()
    places = ["/body/items/700/n", "/body/a~1b/last", "/headers/x", "", "/body/items/9999", "/body/items/-/x"]
    told: Any = shown_answer(answer(body), HIDE, places)["body"]
    assert told["a/b"] == {"last": 1}
    assert {"n": 700, "pad": "x" * 500} in told["items"]
    assert list(told) == ["first", "items", "a/b"]
    assert told["items"][0] == "… 700 more items" or told["items"][0]["n"] == 0
    assert told["items"][-1] == "… 199 more items"


def test_fields_are_bounded() -> None:
    """A hundred of a kilobyte."""
    many = answer(b"", "a/b", *[(b"X-%d" % n, b"v" * 5000) for n in range(500)])
    headers = shown_answer(many, HIDE)["headers"]
    assert isinstance(headers, list)
    assert (len(headers), len(headers[50][1])) == (100, 1001)


@settings(max_examples=50, deadline=None)
@given(
    st.binary(max_size=300) | st.text(max_size=100).map(lambda text: json.dumps({"a": text}).encode()),
    st.sampled_from(
        ["application/json", "text/html", "multipart/form-data; boundary=B", "x", "text/x; charset=utf-7"]
    ),
    st.sampled_from([b"", b"gzip", b"br", b"deflate, gzip", b"nothing"]),
    st.integers(0, 1000),
)
def test_any_bytes_are_taken(body: bytes, kind: str, coding: bytes, more: int) -> None:
    """Never an exception, and JSON that any store can keep."""
    given_answer = answer(body, kind, (b"Content-Encoding", coding), length=len(body) + more)
    json.dumps(shown_answer(given_answer, HIDE)).encode("utf-8")


@pytest.mark.parametrize("depth", [40, 900, 20_000])
def test_deep_documents_are_cut(depth: int) -> None:
    """However deep."""
    assert shown(b'{"a":' * depth + b"1" + b"}" * depth)
    assert shown(b"[" * depth + b"1" + b"]" * depth)


SECRET = "hunter2xyz"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (f'{{"password": "{SECRET}"}}', "application/json"),
        (f'{{"user": {{"accessToken": ["{SECRET}"]}}}}', "application/json"),
        (json.dumps({"inner": json.dumps({"password": SECRET})}), "application/json"),
        (json.dumps({"inner": json.dumps({"x": json.dumps([{"pin": SECRET}])})}), "application/json"),
        (f'{{"password": "{SECRET}", "cut": [1, 2', "application/json"),
        ('{"a": "' + json.dumps(json.dumps({"secret": SECRET}))[1:-3], "application/json"),
        (f'<input type="password" name="password" value="{SECRET}">', "text/html"),
        (f"<input value='{SECRET}' id=csrf_token />", "text/html"),
        (f'<meta name="csrf-token" content="{SECRET}">', "text/html"),
        (f'<input name="password" value="{SECRET}', "text/html"),
        (f"<login><ns:password kind='x'>{SECRET}</ns:password></login>", "application/xml"),
        (f'<login password="{SECRET}"/>', "text/xml"),
        (f"user=1&password={SECRET}", "application/x-www-form-urlencoded"),
        (f"access_token={SECRET}&x=1", "text/plain"),
        (
            f'--B\r\nContent-Disposition: form-data; name="password"\r\n\r\n{SECRET}\r\n--B--',
            "multipart/form-data; boundary=B",
        ),
        (
            (
                '--B\r\nContent-Disposition: form-data; name="page"\r\nContent-Type: application/xml\r\n\r\n'
                f"<a><password>{SECRET}</password><b pin='{SECRET}'/></a>\r\n--B--"
            ),
            "multipart/form-data; boundary=B",
        ),
        (f'{{"token":"{SECRET}"}}\n{{"token":"{SECRET}"}}', "application/x-ndjson"),
        (f'event: login\ndata: {{"session_id": "{SECRET}"}}\n\n', "text/event-stream"),
        (f"password: {SECRET}\n", "application/yaml"),
    ],
)
def test_secrets_are_hidden_wherever_they_stand(body: str, kind: str) -> None:
    """By their name, in every format, cut ones and nested ones too."""
    told = json.dumps(shown(body.encode(), kind))
    assert SECRET not in told
    assert "redacted" in told


@pytest.mark.parametrize(
    "text",
    [
        f"…type=hidden name='csrf_token' value='{SECRET}'><p>",
        f"…hidden value='{SECRET}'><p>",
        f'…e" value="{SECRET}…',
        f"…{SECRET}</password><user>x</user>",
        f'--B\r\nContent-Disposition: form-data; name="pin"\r\nX: text/plain\r\n\r\n{SECRET}\r\n--B--',
        f'name="password"\n\n{SECRET}',
    ],
)
def test_what_is_left_of_a_tag_or_a_part_is_hidden(text: str) -> None:
    """A difference in a page is shown with what stands around it, which is cut."""
    assert SECRET not in HIDE.text(text)
    assert "redacted" in HIDE.text(text)


def test_what_stands_beside_a_secret_stays() -> None:
    """Hiding takes no more than it must."""
    page = b'<form><input name="q" value="tea"><input name="password" value="hunter2xyz"><b>ok</b></form>'
    told = shown(page, "text/html")
    assert "tea" in told
    assert "<b>ok</b>" in told


def test_the_unit_is_hidden() -> None:
    """Its text stands nowhere, as a word of its own; a short one is hidden where the route finds it."""
    hide = HIDE.of_unit("alice77", "header:x-user")
    body = json.dumps({"by": "alice77", "alice77": 1, "text": "hello alice77!", "malice77": 2}).encode()
    given_answer = answer(body, "application/json", (b"X-User", b"alice77"), (b"X-Other", b"for alice77"))
    told = json.dumps(shown_answer(given_answer, hide))
    assert "alice77" not in told.replace("malice77", "")
    short = HIDE.of_unit("7", "header:x-user")
    told = json.dumps(shown_answer(answer(b'{"count": 7}', "application/json", (b"X-User", b"7")), short))
    assert '"count": 7' in told
    assert '["X-User", "7"]' not in told


@pytest.mark.parametrize("text", ["/u/alice%2F77%3D", "/u/alice%2f77%3d", "id=alice/77=", "alice~177="])
def test_a_unit_is_hidden_however_it_is_escaped(text: str) -> None:
    """In links, in redirects, in pointers."""
    hide = HIDE.of_unit("alice/77=", "header:x-user")
    assert "alice" not in hide.text(text)


def test_an_escaped_address_is_an_address() -> None:
    """A redirect names whom it is for."""
    shown = HIDE.value("/headers/Location", "https://x.example/in?for=alice%40example.com&n=1")
    assert "alice" not in str(shown)
    assert str(shown).endswith("&n=1")
