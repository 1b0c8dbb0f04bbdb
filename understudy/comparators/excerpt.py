"""Show people where two long texts differ."""

from typing import Final

WORD_ENDS: Final = frozenset("\"'<>,;&()[]{}")
LONGEST_WORD: Final = 250


def around(a: str, b: str, *, before: int = 40, after: int = 160) -> tuple[str, str]:
    """The two texts around the first place where they differ, cut for people.

    The first cut does not fall into a word, so that whoever hides what is private sees it from its start.
    """
    start = first_difference(a, b)
    begin = _word_start(a, max(0, start - before))
    return _cut(a, begin, start + after), _cut(b, begin, start + after)


def first_difference(a: str, b: str) -> int:
    """The first index at which two different texts differ; the shorter length when one begins the other."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _word_start(text: str, at: int) -> int:
    """Where the word around *at* begins; *at* when that is too far to be shown."""
    for begin in range(at, max(-1, at - LONGEST_WORD), -1):
        if begin == 0 or text[begin - 1].isspace() or text[begin - 1] in WORD_ENDS:
            return begin
    return at


def _cut(text: str, begin: int, end: int) -> str:
    return ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")
