"""The rules document as it is stored: its text, its version and its checksum."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.errors import StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRules:
    """One version of the rules document.

    ``version`` counts from 1. ``at`` is Unix time in seconds. ``sha256`` (hex) is taken over the
    document as JSON with sorted keys, no spaces and ASCII escapes, so it does not depend on the order
    of keys. Every read gives a fresh ``document``; changing it changes nothing that is stored.
    """

    version: int
    document: Mapping[str, Any]
    author: str
    reason: str
    at: float
    sha256: str


def json_text(value: object, *, sort_keys: bool = False) -> str:
    """*value* as compact JSON in ASCII, so that no back end stumbles over NUL or a lone surrogate.

    Raises ValueError when *value* is not JSON: NaN, a date, a set, too deep a nesting.
    """
    try:
        return json.dumps(
            value, sort_keys=sort_keys, separators=(",", ":"), allow_nan=False, default=_plain_mapping
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except TypeError as error:
        raise ValueError(str(error)) from None


def document_text(document: Mapping[str, Any]) -> str:
    """The rules *document* as stored text; raises StoreError when it is not a JSON object."""
    if not isinstance(document, Mapping):
        raise StoreError(f"rules document: must be an object, not {type(document).__name__}")
    try:
        return json_text(document)
    except ValueError as error:
        raise StoreError(f"rules document: cannot be stored as JSON: {error}") from error


def stored_rules(
    *, version: int, text: str, author: str, reason: str, at: float, sha256: str = ""
) -> StoredRules:
    """The version whose document is *text*.

    Raises StoreError when *text* is damaged: no JSON, or not what *sha256* was taken over.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise StoreError(f"rules document: version {version} is damaged: {error}") from error
    actual = hashlib.sha256(json_text(document, sort_keys=True).encode("ascii")).hexdigest()
    if sha256 and sha256 != actual:
        raise StoreError(f"rules document: version {version} is damaged: its checksum is not the stored one")
    return StoredRules(
        version=version,
        document=document,
        author=printable(author),
        reason=printable(reason),
        at=float(at),
        sha256=actual,
    )


def row_text(rules: StoredRules, text: str) -> str:
    """One version as one text, with *text* as its document; its number is kept beside it."""
    row = {"author": rules.author, "reason": rules.reason, "at": rules.at, "sha256": rules.sha256}
    return json_text({**row, "text": text})


def row_rules(version: int, row: bytes | None) -> StoredRules:
    """The version that *row* stores. Raises StoreError when it is damaged."""
    try:
        found = json.loads(row or b"")
        known = {name: found[name] for name in ("text", "author", "reason", "at", "sha256")}
        return stored_rules(version=version, **known)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"rules document: version {version} is damaged or gone") from error


def printable(text: str) -> str:
    """*text* with NUL and lone surrogates escaped: the two things that no database takes as text."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def _plain_mapping(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
