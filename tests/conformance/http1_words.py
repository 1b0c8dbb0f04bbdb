"""What is said in damaged dialogues: good requests and answers, and the accidents that befall them."""

import random
import re
from itertools import pairwise
from typing import Final

CRLF: Final = b"\r\n"
SPICES: Final = (
    b"\r",
    b"\n",
    b"\r\n",
    b"\x00",
    b" ",
    b"\t",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b":",
    b";",
    b",",
    b"0",
    b"1",
    b"f",
    b"-",
    b"+",
    b"_",
    b"x",
    b"/",
    b"#",
    b"*",
    b"\r\n\r\n",
    b"\r\n ",
    b"Content-Length: 3\r\n",
    b"0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Connection: content-length, x-id\r\n",
    b"Host: other\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    b"X-Understudy-Shadow: 1\r\n",
    b"X_Api_Key: k\r\n",
)
ANSWER_SPICES: Final = (
    b"\r",
    b"\n",
    b"\r\n",
    b"\x00",
    b" ",
    b"\t",
    b"\x01",
    b":",
    b";",
    b"0",
    b"1",
    b"9",
    b"-",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 104 U\r\nContent-Length: 6\r\n\r\nPOISON",
    b"HTTP/1.1 101 S\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON",
    b"HTTP/1.1 103 H\r\n\r\n",
    b"HTTP/1.0",
    b"204",
    b"304",
)


def a_habit(dice: random.Random, number: int) -> bytes:
    """The fields that one client sends with every request that has no body; ``@`` is a value that changes."""
    more = dice.choice([b"", b"", b"Cookie: @\r\n", b"Connection: keep-alive\r\n", b"Connection: x-a\r\n"])
    return b"Host: a.example\r\nX-Id: %d\r\n%bX-A: @\r\n\r\n" % (number, more)


def a_request(dice: random.Random, number: int, habit: bytes) -> bytes:
    """A good request; often a repetition but for its target and a value."""
    if dice.random() < 0.4:
        value = dice.choice([b"0", b"0", b"1", b"two words", b"\x80", b"a,b;c"])
        return b"GET /r%d HTTP/1.1\r\n" % number + habit.replace(b"@", value)
    if dice.random() < 0.05:
        fields = b"Host: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x"
        return b"GET /r%d HTTP/1.1\r\n%b\r\n\r\n" % (number, fields)
    method = dice.choice([b"GET", b"GET", b"GET", b"HEAD", b"OPTIONS", b"POST", b"POST", b"PUT", b"DELETE"])
    target = dice.choice([b"/r%d", b"/r%d?q=1", b"/r%d//..%%2f", b"http://other.example/r%d"]) % number
    version = b"1.0" if dice.random() < 0.1 else b"1.1"
    lines = [b"Host: a.example", b"X-Id: %d" % number]
    lines += dice.sample(
        [
            b"Cookie: c=%d" % number,
            b"X-A: 1",
            b"X-A: 2",
            b"Accept: */*",
            b"X-Forwarded-For: 1.2.3.4",
            b"Connection: x-a",
            b"Connection: keep-alive",
            b"Connection: close",
            b"Authorization: s",
            b"TE: trailers",
            b"X-Understudy-Flag: x",
        ],
        dice.randrange(4),
    )
    body = b"body of %d." % number * dice.randrange(4)
    wire = body
    if method in (b"POST", b"PUT") or dice.random() < 0.1:
        if version == b"1.1" and dice.random() < 0.4:
            lines.append(b"Transfer-Encoding: chunked")
            wire = b"".join(
                b"%x%b\r\n%b\r\n" % (len(piece), dice.choice([b"", b";a=b"]), piece)
                for piece in cut(dice, body)
                if piece
            )
            wire += b"0\r\n%b\r\n" % dice.choice([b"", b"", b"X-Trailer: 1\r\n"])
        else:
            lines.append(b"Content-Length: %d" % len(body))
        if dice.random() < 0.1:
            lines.append(b"Expect: 100-continue")
    else:
        wire = b""
    dice.shuffle(lines)
    return b"%b %b HTTP/%b\r\n%b\r\n\r\n%b" % (method, target, version, CRLF.join(lines), wire)


def an_answer(dice: random.Random, token: bytes, *, method: bytes) -> tuple[bytes, bool]:
    """A good answer that carries *token*, and whether its end is that of the connection."""
    if dice.random() < 0.3:  # the same head again and again
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\nX-Kind: plain\r\n\r\n"
        return head if method == b"HEAD" else head + token * 2, False
    body = token * dice.randrange(1, 4)
    start = dice.choice(
        [b"HTTP/1.1 200 OK", b"HTTP/1.1 404 No", b"HTTP/1.1 500 ", b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK"]
    )
    more = dice.sample([b"Set-Cookie: a=b", b"X-B: 1", b"Connection: x-b", b"Date: x"], 2)
    lines = [b"X-Token: " + token, *more]
    before = dice.choice([b"", b"", b"", b"HTTP/1.1 103 Hints\r\nLink: " + token + b"\r\n\r\n"])
    how = dice.choice(["sized", "sized", "chunked", "close", "204", "304"])
    if how == "chunked" and start.startswith(b"HTTP/1.1"):
        lines.append(b"Transfer-Encoding: chunked")
        wire = (
            b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut(dice, body) if piece)
            + b"0\r\n\r\n"
        )
    elif how in ("204", "304"):
        start, wire = b"HTTP/1.1 %b No" % how.encode(), b""
    elif how == "close":
        wire = body
        lines.append(b"Connection: close")
    else:
        lines.append(b"Content-Length: %d" % len(body))
        wire = body
    if method == b"HEAD":
        wire = b""
    return before + start + CRLF + CRLF.join(
        lines
    ) + b"\r\n\r\n" + wire, how == "close" or dice.random() < 0.1


def damaged(dice: random.Random, wire: bytes, spices: tuple[bytes, ...]) -> bytes:
    """*wire* after one small accident."""
    at = dice.randrange(len(wire) + 1)
    end = min(len(wire), at + dice.choice([1, 1, 2, 5, 30]))
    how = dice.randrange(6)
    if how == 0:
        return wire[:at] + wire[end:]
    if how == 1:
        return wire[:at] + wire[at:end] * 2 + wire[end:]
    if how == 2:
        return wire[:at] + bytes([dice.randrange(256)]) + wire[at + 1 :]
    if how == 3:  # at the start of a line, where it says most
        at = dice.choice([0, 0, *(match.end() for match in re.finditer(rb"\r\n", wire))])
    spice = dice.choice(spices)
    return wire[:at] + spice + wire[at + (len(spice) if how == 5 else 0) :]


def cut(dice: random.Random, wire: bytes) -> list[bytes]:
    """*wire* in pieces: whole, in a few, or byte by byte."""
    how = dice.random()
    if how < 0.4:
        return [wire]
    if how < 0.45:
        return [wire[at : at + 1] for at in range(len(wire))]
    edges = sorted({0, len(wire), *(dice.randrange(len(wire) + 1) for _ in range(dice.randrange(1, 5)))})
    return [wire[a:b] for a, b in pairwise(edges)]
