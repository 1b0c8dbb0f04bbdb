"""A batch of evidence on the wire: a JSON head, then the fields and bodies of its pairs as they came.

Bodies are never decoded on the way: one join to write, slices to read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from understudy.link.frames import LinkError
from understudy.messages import Again, Answer, Asked, Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Evidence counted and pairs to compare; ``sequence`` rises by one for each batch of a source."""

    sequence: int
    counts: Mapping[tuple[str, ...], int]
    pairs: Sequence[Pair]


def encode_batch(batch: Batch) -> bytes:
    """The payload of a BATCH frame."""
    blobs: list[bytes] = []
    pairs = [
        [
            pair.service,
            pair.endpoint,
            pair.flag,
            pair.method,
            pair.path,
            pair.query,
            pair.at,
            [_answer(answer, blobs) for answer in (pair.primary, pair.shadow, pair.control)],
            _asked(pair.asked, blobs),
            None if pair.again is None else [_answer(answer, blobs) for answer in pair.again],
            pair.unconfirmed,
        ]
        for pair in batch.pairs
    ]
    head = orjson.dumps([batch.sequence, [[*key, n] for key, n in batch.counts.items()], pairs])
    return b"".join((len(head).to_bytes(4, "big"), head, *blobs))


def _asked(asked: Asked, blobs: list[bytes]) -> list[Any]:
    blobs += (asked.lines, asked.body)
    return [
        asked.unit,
        asked.unit_at,
        asked.primary,
        len(asked.lines),
        len(asked.body),
        asked.body_bytes,
    ]


def _answer(answer: Answer | None, blobs: list[bytes]) -> list[Any] | None:
    if answer is None:
        return None
    # NUL cannot stand in a field (llhttp refuses it), so it separates.
    fields = b"\0".join([part for field in answer.headers for part in field])
    blobs += (fields, answer.body)
    return [answer.status, len(fields), len(answer.body), answer.length_bytes, answer.sha256]


def decode_batch(payload: bytes) -> Batch:
    """The batch of a payload. Raises `LinkError`."""
    try:
        size = int.from_bytes(payload[:4], "big")
        sequence, counts, rows = orjson.loads(payload[4 : 4 + size])
        cursor = _Cursor(payload, 4 + size)
        pairs = [_pair(row, cursor) for row in rows]
        return Batch(sequence=sequence, counts={tuple(key): n for *key, n in counts}, pairs=pairs)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise LinkError(f"link: a damaged batch: {error}") from error


def _pair(row: list[Any], cursor: "_Cursor") -> Pair:
    service, endpoint, flag, method, path, query, at, answers, asked, again, unconfirmed = row
    primary, shadow, control = cursor.answers(answers)
    return Pair(
        service=service,
        endpoint=endpoint,
        flag=flag,
        method=method,
        path=path,
        query=query,
        at=at,
        primary=primary,
        shadow=shadow,
        control=control,
        asked=cursor.asked(asked),
        again=None if again is None else Again(*cursor.answers(again)),
        unconfirmed=unconfirmed,
    )


class _Cursor:
    def __init__(self, payload: bytes, at: int) -> None:
        self._payload = payload
        self._at = at

    def take(self, size: int) -> bytes:
        start, self._at = self._at, self._at + size
        if size < 0 or self._at > len(self._payload):
            raise ValueError("cut short")
        return self._payload[start : self._at]

    def answers(self, metas: list[Any]) -> tuple[Answer, Answer, Answer | None]:
        primary, shadow, control = [self.answer(meta) for meta in metas]
        if primary is None or shadow is None:
            raise ValueError("a pair without both answers")
        return primary, shadow, control

    def asked(self, meta: list[Any]) -> Asked:
        unit, unit_at, primary, lines_size, body_size, body_bytes = meta
        return Asked(
            unit=unit,
            unit_at=unit_at,
            primary=primary,
            lines=self.take(lines_size),
            body=self.take(body_size),
            body_bytes=body_bytes,
        )

    def answer(self, meta: list[Any] | None) -> Answer | None:
        if meta is None:
            return None
        status, fields_size, body_size, length, sha256 = meta
        flat = self.take(fields_size).split(b"\0") if fields_size else []
        headers = list(zip(flat[::2], flat[1::2], strict=True))
        return Answer(
            status=status, headers=headers, body=self.take(body_size), length_bytes=length, sha256=sha256
        )
