"""Which part of two texts differs, so that a reader need not hunt for it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

_WORD = re.compile(r"\w+|\s+|.", re.DOTALL)
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_MOST_TOKENS = 200  # SequenceMatcher is quadratic at worst; 200 x 200 stays below a few milliseconds
_LEAST_SHARED = 0.25  # texts that share less than this only by chance are better read whole
_LONG_WORD = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of one side: ``same`` on both, ``changed``, or a ``gap`` that says what was left out."""

    text: str
    kind: Literal["same", "changed", "gap"]


Side = tuple[Span, ...]


def mark(primary: str, shadow: str, *, context: int = 60, most: int = 1200) -> tuple[Side, Side]:
    """Split both texts into spans: line by line when there are several lines, and word by word.

    Equal stretches are shortened to *context* characters beside what changed; a changed stretch shows
    at most *most* characters. Near linear in the length of the texts.
    """
    by_line = "\n" in primary or "\n" in shadow
    left, right = _compare(primary, shadow, _LINE if by_line else _WORD)
    return tuple(_shorten(_joined(left), context, most)), tuple(_shorten(_joined(right), context, most))


def _compare(primary: str, shadow: str, token: re.Pattern[str]) -> tuple[list[Span], list[Span]]:
    a, b = token.findall(primary), token.findall(shadow)
    head = _common(a, b)
    tail = _common(a[head:][::-1], b[head:][::-1])
    left: list[Span] = [Span(text="".join(a[:head]), kind="same")]
    right = list(left)
    _compare_middle(a[head : len(a) - tail], b[head : len(b) - tail], token, left, right)
    end = Span(text="".join(a[len(a) - tail :]), kind="same")
    return [*left, end], [*right, end]


def _compare_middle(
    a: Sequence[str], b: Sequence[str], token: re.Pattern[str], left: list[Span], right: list[Span]
) -> None:
    for tag, a0, a1, b0, b1 in _opcodes(a, b):
        before, after = "".join(a[a0:a1]), "".join(b[b0:b1])
        if tag == "equal":
            inner = [Span(text=before, kind="same")], [Span(text=after, kind="same")]
        elif tag == "replace" and token is _LINE:
            inner = _compare(before, after, _WORD)
        else:
            inner = _compare_characters(before, after)
        left.extend(inner[0])
        right.extend(inner[1])


def _opcodes(a: Sequence[str], b: Sequence[str]) -> list[tuple[str, int, int, int, int]]:
    everything = [("replace", 0, len(a), 0, len(b))]
    if len(a) > _MOST_TOKENS or len(b) > _MOST_TOKENS:
        return everything
    codes: list[tuple[str, int, int, int, int]] = [*SequenceMatcher(None, a, b, autojunk=False).get_opcodes()]
    shared = sum(len("".join(a[a0:a1])) for tag, a0, a1, _, _ in codes if tag == "equal")
    longer = max(len("".join(a)), len("".join(b)))
    return codes if shared >= _LEAST_SHARED * longer else everything


def _compare_characters(before: str, after: str) -> tuple[list[Span], list[Span]]:
    """Words are shown whole, but one so long that it fills lines is narrowed down to the characters."""
    if min(len(before), len(after)) < _LONG_WORD:
        return [Span(text=before, kind="changed")], [Span(text=after, kind="changed")]
    head = _common(before, after)
    tail = _common(before[head:][::-1], after[head:][::-1])
    sides = [
        [
            Span(text=text[:head], kind="same"),
            Span(text=text[head : len(text) - tail], kind="changed"),
            Span(text=text[len(text) - tail :], kind="same"),
        ]
        for text in (before, after)
    ]
    return sides[0], sides[1]


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    length = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        length += 1
    return length


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Neighbours of one kind become one span; empty ones go."""
    joined: list[Span] = []
    for span in spans:
        if joined and joined[-1].kind == span.kind:
            joined[-1] = Span(text=joined[-1].text + span.text, kind=span.kind)
        elif span.text:
            joined.append(span)
    return joined


def _shorten(spans: Sequence[Span], context: int, most: int) -> Iterator[Span]:
    last = len(spans) - 1
    for position, span in enumerate(spans):
        before, after = (0 if position == 0 else context), (0 if position == last else context)
        if span.kind == "changed" and len(span.text) > most:
            yield Span(text=span.text[:most], kind="changed")
            yield _gap(len(span.text) - most)
        elif span.kind == "same" and last and len(span.text) > before + after + context:
            yield from _elided(span.text, before, after)
        elif span.kind == "same" and not last and len(span.text) > most:
            yield from _elided(span.text, most, 0)
        else:
            yield span


def _elided(text: str, before: int, after: int) -> Iterator[Span]:
    if before:
        yield Span(text=text[:before], kind="same")
    yield _gap(len(text) - before - after)
    if after:
        yield Span(text=text[-after:], kind="same")


def _gap(length: int) -> Span:
    return Span(text=f"… {length:,} more …", kind="gap")
