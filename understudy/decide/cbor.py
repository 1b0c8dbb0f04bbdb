"""Deterministic CBOR of a JSON value: the key of `fractional`, third generation.

RFC 8949 section 4.2: shortest integers, lengths and floats, map keys in the order of their encoded
bytes. Before that, as the OpenFeature decision record asks, integral floats become integers and
-0.0 becomes 0, so that 1 and 1.0 are one key in every language.
"""

import struct

from understudy.decide.coercion import Json, double

_LOWEST, _HIGHEST = -(2**63), 2**64 - 1


def encode(value: Json) -> bytes:
    """*value* as deterministic CBOR. Raises TypeError for what JSON does not have."""
    if value is None:
        return b"\xf6"
    if value is True:
        return b"\xf5"
    if value is False:
        return b"\xf4"
    if isinstance(value, str):
        body = encode_text(value)
        return _head(3, len(body)) + body
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(encode, value))
    if isinstance(value, dict):
        pairs = sorted((encode(str(key)), encode(item)) for key, item in value.items())
        return _head(5, len(pairs)) + b"".join(key + item for key, item in pairs)
    raise TypeError(f"not a JSON value: {type(value).__name__}")


def encode_text(value: str) -> bytes:
    """*value* in UTF-8; half of a surrogate pair becomes U+FFFD, as Go's JSON reader makes it."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _head(major: int, count: int) -> bytes:
    major <<= 5
    if count < 24:
        return bytes((major | count,))
    if count < 2**8:
        return struct.pack(">BB", major | 24, count)
    if count < 2**16:
        return struct.pack(">BH", major | 25, count)
    if count < 2**32:
        return struct.pack(">BI", major | 26, count)
    return struct.pack(">BQ", major | 27, count)


def _integer(value: int) -> bytes:
    if not _LOWEST <= value <= _HIGHEST:
        return _float(double(value))
    return _head(0, value) if value >= 0 else _head(1, -1 - value)


def _float(value: float) -> bytes:
    if value != value:
        return b"\xf9\x7e\x00"
    if value.is_integer() and _LOWEST <= value <= _HIGHEST:
        return _integer(int(value))
    for mark, code in ((0xF9, ">e"), (0xFA, ">f")):
        try:
            packed = struct.pack(code, value)
        except OverflowError:
            continue
        if struct.unpack(code, packed)[0] == value:
            return bytes((mark,)) + packed
    return b"\xfb" + struct.pack(">d", value)
