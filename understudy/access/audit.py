"""The audit chain: every entry holds the hash of the one before it, so that none can change unseen.

What is inside the chain shows changes, gaps and disorder. That entries are missing *at its end* can be
seen only from a head (number and hash of the last entry) that was kept apart from the chain.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something that was done: who, from where, what to what, why, when (Unix seconds).

    ``before`` and ``after`` are versions of the rules document of ``environment``; 0 where there is none.
    ``environment`` is empty for what concerns the whole store, and in entries of versions that knew of none.
    """

    at: float
    who: str
    origin: str
    action: str
    target: str = ""
    reason: str = ""
    before: int = 0
    after: int = 0
    environment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A deed in the chain. ``hash`` (SHA-256, hex) is taken over everything else, ``previous`` included."""

    number: int
    deed: Deed
    previous: str
    hash: str

    def plain(self) -> dict[str, Any]:
        """As JSON has it: one flat object, in which an empty ``environment`` is left out."""
        return {"number": self.number, **_told(self.deed), "previous": self.previous, "hash": self.hash}


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of a chain; ``Head()`` is that of an empty one. Written ``number:hash``."""

    number: int = 0
    hash: str = ""

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


_KEYS: Final = ("number", *(field.name for field in fields(Deed)), "previous", "hash")
_NUMBERS: Final = ("number", "before", "after")


def chain(head: Head, deed: Deed) -> Entry:
    """The entry that follows *head*."""
    return Entry(
        number=head.number + 1,
        deed=deed,
        previous=head.hash,
        hash=_hash(head.number + 1, deed, head.hash),
    )


def read_entry(plain: object) -> Entry:
    """The entry that `Entry.plain` wrote. Raises: ValueError."""
    if not isinstance(plain, dict) or {*plain, "environment"} != set(_KEYS):
        raise ValueError(f"is no audit entry: one has {', '.join(_KEYS)}")
    for key, value in plain.items():
        wanted: tuple[type, ...] = (int,) if key in _NUMBERS else (int, float) if key == "at" else (str,)
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ValueError(f"{key} is no {'number' if int in wanted else 'text'}")
    deed = Deed(**{field.name: plain[field.name] for field in fields(Deed) if field.name in plain})
    return Entry(number=plain["number"], deed=deed, previous=plain["previous"], hash=plain["hash"])


def read_head(text: str) -> Head:
    """The head written as ``number:hash``. Raises: ValueError."""
    number, _, hashed = text.strip().partition(":")
    if not (number.isascii() and number.isdigit() and len(number) < 16):
        raise ValueError(f"{text!r} is no head of an audit: NUMBER:HASH")
    if len(hashed) != (64 if int(number) else 0):
        raise ValueError(f"{text!r} is no head of an audit, NUMBER:HASH: the hash has 64 characters")
    return Head(number=int(number), hash=hashed.lower())


def flaws(entries: Iterable[Entry], heads: Iterable[Head] = ()) -> Iterator[str]:
    """What is wrong with a whole chain, in words; nothing when it is as it was written.

    *heads* are heads of this chain that were kept apart, the newest among them: each must be in it.
    """
    wanted = sorted(heads, key=lambda head: head.number)
    at = Head()
    seen = {0: ""}
    marks = {head.number for head in wanted}
    for entry in entries:
        if entry.number <= at.number:
            yield f"entry {entry.number} stands after entry {at.number}: reordered, or inserted"
        elif entry.number > at.number + 1:
            yield f"{_between(at.number + 1, entry.number - 1)} missing: deleted"
        elif entry.previous != at.hash:
            yield f"entry {entry.number} does not follow entry {at.number}: inserted, or that one changed"
        if entry.hash != _hash(entry.number, entry.deed, entry.previous):
            yield f"entry {entry.number} is not as it was written: altered"
        if entry.number in marks:
            seen[entry.number] = entry.hash
        at = Head(number=entry.number, hash=entry.hash)
    for head in wanted:
        if head.number not in seen:
            yield f"{_between(at.number + 1, head.number)} missing at the end: truncated"
        elif seen[head.number] != head.hash:
            yield f"entry {head.number} is another one than the head that was kept: the chain was rewritten"


def _between(first: int, last: int) -> str:
    return f"entry {first} is" if first >= last else f"entries {first} to {last} are"


def _told(deed: Deed) -> dict[str, Any]:
    told = asdict(deed)
    if not deed.environment:
        del told["environment"]
    return told


def _hash(number: int, deed: Deed, previous: str) -> str:
    # A list of JSON values: no two different entries have the same text. Without an environment it is one
    # shorter, as it was before there were any, so what was chained then still verifies.
    written = json.dumps([number, *_told(deed).values(), previous], separators=(",", ":"))
    return hashlib.sha256(written.encode("ascii")).hexdigest()
