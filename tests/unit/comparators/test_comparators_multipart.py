"""`understudy.comparators.multipart`, through `Comparison`: a body of several parts, each by its own type."""

import base64
from typing import Any

import pytest
from comparators_examples import answer, compare, named
from hypothesis import given, settings
from hypothesis import strategies as st

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (640).to_bytes(4) + (480).to_bytes(4) + b"rest"


def part(content: str | bytes, *fields: str) -> bytes:
    raw = content.encode() if isinstance(content, str) else content
    return "".join(f"{field}\r\n" for field in fields).encode() + b"\r\n" + raw


def field(name: str, content: str | bytes, *fields: str, filename: str = "") -> bytes:
    suffix = f'; filename="{filename}"' if filename else ""
    return part(content, f'Content-Disposition: form-data; name="{name}"{suffix}', *fields)


def body(*parts: bytes, boundary: str = "x") -> bytes:
    mark = boundary.encode()
    return b"".join(b"--" + mark + b"\r\n" + one + b"\r\n" for one in parts) + b"--" + mark + b"--\r\n"


def multipart(*parts: bytes, boundary: str = "x", subtype: str = "form-data") -> Any:
    return answer(body(*parts, boundary=boundary), kind=f'multipart/{subtype}; boundary="{boundary}"')


USER = field("user", "ann")
ORDER = field("order", '{"id": 1, "total": 9}', "Content-Type: application/json")
PHOTO = field("photo", PNG, "Content-Type: image/png", filename="me.png")


def test_another_boundary_is_no_difference() -> None:
    """Servers draw a new one for each answer."""
    assert compare(multipart(USER, ORDER), multipart(USER, ORDER, boundary="----b7 x")) == []


def test_the_order_of_named_parts_means_nothing() -> None:
    """As in a form."""
    assert compare(multipart(USER, ORDER, PHOTO), multipart(PHOTO, ORDER, USER)) == []


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([USER, ORDER], [("/body/photo", "missing")]),
        ([field("user", "bob"), ORDER, PHOTO], [("/body/user/content", "value")]),
        (
            [USER, field("order", '{"total": 8, "id": 1}', "content-type: application/json"), PHOTO],
            [("/body/order/content/total", "value")],
        ),
        (
            [USER, ORDER, field("photo", PNG + b"!", "Content-Type: image/png", filename="me.png")],
            [("/body/photo/content", "value")],
        ),
        (
            [USER, ORDER, field("photo", PNG, "Content-Type: image/png", filename="you.png")],
            [("/body/photo/headers/filename", "value")],
        ),
        ([USER, USER, ORDER, PHOTO], [("/body/user", "type")]),
        (
            [
                USER,
                ORDER,
                field(
                    "photo",
                    base64.encodebytes(PNG),
                    "Content-Transfer-Encoding: base64",
                    "Content-Type: image/png",
                    filename="me.png",
                ),
            ],
            [],
        ),
    ],
)
def test_parts_are_compared_by_name_and_type(other: list[bytes], expected: list[tuple[str, str]]) -> None:
    """JSON by path, a picture by its size and hash, fields of a part by name."""
    found = compare(multipart(USER, ORDER, PHOTO), multipart(*other))
    assert named(found) == expected
    if expected == [("/body/photo/content", "value")]:
        assert str(found[0].primary).startswith("640\N{MULTIPLICATION SIGN}480 PNG, 28 bytes, sha256 ")


def test_other_kinds_go_by_position() -> None:
    """Ranges and mixed parts have no names."""
    a = multipart(
        part("ab", "Content-Range: bytes 0-1/9"),
        part("yz", "Content-Range: bytes 7-8/9"),
        subtype="byteranges",
    )
    b = multipart(
        part("ab", "Content-Range: bytes 0-1/9"),
        part("xz", "Content-Range: bytes 7-8/8"),
        subtype="byteranges",
    )
    assert named(compare(a, b)) == [("/body/*/content", "value"), ("/body/*/headers/content-range", "value")]
    inner = [body(part(f'{{"n": {n}}}', "Content-Type: application/json"), boundary="in") for n in (1, 2)]
    a, b = (
        multipart(part(one, "Content-Type: multipart/mixed; boundary=in"), subtype="related") for one in inner
    )
    assert named(compare(a, b)) == [("/body/*/content/*/content/n", "value")]


def test_nesting_is_bounded() -> None:
    """Beyond three levels a part is its text."""
    a, b = ("1", "2")
    for level in range(6):
        a, b = (
            body(
                part(one, f"Content-Type: multipart/mixed; boundary=b{level - 1}"), boundary=f"b{level}"
            ).decode()
            for one in (a, b)
        )
    kind = "multipart/mixed; boundary=b5"
    (found,) = compare(answer(a, kind=kind), answer(b, kind=kind))
    assert (found.path, found.kind) == ("/body/*/content/*/content/*/content", "value")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no delimiter",
        b"--x\r\n\r\nno end",
        b"--x--",
        b"--x\r\nno empty line\r\n--x--",
        b"--x\r\n" + b"A: b\r\n" * 3000 + b"\r\n\r\n--x--",
        b"--x\r\n\r\n\r\n" * 2000 + b"--x--",
        b"--x" * 100_000,
        b"\r\n--" * 100_000,
    ],
)
def test_what_is_malformed_is_compared_as_bytes(raw: bytes) -> None:
    """One difference at /body, or none."""
    kind = "multipart/mixed; boundary=x"
    assert compare(answer(raw, kind=kind), answer(raw, kind=kind)) == []
    (found,) = compare(answer(raw, kind=kind), answer(raw + b"!", kind=kind))
    assert found.path == "/body"


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=30).filter(lambda raw: b"--x" not in raw), min_size=1, max_size=4))
def test_a_part_holds_any_bytes(contents: list[bytes]) -> None:
    """The same parts under another boundary are equal; a byte more in one is a difference."""
    parts = [part(content, "Content-Type: application/octet-stream") for content in contents]
    a = multipart(*parts, subtype="mixed")
    assert compare(a, multipart(*parts, boundary="other-boundary", subtype="mixed")) == []
    more = multipart(*parts[:-1], parts[-1] + b"!", subtype="mixed")
    assert named(compare(a, more)) == [("/body/*/content", "value")]
