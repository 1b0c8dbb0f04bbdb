"""Bodies by content type: `understudy.comparators.body`, `content`, `formats`, `text`, `excerpt`."""

import encodings
import gzip
import sys
import zlib
from random import Random
from typing import Any

import brotli
import orjson
import pytest
from comparators_examples import answer, compare, named
from hypothesis import given
from hypothesis import strategies as st

from understudy.comparators.content import MOST_DECODED_BYTES, codings_of, decoded
from understudy.comparators.excerpt import first_difference
from understudy.messages import Answer

if sys.version_info >= (3, 14):
    import compression.zstd as zstd
else:
    import backports.zstd as zstd

JSON = "application/json"
raw_deflate = zlib.compressobj(wbits=-15)
CODED = {
    "gzip": gzip.compress(b'{"a": 1}', mtime=0),
    "deflate": zlib.compress(b'{"a": 1}'),
    "Deflate": raw_deflate.compress(b'{"a": 1}') + raw_deflate.flush(),
    "br": brotli.compress(b'{"a": 1}'),
    "zstd": zstd.compress(b'{"a": 1}'),
    "gzip, br": brotli.compress(gzip.compress(b'{"a": 1}', mtime=0)),
    "identity": b'{"a": 1}',
}

DICTIONARY = zstd.train_dict([f"words of a dictionary {n}".encode() * 9 for n in range(400)], 1000)
unsized = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
WIDE_WINDOW = unsized.compress(b"x" * 1000) + unsized.flush()
"""A frame whose window is 128 MiB, 16 times what RFC 9659 lets a sender use."""


def coded(body: bytes, coding: str, kind: str = JSON) -> Any:
    return answer(body, kind=kind, fields=[("Content-Encoding", coding)])


@pytest.mark.parametrize("coding", CODED)
def test_the_content_coding_is_undone(coding: str) -> None:
    """Every coding gives the same content; that it is another coding is a header difference."""
    found = compare(answer('{"a":1}', kind=JSON), coded(CODED[coding], coding))
    assert named(found) == [("/headers/content-encoding", "extra")]
    found = compare(coded(gzip.compress(b'{"a":2}'), coding="gzip"), coded(CODED[coding], coding))
    assert ("/body/a", "value") in named(found)


def test_two_gzip_members_are_one_body() -> None:
    """RFC 1952 allows several members."""
    two = gzip.compress(b'{"a"') + gzip.compress(b": 1}")
    assert compare(coded(two, "gzip"), coded(gzip.compress(b'{"a":1}'), "gzip")) == []


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (CODED["gzip"][:-4], "gzip"),
        (CODED["br"][:-1], "br"),
        (CODED["deflate"] + b"rest", "deflate"),
        (b"not gzip", "gzip"),
        (CODED["zstd"][:-1], "zstd"),
        (b"not zstd", "zstd"),
        (b"", "br"),
        (b"", "zstd"),
        (zstd.compress(bytes(MOST_DECODED_BYTES + 1)), "zstd"),
        (zstd.compress(b"x" * 100) + zstd.compress(bytes(MOST_DECODED_BYTES)), "zstd"),
        (WIDE_WINDOW, "zstd"),
        (zstd.compress(b"words of a dictionary", zstd_dict=DICTIONARY), "zstd"),
        (gzip.compress(b"", mtime=0) * 1001, "gzip"),
        (zstd.compress(b"") * 1001, "zstd"),
        (gzip.compress(bytes(MOST_DECODED_BYTES + 1), mtime=0), "gzip"),
        (brotli.compress(bytes(MOST_DECODED_BYTES + 1)), "br"),
        (zlib.compress(bytes(MOST_DECODED_BYTES + 1)), "deflate"),
        (b"x", "snappy"),
        (b"x", "gzip, gzip, gzip, gzip"),
    ],
)
def test_what_cannot_be_undone_is_compared_as_bytes(body: bytes, coding: str) -> None:
    """Damaged, cut, unknown, or a bomb: one difference at /body, or none when the bytes are equal."""
    sample = coded(body, coding)
    assert decoded(sample, codings_of(sample)) is None
    assert compare(sample, coded(body, coding)) == []
    other = answer(body + b"!", kind=JSON, fields=[("Content-Encoding", coding)])
    assert named(compare(sample, other)) == [("/body", "body")]


def test_two_zstd_frames_and_a_skippable_one_are_one_body() -> None:
    """RFC 8878 3.1: frames follow one another; a skippable one (3.1.2) holds nothing."""
    skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    two = zstd.compress(b'{"a"') + skippable + zstd.compress(b": 1}")
    assert compare(coded(two, "zstd"), coded(zstd.compress(b'{"a":1}'), "zstd")) == []


def test_brotli_up_to_the_limit_is_undone() -> None:
    """A body of exactly the limit is content; one of many times its size is decoded whole."""
    whole = bytes(MOST_DECODED_BYTES)
    assert decoded(coded(brotli.compress(whole), "br"), ["br"]) == whole
    assert decoded(coded(gzip.compress(whole), "gzip"), ["gzip"]) == whole
    assert decoded(coded(zstd.compress(whole), "zstd"), ["zstd"]) == whole


@pytest.mark.parametrize(
    ("kind", "primary", "shadow", "expected"),
    [
        ("text/plain", "a", "a", []),
        ("text/plain", "a", "b", [("/body", "body")]),
        ("text/html", "<p>a", "<p>b", [("/body/html/body/p/*", "value")]),
        ("text/xml", "<p>a</p>", "<p>b</p>", [("/body/p", "value")]),
        ("", "<!DOCTYPE html><p>a", "<!DOCTYPE html><p>b", [("/body/html/body/p/*", "value")]),
        ("", "<?xml version='1.0'?><p a='1'/>", "<?xml version='1.0'?><p a='2'/>", [("/body/p/@a", "value")]),
        ("image/png", "a", "bc", [("/body", "body")]),
        ("", '{"a":1}', '{"a":2}', [("/body/a", "value")]),
        ("", "x", "y", [("/body", "body")]),
        (JSON, '{"a":1', '{"a":2', [("/body", "body")]),
        (JSON, '{"a":1}', "oops", [("/body", "body")]),
        (JSON, '{"a":1}', "", [("/body", "missing")]),
        (JSON, "", '{"a":1}', [("/body", "extra")]),
        ("application/problem+json", '{"a":1}', '{"a":2}', [("/body/a", "value")]),
        ("application/x-ndjson", '{"a":1}\n{"a":2}\n', '{"a":1}\n{"a":3}', [("/body/*/a", "value")]),
        ("application/x-ndjson", '{"a":1}\noops\n', '{"a":1}\noops!\n', [("/body/*", "value")]),
        (JSON, '{"a":1}\n{"a":2}\n', '{"a":1}\n', [("/body", "body")]),
        (JSON, '{"a":1}\n{"a":2}\n{"a":3}\n', '{"a":1}\n{"a":2}\n', [("/body", "length")]),
        ("application/x-www-form-urlencoded", "a=1&b=2", "b=2&a=1", []),
        ("application/x-www-form-urlencoded", "a=1&a=2", "a=1&a=3", [("/body/a/*", "value")]),
        ("application/x-www-form-urlencoded", "a=", "b=", [("/body/a", "missing"), ("/body/b", "extra")]),
        ("text/event-stream", "data: 1\n\n", ": hi\ndata:1\r\n\r\n", []),
        (
            "text/event-stream",
            'event: x\ndata: {"n": 1}\n\n',
            'event: y\ndata: {"n": 2}\n\n',
            [("/body/*/data/n", "value"), ("/body/*/event", "value")],
        ),
        ("text/event-stream", "data: 1\n\ndata: 2\n\n", "data: 1\n\n", [("/body", "length")]),
    ],
)
def test_bodies_are_read_by_their_type(
    kind: str, primary: str, shadow: str, expected: list[tuple[str, str]]
) -> None:
    """JSON by path, lines and events by item, forms by field, the rest whole."""
    assert named(compare(answer(primary, kind=kind), answer(shadow, kind=kind))) == expected


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        JSON,
        "application/x-ndjson",
        "text/event-stream",
        "application/xml",
        "text/html; charset=utf-8",
        "application/x-www-form-urlencoded",
        "multipart/mixed; boundary=x",
    ],
)
def test_what_is_not_utf_8_is_compared_as_bytes(kind: str) -> None:
    """Where UTF-8 is stated or implied, and the bytes are none."""
    (found,) = compare(answer(b"\xc3(1", kind=kind), answer(b"\xc3(2", kind=kind))
    assert (found.path, found.kind) == ("/body", "body")
    assert str(found.primary).startswith("3 bytes, sha256 ")


@pytest.mark.parametrize("kind", ["text/plain", JSON])
def test_the_charset_is_undone(kind: str) -> None:
    """The same text in another charset is the same body."""
    a = answer('"é"'.encode("latin-1"), kind=f"{kind}; charset=latin-1")
    b = answer('"é"'.encode("utf-16"), kind=f"{kind}; charset=utf-16")
    assert named(compare(a, b)) == [("/headers/content-type", "content_type")]


def test_json_under_two_names_is_still_json() -> None:
    """Another content type does not hide what is the same inside."""
    found = compare(answer('{"a":1,"b":1}', kind=JSON), answer('{"a": 1, "b": 2}', kind="text/plain"))
    assert named(found) == [("/body/b", "value"), ("/headers/content-type", "content_type")]


def test_a_sample_of_text_shows_the_place() -> None:
    """The words around the first difference, not the whole page."""
    (found,) = compare(
        answer("x" * 5000 + "old" + "y" * 5000, kind="text/plain"),
        answer("x" * 5000 + "new" + "y" * 5000, kind="text/plain"),
    )
    assert isinstance(found.primary, str)
    assert "old" in found.primary
    assert len(found.primary) < 300


@pytest.mark.parametrize(
    ("shadow", "expected"),
    [
        (b"a" * 100, []),
        (b"a" * 101, [("/body", "length")]),
        (b"a" * 99 + b"b", [("/body", "body")]),
        (b"a", [("/body", "length")]),
    ],
)
def test_cut_answers_compare_by_length_and_hash(shadow: bytes, expected: list[tuple[str, str]]) -> None:
    """What was not kept is still known by its number of bytes and its hash."""
    assert named(compare(answer(b"a" * 100, cap=10), answer(shadow, cap=10))) == expected
    assert named(compare(answer(b"a" * 100, cap=10), answer(shadow))) == expected


def cut(body: bytes, kept: int, *, coding: str = "") -> Answer:
    """An answer as a worker sends it on: a beginning, the length, no hash."""
    headers = [(b"Content-Encoding", coding.encode())] if coding else []
    return Answer(status=200, headers=headers, body=body[:kept], length_bytes=len(body))


@pytest.mark.parametrize(("mine", "theirs"), [(300, 500), (500, 300), (300, 999), (999, 300)])
def test_beginnings_of_different_length_are_compared_as_far_as_both_go(mine: int, theirs: int) -> None:
    """How much was kept of an answer depends on the load; it says nothing about the answer."""
    body = bytes(range(250)) * 4
    assert compare(cut(body, mine), cut(body, theirs)) == []
    (found,) = compare(cut(body, mine), cut(b"x" + body[1:], theirs))
    assert (found.path, found.kind) == ("/body", "body")
    assert str(found.primary).startswith(f"first {mine} bytes, sha256 ")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_compressed_beginnings_are_compared_by_what_they_hold(coding: str) -> None:
    """Another compression level makes other bytes and another length of the same content."""
    scale = 100 if coding == "zstd" else 1  # it gives whole blocks, of 128 KiB
    content = Random(1).randbytes(3000 * scale) + b"the same words " * 400

    def packed(level: int, whole: bytes) -> bytes:
        if coding == "br":
            return bytes(brotli.compress(whole, quality=level))
        if coding == "zstd":
            return bytes(zstd.compress(whole, level))
        return gzip.compress(whole, level, mtime=level) if coding == "gzip" else zlib.compress(whole, level)

    a, b = packed(1, content), packed(9, content)
    assert len(a) != len(b)
    assert compare(cut(a, 2000 * scale, coding=coding), cut(b, 2100 * scale, coding=coding)) == []
    other = packed(9, content[:500] + b"!" + content[501:])
    assert named(compare(cut(a, 2000 * scale, coding=coding), cut(other, 2000 * scale, coding=coding))) == [
        ("/body", "body")
    ]
    short = packed(9, content[:300])
    whole = Answer(
        status=200,
        headers=[(b"Content-Encoding", coding.encode())],
        body=short,
        length_bytes=len(short),
    )
    assert named(compare(cut(a, 2000 * scale, coding=coding), whole)) == [("/body", "body")]


@pytest.mark.parametrize("charset", ["punycode", "PunyCode", "idna", "unicode_escape", "rot13", "nope"])
def test_what_is_no_charset_is_not_decoded(charset: str) -> None:
    """Python would take minutes for punycode of the size of the cap, and warn of what escapes say."""
    a, b = (answer(text + "\\o" * 500_000, kind=f"text/plain; charset={charset}") for text in "xy")
    (found,) = compare(a, b)
    assert "bytes, sha256" in str(found.primary)


def test_deep_documents_that_differ_in_spaces_only_are_equal() -> None:
    """Deeper than Python's own comparison goes."""
    a = answer("[" * 1000 + "1" + "]" * 1000, kind="application/json")
    b = answer("[" * 1000 + " 1.0" + "]" * 1000, kind="application/json")
    other = answer("[" * 1000 + "true" + "]" * 1000, kind="application/json")
    assert compare(a, b) == []
    assert named(compare(a, other)) == [("/body", "body")]


@given(st.text(max_size=50), st.text(max_size=50))
def test_the_first_difference_of_two_texts(a: str, b: str) -> None:
    """Everything before it is equal, and it differs or one text ends there."""
    i = first_difference(a, b)
    assert a[:i] == b[:i]
    assert a[i : i + 1] != b[i : i + 1] or a == b


KINDS = st.sampled_from(
    [
        "",
        JSON,
        "application/json; charset=utf-16",
        "text/plain; charset=\0",
        "text/html; charset=rot13",
        "application/x-ndjson",
        "text/event-stream",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "image/png",
        "a/b; charset=hex",
        "application/xml",
        "text/html",
        "image/svg+xml; charset=utf-16",
        "multipart/mixed",
    ]
)
CODINGS: st.SearchStrategy[list[tuple[str, str]]] = st.lists(
    st.tuples(
        st.just("Content-Encoding"),
        st.sampled_from(["gzip", "deflate", "br", "identity", "gzip, br", "zstd", "\xff"]),
    ),
    max_size=1,
)
BODIES = st.binary(max_size=60) | st.sampled_from(
    [
        *CODED.values(),
        b"[" * 500,
        b'{"a":' * 400,
        b'"\\ud800"',
        b"9" * 5000,
        b"1e999",
        b"a=1&b",
        b"data: {\n\n",
        b"<a b='1'>x</a>",
        b"<a><b/>" * 300,
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n{}\r\n--x--',
        b"--x\r\n\r\n--x--",
        b"--x--",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xc0",
        b"RIFF    WEBPVP8X",
        b"\xff\xfe{",
    ]
)
NAMES = st.sampled_from(["Set-Cookie", "X-A", "Content-Encoding", "Vary", "", "Content-Length"])
FIELDS = st.lists(
    st.tuples(NAMES, st.text(alphabet=st.characters(max_codepoint=255), max_size=12)), max_size=4
)
ANSWERS = st.builds(
    lambda body, kind, coding, fields, status, cap: answer(
        body,
        kind=kind,
        status=status,
        fields=[*fields, *coding],
        cap=cap,
    ),
    BODIES,
    KINDS,
    CODINGS,
    FIELDS,
    st.sampled_from([200, 200, 200, 404]),
    st.sampled_from([None, None, 5]),
)
RULES: list[dict[str, Any]] = [
    {"ignore": ["/a/b", "/headers/vary"], "unordered": [""], "tolerance": {"/a": {"seconds": 5}}},
    {"key": {"/*": "id"}, "matching": {"/a": "x.*"}, "only": ["/a"]},
]


@given(ANSWERS, ANSWERS, st.sampled_from(["GET", "HEAD"]))
def test_nothing_throws_on_any_content(a: Any, b: Any, method: str) -> None:
    """Whatever two services answer, there is a list of differences, and it can be stored."""
    for items in ([], RULES):
        found = compare(a, b, *items, method=method)
        orjson.dumps([[d.path, d.kind, d.primary, d.shadow, d.at] for d in found])
        assert compare(a, a, *items, method=method) == []


@pytest.mark.parametrize(
    ("kind", "primary", "shadow", "expected"),
    [
        ("application/x-ndjson", '{"a":1}\n"ready"', '{"a":1}\nready', [("/body/*", "type")]),
        ("application/x-ndjson", '"a"\n"b"', "a\nb", [("/body/*", "type")]),
        ("application/x-www-form-urlencoded", "a=%ff", "a=%fe", [("/body/a", "value")]),
    ],
)
def test_what_is_broken_is_not_what_it_resembles(
    kind: str, primary: str, shadow: str, expected: list[tuple[str, str]]
) -> None:
    """A line that is no JSON is no text of JSON; bytes that are no text are not all the same."""
    found = compare(answer(primary, kind=kind), answer(shadow, kind=kind))
    assert named(found) == expected
    orjson.dumps([[difference.primary, difference.shadow] for difference in found])


@pytest.mark.parametrize(
    ("kind", "line"), [("application/x-ndjson", "{x\n"), ("text/event-stream", "data: {x\n\n")]
)
def test_a_great_many_broken_lines_are_still_compared(kind: str, line: str) -> None:
    """Each as it is; what follows a thousand of them is not taken for JSON any more."""
    a, b = (answer(line * 50_000 + end, kind=kind) for end in (line, line.replace("x", "y")))
    assert [kind for _, kind in named(compare(a, b))] == ["value"]
    assert compare(a, a) == []


@pytest.mark.parametrize("kind", ["text/plain; charset=x-{}", "text/xml"])
def test_strange_charsets_fill_no_memory(kind: str) -> None:
    """Python keeps each name of an encoding that it does not know; so it is not asked for them."""
    known: dict[str, Any] = vars(encodings)["_cache"]
    before = len(known)
    for i in range(20):
        a, b = (
            answer(f"<?xml version='1.0' encoding='x-{i}'?><a>{text}</a>", kind=kind.format(i))
            for text in "ab"
        )
        assert named(compare(a, b)) == [("/body", "body")]
    assert len(known) == before


@pytest.mark.parametrize(
    "charset", ["windows-1252", "ISO-8859-1", "Shift_JIS", "koi8-u", "cp874", "UTF-8-SIG"]
)
def test_charsets_that_texts_come_in(charset: str) -> None:
    """As servers spell them; the same text in another charset is another type, not another body."""
    a, b = (
        answer("{}", kind=f"text/plain; charset={charset}"),
        answer("{ }".encode(charset), kind="text/plain"),
    )
    assert ("/body", "body") in named(compare(a, b))
    same = answer("abc".encode(charset), kind=f"text/plain; charset={charset}")
    assert named(compare(same, answer("abc", kind="text/plain"))) == [
        ("/headers/content-type", "content_type")
    ]
