"""Say in a few words what bytes are: a picture's format and size, their number, their hash."""

import hashlib
import struct
from typing import Final

PNG: Final = b"\x89PNG\r\n\x1a\n"
WITHOUT_SIZE: Final = frozenset({0xC4, 0xC8, 0xCC})
"""JPEG markers among those of frames that are none: tables, and one reserved (ITU T.81 table B.1)."""

MOST_SEGMENTS: Final = 200


def describe(body: bytes) -> str:
    """What a picture is, then ``12,345 bytes, sha256 0123456789ab``."""
    picture = picture_of(body)
    said = described(len(body), hashlib.sha256(body).hexdigest())
    return f"{picture}, {said}" if picture else said


def described(length: int, digest: str) -> str:
    """The words for so many bytes with the hash *digest*, hex."""
    # 12 digits cannot be taken for a card number when samples are redacted.
    return f"{length:,} bytes, sha256 {digest[:12]}"


def picture_of(body: bytes) -> str:
    """Width, height and format by the first bytes of a PNG, GIF, JPEG or WebP; empty for everything else."""
    if body.startswith(PNG) and body[12:16] == b"IHDR" and len(body) >= 24:
        return _words("PNG", *struct.unpack_from(">II", body, 16))
    if body[:6] in (b"GIF87a", b"GIF89a") and len(body) >= 10:
        return _words("GIF", *struct.unpack_from("<HH", body, 6))
    if body[:3] == b"\xff\xd8\xff":
        return _jpeg(body)
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP" and len(body) >= 30:
        return _webp(body)
    return ""


def _words(name: str, width: int, height: int) -> str:
    return f"{width}\N{MULTIPLICATION SIGN}{height} {name}"


def _jpeg(body: bytes) -> str:
    """The size stands in the start of frame, behind any number of other segments (ITU T.81 B.2.2)."""
    at = 2
    for _ in range(MOST_SEGMENTS):
        if at + 9 > len(body) or body[at] != 0xFF:
            break
        marker = body[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in WITHOUT_SIZE:
            height, width = struct.unpack_from(">HH", body, at + 5)
            return _words("JPEG", width, height)
        if marker == 0xFF:  # a fill byte
            at += 1
        else:
            at += 2 + int.from_bytes(body[at + 2 : at + 4], "big")
    return "JPEG"


def _webp(body: bytes) -> str:
    """RFC 9649 2.5-2.7: lossy, lossless and extended files keep the size in three ways."""
    chunk = body[12:16]
    if chunk == b"VP8 " and body[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", body, 26)
        return _words("WebP", width & 0x3FFF, height & 0x3FFF)
    if chunk == b"VP8L" and body[20] == 0x2F:
        bits = int.from_bytes(body[21:25], "little")
        return _words("WebP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if chunk == b"VP8X":
        width, height = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (24, 27))
        return _words("WebP", width, height)
    return "WebP"
