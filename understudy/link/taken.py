"""Recorded requests on the wire: a JSON head, then fields and bodies as they came. Sent once, not again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Final

import orjson

from understudy.link.frames import LinkError
from understudy.link.outbox import answer_bytes, fields_bytes
from understudy.messages import Answer, Headers, Taken

FLAT_BYTES: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reel:
    """What a worker took for the recording *number* since it last told: ``missed`` counts by reason what it
    could not take, ``passed`` all that the recording asks for."""

    number: int
    passed: int
    missed: Mapping[str, int]
    taken: Sequence[Taken]


def taken_bytes(taken: Taken) -> int:
    """Roughly what *taken* holds in memory: bodies and fields, plus a flat kilobyte for the rest."""
    size = FLAT_BYTES + len(taken.path) + len(taken.query) + len(taken.body) + answer_bytes(taken.answer)
    return size + fields_bytes(taken.headers)


def encode_reel(reel: Reel) -> bytes:
    """The payload of a TAKEN frame."""
    rows: list[list[Any]] = []
    blobs: list[bytes] = []
    for taken in reel.taken:
        parts = (_flat(taken.headers), taken.body, _flat(taken.answer.headers), taken.answer.body)
        blobs += parts
        rows.append(
            [
                *taken[:8],
                taken.body_bytes,
                taken.answer.status,
                taken.answer.length_bytes,
                [len(part) for part in parts],
            ]
        )
    head = orjson.dumps([reel.number, reel.passed, reel.missed, rows])
    return b"".join((len(head).to_bytes(4, "big"), head, *blobs))


def decode_reel(payload: bytes) -> Reel:
    """The reel of a payload. Raises `LinkError`."""
    try:
        at = 4 + int.from_bytes(payload[:4], "big")
        number, passed, missed, rows = orjson.loads(payload[4:at])
        taken = []
        for row in rows:
            ends = list(accumulate(row[-1], initial=at))
            parts = [payload[start:end] for start, end in pairwise(ends)]
            at = ends[-1]
            taken.append(_taken(row, parts))
        if at != len(payload):
            raise ValueError("cut short, or too long")
        return Reel(number=number, passed=passed, missed=missed, taken=taken)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise LinkError(f"link: a damaged reel: {error}") from error


def _taken(row: Sequence[Any], parts: Sequence[bytes]) -> Taken:
    method, host, path, query, at, seconds, unit, unit_at, body_bytes, status, length, _ = row
    fields, body, answer_fields, answer_body = parts
    return Taken(
        method=method,
        host=host,
        path=path,
        query=query,
        at=at,
        seconds=seconds,
        unit=unit,
        unit_at=unit_at,
        headers=_fields(fields),
        body=body,
        body_bytes=body_bytes,
        answer=Answer(status=status, headers=_fields(answer_fields), body=answer_body, length_bytes=length),
    )


def _flat(headers: Headers) -> bytes:
    # NUL cannot stand in a field (llhttp refuses it), so it separates.
    return b"\0".join([part for field in headers for part in field])


def _fields(flat: bytes) -> list[tuple[bytes, bytes]]:
    parts = flat.split(b"\0") if flat else []
    return list(zip(parts[::2], parts[1::2], strict=True))
