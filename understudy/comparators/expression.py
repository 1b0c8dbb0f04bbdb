"""Patterns of values, which no text can make slow: RE2 matches in linear time, whatever the pattern."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import re2

from understudy.comparators.dialect import UnfitPattern, translate

LONGEST: Final = 64 * 1024
SHORTEST: Final = 512
MOST_STEPS: Final = 1 << 25
"""Characters times instructions. At worst RE2 takes every instruction at every character, 2 ns each."""

LARGEST: Final = 16 * 1024
"""Instructions of a pattern for ASCII."""

_MEMORY: Final = 32 << 20
"""Bytes that one pattern may take: ``\\w`` for all letters there are is a thousand instructions."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A pattern that whole texts are held against: of ASCII, or all; of so many characters at most."""

    plain: Any
    plain_longest: int
    full: Any
    full_longest: int

    def matches(self, text: str) -> bool:
        """Whether *text* matches whole; one that is too long does not."""
        if text.isascii():
            return len(text) <= self.plain_longest and self.plain.fullmatch(text.encode("ascii")) is not None
        return len(text) <= self.full_longest and self.full.fullmatch(_utf8(text)) is not None


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Expression:
    """*pattern* of Python's syntax, compiled once.

    Raises: re.error, OverflowError or RecursionError when it is no pattern; UnfitPattern when it needs
    more than linear time, or says too much.
    """
    plain = _program(translate(pattern, is_ascii=True), encoding=re2.Options.Encoding.LATIN1)
    if plain.programsize > LARGEST:
        raise _too_large()
    full = _program(translate(pattern, is_ascii=False), encoding=re2.Options.Encoding.UTF8)
    return Expression(plain, _longest(plain), full, _longest(full))


def _longest(program: Any) -> int:
    size: int = program.programsize
    return max(SHORTEST, min(LONGEST, MOST_STEPS // size))


def _program(pattern: str, *, encoding: Any) -> Any:
    options = re2.Options()
    options.encoding = encoding
    options.log_errors = False
    options.max_mem = _MEMORY
    options.never_capture = True
    try:
        return re2.compile(pattern.encode("ascii"), options)
    except re2.error:
        raise _too_large() from None


def _too_large() -> UnfitPattern:
    return UnfitPattern("repeats too much, or says too much", "+ or * for any number")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a pair, as JSON can spell it: no character, but one in length
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
