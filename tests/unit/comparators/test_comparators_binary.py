"""`understudy.comparators.binary`: what is said of bytes."""

import struct

import pytest
from comparators_examples import answer, compare
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.comparators.binary import describe, picture_of

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480)
GIF = b"GIF89a" + struct.pack("<HH", 640, 480)
FRAME = b"\0\x11\x08" + struct.pack(">HH", 480, 640)
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(10) + b"\xff\xdb\0\x04ab\xff\xff\xc2" + FRAME
LOSSY = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 640, 480)
LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + (639 | 479 << 14).to_bytes(4, "little") + bytes(9)
EXTENDED = b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0" + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (PNG, "640\N{MULTIPLICATION SIGN}480 PNG"),
        (GIF, "640\N{MULTIPLICATION SIGN}480 GIF"),
        (JPEG, "640\N{MULTIPLICATION SIGN}480 JPEG"),
        (LOSSY, "640\N{MULTIPLICATION SIGN}480 WebP"),
        (LOSSLESS, "640\N{MULTIPLICATION SIGN}480 WebP"),
        (EXTENDED, "640\N{MULTIPLICATION SIGN}480 WebP"),
        (PNG[:20], ""),
        (GIF[:8], ""),
        (JPEG[:30], "JPEG"),
        (LOSSY[:12] + b"????" + bytes(20), "WebP"),
        (b"%PDF-1.7", ""),
        (b"", ""),
    ],
)
def test_the_size_of_a_picture_stands_in_its_first_bytes(body: bytes, words: str) -> None:
    """PNG (RFC 2083), GIF89a, JPEG (ITU T.81) and the three kinds of WebP (RFC 9649)."""
    assert picture_of(body) == words


def test_a_changed_picture_is_told_by_size_length_and_hash() -> None:
    """A resized picture is seen at a glance."""
    small = PNG[:16] + struct.pack(">II", 320, 240)
    (found,) = compare(answer(PNG + bytes(12_000), kind="image/png"), answer(small, kind="image/png"))
    assert str(found.primary).startswith("640\N{MULTIPLICATION SIGN}480 PNG, 12,024 bytes, sha256 ")
    assert str(found.shadow).startswith("320\N{MULTIPLICATION SIGN}240 PNG, 24 bytes, sha256 ")


@settings(max_examples=50)
@given(
    st.sampled_from([PNG, GIF, JPEG, LOSSY, LOSSLESS, EXTENDED]), st.integers(0, 40), st.binary(max_size=20)
)
def test_a_damaged_picture_is_still_described(body: bytes, cut: int, rest: bytes) -> None:
    """Whatever its bytes."""
    assert "bytes, sha256" in describe(body[:cut] + rest)
