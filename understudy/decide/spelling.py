"""Which names a misspelt one may have meant: told at once, were there thousands of mistakes and of names."""

from collections.abc import Collection
from itertools import islice

FEW_NAMES = 200
"""So many are compared with a word in 2 ms. Ten thousand take a tenth of a second, for each mistake anew."""

LONGEST_WORD = 200
"""A longer word is no slip of somebody who typed a name: those of flags end at 64 characters."""


def alike(word: str, known: Collection[str]) -> list[str]:
    """Those of *known* worth comparing with *word*: all when they are few, else those that begin alike."""
    if len(word) > LONGEST_WORD:
        return []
    if len(known) <= FEW_NAMES:
        return list(known)
    beginning = word[:3].lower()
    return list(islice((name for name in known if name[:3].lower() == beginning), FEW_NAMES))
