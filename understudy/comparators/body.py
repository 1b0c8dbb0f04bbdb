"""Compare two bodies by what they hold. Nothing here throws, whatever the bytes."""

import hashlib
from typing import Final

import orjson

from understudy.comparators.binary import describe, described
from understudy.comparators.content import (
    BYTES,
    JSON,
    ContentType,
    beginning,
    codings_of,
    content_type,
    decoded,
    text_of,
)
from understudy.comparators.excerpt import around
from understudy.comparators.formats import READERS, may_hold_booleans, read_json, sniffed, whole_text
from understudy.comparators.found import Found
from understudy.comparators.json_tree import ABSENT
from understudy.comparators.text import read_json_lines
from understudy.comparators.walk import ListRules, compare_trees
from understudy.messages import Answer

BODY: Final = ("body",)
SAME_TREE: Final = orjson.OPT_SORT_KEYS


def compare_bodies(
    found: Found, primary: Answer, shadow: Answer, *, rules: ListRules | None = None, whole: bool = False
) -> None:
    """Note in *found* where the bodies differ, below ``/body``.

    Equal content under different codings or charsets is equal. With *whole* the bodies are two things
    that cannot be laid side by side (a page and an error): one difference at ``/body``, or none.
    """
    if primary.is_truncated or shadow.is_truncated:
        _compare_truncated(found, primary, shadow, whole=whole)
        return
    coded = codings_of(primary), codings_of(shadow)
    mine, theirs = content_type(primary.header(b"content-type")), content_type(shadow.header(b"content-type"))
    if primary.body == shadow.body and coded[0] == coded[1] and (mine is theirs or mine == theirs):
        return
    a, b = decoded(primary, coded[0]), decoded(shadow, coded[1])
    if a is None or b is None:
        _note_bytes(found, primary.body, shadow.body)
    elif whole:
        if a != b:
            _note_whole(found, a, b, mine, theirs)
    elif a != b or mine.charset != theirs.charset:
        _compare_content(found, a, b, mine, theirs, rules)


def _compare_content(
    found: Found, a: bytes, b: bytes, mine: ContentType, theirs: ContentType, rules: ListRules | None
) -> None:
    if not a or not b:
        if a or b:
            _note_empty(found, a, b, mine, theirs)
        return
    reading = _reading(mine, theirs, a, b)
    if reading == JSON:
        if _compare_json(found, a, b, mine, theirs, rules):
            return
    elif reading in READERS:
        read = READERS[reading]
        x, y = read(a, mine), read(b, theirs)
        if x is not ABSENT and y is not ABSENT:
            compare_trees(found, x, y, rules=rules)
            return
    _note_whole(found, a, b, mine, theirs)


def _reading(mine: ContentType, theirs: ContentType, a: bytes, b: bytes) -> str:
    if mine.media and mine.reading == theirs.reading:
        return mine.reading
    if JSON in (mine.reading, theirs.reading):
        return JSON
    looks = sniffed(a)
    return looks if looks and looks == sniffed(b) else BYTES


def _compare_json(
    found: Found, a: bytes, b: bytes, mine: ContentType, theirs: ContentType, rules: ListRules | None
) -> bool:
    """Compare two JSON texts; False when they are not both JSON."""
    x, y = read_json(a, mine), read_json(b, theirs)
    if x is ABSENT or y is ABSENT:
        return _compare_json_lines(found, a, b, mine, theirs, rules)
    has_booleans = may_hold_booleans(a, mine) or may_hold_booleans(b, theirs)
    if not _is_equal(x, y, has_booleans=has_booleans):
        compare_trees(found, x, y, rules=rules, has_booleans=has_booleans)
    return True


def _is_equal(x: object, y: object, *, has_booleans: bool) -> bool:
    """A quick yes; a no means only that the walk must look."""
    try:
        if x != y:
            return False
        # Python takes True for 1; the texts do not.
        return not has_booleans or orjson.dumps(x, option=SAME_TREE) == orjson.dumps(y, option=SAME_TREE)
    except (RecursionError, TypeError):  # TypeError: an integer beyond 64 bits, or too deep for orjson
        return False


def _compare_json_lines(
    found: Found, a: bytes, b: bytes, mine: ContentType, theirs: ContentType, rules: ListRules | None
) -> bool:
    x, y = text_of(a, mine.charset), text_of(b, theirs.charset)
    if x is None or y is None:
        return False
    lines, other_lines = read_json_lines(x), read_json_lines(y)
    if lines is None or other_lines is None:
        return False
    compare_trees(found, lines, other_lines, rules=rules)
    return True


def _compare_truncated(found: Found, primary: Answer, shadow: Answer, *, whole: bool) -> None:
    """Only beginnings were kept: compare lengths, the part that both sides have, and hashes where given.

    Under a coding, lengths and bytes say nothing about the content: what the beginnings decode to is
    compared, and nothing is said where they cannot be decoded under different codings.
    """
    codings = codings_of(primary)
    is_coded = bool(codings)
    if codings != codings_of(shadow):
        return
    a, b = beginning(primary), beginning(shadow)
    if a is None or b is None:
        a, b, is_coded = primary.body, shadow.body, False
    both = min(len(a), len(b))
    is_longer = primary.length_bytes != shadow.length_bytes and not is_coded
    if is_longer and not whole:
        found.add(BODY, "length", primary.length_bytes, shadow.length_bytes)
    elif is_longer or a[:both] != b[:both] or _goes_on(primary, a, b) or _goes_on(shadow, b, a):
        found.add(
            BODY, "body", *(_describe_beginning(x, answer) for x, answer in ((a, primary), (b, shadow)))
        )
    elif not is_coded:
        mine, theirs = _digest(primary), _digest(shadow)
        if mine and theirs and mine != theirs:
            found.add(BODY, "body", *(described(primary.length_bytes, digest) for digest in (mine, theirs)))


def _goes_on(answer: Answer, kept: bytes, other: bytes) -> bool:
    """Whether *other* holds more than the whole of *answer*."""
    return not answer.is_truncated and len(other) > len(kept)


def _digest(answer: Answer) -> str:
    """Of the whole body; empty when nobody knows it."""
    return answer.sha256 if answer.is_truncated else hashlib.sha256(answer.body).hexdigest()


def _describe_beginning(kept: bytes, answer: Answer) -> str:
    digest = hashlib.sha256(kept).hexdigest()
    return (
        described(len(kept), digest) if not answer.is_truncated else f"first {described(len(kept), digest)}"
    )


def _note_empty(found: Found, a: bytes, b: bytes, mine: ContentType, theirs: ContentType) -> None:
    if a:
        found.add(BODY, "missing", _shown(a, mine), None)
    else:
        found.add(BODY, "extra", None, _shown(b, theirs))


def _note_whole(found: Found, a: bytes, b: bytes, mine: ContentType, theirs: ContentType) -> None:
    x, y = whole_text(a, mine), whole_text(b, theirs)
    if x is None or y is None:
        _note_bytes(found, a, b)
    elif x != y:
        is_forgiven = found.rules is not None and found.rules.forgives(BODY, x, y)
        found.add(BODY, "body", *around(x, y), ignored=is_forgiven)


def _note_bytes(found: Found, a: bytes, b: bytes) -> None:
    if a != b:
        found.add(BODY, "body", describe(a), describe(b))


def _shown(body: bytes, kind: ContentType) -> str:
    text = whole_text(body, kind)
    return describe(body) if text is None else text
