"""Evidence counts as rows: a key is stored as the text of a JSON array."""

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import NamedTuple

from understudy.errors import StoreError
from understudy.store.rules import json_text

Key = tuple[str, ...]


class Mark(NamedTuple):
    """Where the evidence stands. Equal marks of one store: nothing was added or cleared between them.

    ``batches`` grows by one with each batch that anybody adds; ``clearing`` changes with each clear.
    """

    clearing: int
    batches: int


MOST = 2**63 - 1
"""Largest count in one batch: what a 64-bit column holds."""


def clearing() -> int:
    """The number of a clearing: by chance, so that no two are alike, also when a store was put back."""
    return secrets.randbits(62)


def count_rows(counts: Mapping[Key, int]) -> dict[str, int]:
    """*counts* by the text of their key, without the zeros.

    Raises ValueError for a key that is not a tuple of texts, a count that is negative or not an
    integer: evidence only ever grows, and a wrong count must not reach what is already counted.
    """
    rows: dict[str, int] = {}
    for key, n in counts.items():
        if not (key and all(isinstance(part, str) for part in key)):
            raise ValueError(f"evidence {key!r}: a key is a tuple of texts, not empty")
        if type(n) is not int or not 0 <= n <= MOST:
            raise ValueError(f"evidence {key!r}: a count is an integer from 0 to 2^63-1, not {n!r}")
        if n:
            rows[json_text(key)] = n
    return rows


def digest(text: str) -> bytes:
    """What the key stored as *text* is found by: SHA-256, as a key may be too long for an index."""
    return hashlib.sha256(text.encode("ascii")).digest()


def check_sequence(sequence: int) -> None:
    """Raises ValueError when *sequence* cannot number a batch."""
    if type(sequence) is not int or not 0 <= sequence <= MOST:
        raise ValueError(f"evidence: a sequence is an integer from 0 to 2^63-1, not {sequence!r}")


def count_key(text: str) -> Key:
    """The key whose stored text is *text*. Raises StoreError when it is damaged."""
    try:
        parts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(text) from error
    if not (isinstance(parts, list) and parts and all(isinstance(part, str) for part in parts)):
        raise _damaged(text)
    return tuple(parts)


def count_of(text: str, stored: object) -> int:
    """The count *stored* at the key whose text is *text*. Raises StoreError when it is damaged."""
    try:
        return int(stored)  # type: ignore[call-overload, no-any-return]
    except (ValueError, TypeError) as error:
        raise _damaged(text) from error


def _damaged(text: str) -> StoreError:
    return StoreError(
        f"evidence: the count {text[:60]!r} is damaged; delete it there, or clear the evidence"
        " (DELETE /api/v1/report)"
    )
