"""Evidence over HTTP, from applications that rehearse by themselves: those with the middleware."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.payload import JSON, parse_body, read_body
from understudy.admin.refusal import Refusal
from understudy.admin.request import json_answer, within
from understudy.store import Sample

MOST_EVIDENCE_BYTES: Final = 16 * 1024 * 1024
"""A batch is 96 pairs at most, and what each of them adds is redacted and cut."""

MOST_COUNTS: Final = 100_000
MOST_SAMPLES: Final = 1_000
MOST_TEXT: Final = 8 * 1024

WORDS: Final[Mapping[str, int]] = {
    "mirror": 4,
    "control": 4,
    "confirm": 4,
    "share": 4,
    "exchange": 4,
    "difference": 6,
    "latency": 5,
}
"""How many words each kind of key has (see `understudy.comparators`)."""

_TEXTS: Final = ("service", "endpoint", "path", "kind", "name", "unit")


class EvidencePlane(Protocol):
    """What takes evidence."""

    async def put(
        self, source: str, sequence: int, counts: Mapping[tuple[str, ...], int], samples: Sequence[Sample]
    ) -> bool:
        """Add a batch of *source*; False when it was added before. Raises: ValueError, StoreError."""

    async def units_key(self) -> bytes:
        """What units are named with in samples. Raises: StoreError."""


class EvidenceEndpoints:
    """``/api/v1/evidence``."""

    def __init__(self, plane: EvidencePlane | None) -> None:
        self._plane = plane

    async def evidence(self, request: Request) -> Response:
        """POST a batch of counts and redacted samples: added once, however often it is sent.

        GET tells the key of the digests by which samples name units.
        """
        if self._plane is None:
            raise Refusal(404, "this process takes no evidence")
        if request.method != "POST":
            return json_answer({"units": (await within(self._plane.units_key())).hex()})
        body = await read_body(request, most_bytes=MOST_EVIDENCE_BYTES)
        given = await parse_body(request, body, kinds=(JSON,))
        try:
            source, sequence, counts, samples = await asyncio.to_thread(read_batch, given)
            added = await within(self._plane.put(source, sequence, counts, samples))
        except ValueError as error:
            raise Refusal(400, f"evidence: {error}") from None
        return json_answer({"added": added})


def read_batch(given: Any) -> tuple[str, int, dict[tuple[str, ...], int], list[Sample]]:
    """Source, sequence, counts and samples of a batch. Raises ValueError that names the place."""
    if not isinstance(given, dict) or set(given) != {"source", "sequence", "counts", "samples"}:
        raise ValueError("a batch is an object of source, sequence, counts and samples")
    source, sequence = given["source"], given["sequence"]
    if not isinstance(source, str) or not 0 < len(source) <= 200 or not source.isprintable():
        raise ValueError("source: 1 to 200 printable characters, another for each process")
    if type(sequence) is not int or not 0 < sequence < 2**63:
        raise ValueError("sequence: a whole number from 1, higher with each batch of a source")
    counts = _listed(given["counts"], "counts", MOST_COUNTS)
    samples = _listed(given["samples"], "samples", MOST_SAMPLES)
    found: dict[tuple[str, ...], int] = {}
    for at, row in enumerate(counts):
        key, n = _count(row, f"counts[{at}]")
        found[key] = found.get(key, 0) + n
    return source, sequence, found, [_sample(row, f"samples[{at}]") for at, row in enumerate(samples)]


def _listed(value: Any, where: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"{where}: a list of at most {most:,}")
    return value


def _count(row: Any, where: str) -> tuple[tuple[str, ...], int]:
    """``[word, …, number]``: a key of evidence and what is added to it."""
    if not isinstance(row, list) or len(row) < 2:
        raise ValueError(f"{where}: a list of the words of a key and a number")
    *words, n = row
    if not all(isinstance(word, str) and len(word) <= MOST_TEXT for word in words):
        raise ValueError(f"{where}: the words of a key are texts")
    if WORDS.get(words[0]) != len(words):
        raise ValueError(f"{where}: {words[0][:40]!r} with {len(words)} words is no key of evidence")
    if type(n) is not int or not 0 <= n < 2**53:
        raise ValueError(f"{where}: the number is whole and not negative")
    return tuple(words), n


def _sample(row: Any, where: str) -> Sample:
    if not isinstance(row, dict) or set(row) != {*_TEXTS, "priority", "at", "body", "whole"}:
        raise ValueError(f"{where}: an object of {', '.join(_TEXTS)}, priority, at, body and whole")
    for key in _TEXTS:
        if not isinstance(row[key], str) or len(row[key]) > MOST_TEXT:
            raise ValueError(f"{where}.{key}: a text")
    for key in ("priority", "at"):
        if type(row[key]) not in (int, float) or not math.isfinite(row[key]):
            raise ValueError(f"{where}.{key}: a number")
    if not isinstance(row["body"], dict) or not (row["whole"] is None or isinstance(row["whole"], dict)):
        raise ValueError(f"{where}: body is an object, whole an object or null")
    return Sample(**row)
