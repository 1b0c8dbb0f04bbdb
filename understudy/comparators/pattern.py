"""Name places in an answer: a path pattern as people write it, the tokens it means, and matching them."""

import re
from collections.abc import Sequence
from typing import Final

from understudy.comparators.difference import Token

Pattern = tuple[str, ...]

PARTS: Final = ("body", "headers", "status")
ANY: Final = "*"


def parse_pattern(text: str) -> Pattern:
    """The tokens of a path pattern.

    ``/status``, ``/headers/NAME``, ``/body`` + JSON Pointer, or a JSON Pointer into the body alone; ``*``
    stands for any one list position or key. A body's own top-level field named ``headers``, ``status`` or
    ``body`` is written with ``/body`` before it.

    Raises ValueError with what is wrong.
    """
    if text == "":
        return ("body",)
    if not text.startswith("/"):
        raise ValueError("a path starts with /")
    tokens = [_unescape(token) for token in text[1:].split("/")]
    if "**" in tokens:
        raise ValueError("** is no wildcard: * is one position or key, and what lies below is covered")
    if tokens[0] == "headers":
        if len(tokens) < 2 or not tokens[1]:
            raise ValueError("a header needs its name: /headers/NAME")
        tokens[1] = tokens[1].lower()
        return tuple(tokens)
    if tokens[0] == "status" and len(tokens) > 1:
        raise ValueError("a status has nothing below it; for a field of the body write /body/status/…")
    return tuple(tokens) if tokens[0] in PARTS else ("body", *tokens)


def parse_field(text: str) -> Pattern:
    """The tokens of a field inside an item: ``sku``, ``/meta/id`` or ``meta/id``. Raises ValueError."""
    return tuple(_unescape(token) for token in text.strip("/").split("/"))


def tokens_of(path: str) -> tuple[str, ...]:
    """The tokens of a path as a report writes it; what cannot be unescaped stands as it is."""
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in path[1:].split("/"))


def meant(text: str) -> str:
    """The pattern that was probably meant by *text*, which may be in JSONPath or with dots; else empty."""
    path = re.sub(r"\[\s*(['\"]?)([^\]'\"]*)\1\s*\]", r"/\2", text.strip().removeprefix("$"))
    if not path.startswith("/"):
        path = "/" + path.lstrip(".").replace(".", "/")
    path = path.replace("**", "*").replace("./", "/").replace("/.", "/")
    return path if path not in ("/", text) else ""


def _unescape(token: str) -> str:
    if "~" in token.replace("~0", "").replace("~1", ""):
        raise ValueError("~ is written ~0, and / inside a key ~1 (RFC 6901)")
    return token.replace("~1", "/").replace("~0", "~")


def covers(pattern: Pattern, tokens: Sequence[Token]) -> bool:
    """Whether *pattern* names the place *tokens* or a branch that it lies in."""
    return len(pattern) <= len(tokens) and all(map(fits, pattern, tokens))


def is_at(pattern: Pattern, tokens: Sequence[Token]) -> bool:
    """Whether *pattern* names exactly the place *tokens*."""
    return len(pattern) == len(tokens) and all(map(fits, pattern, tokens))


def leads_to(pattern: Pattern, tokens: Sequence[Token]) -> bool:
    """Whether the place *tokens* holds what *pattern* names, deeper down."""
    return len(tokens) < len(pattern) and all(map(fits, pattern, tokens))


def fits(part: str, token: Token) -> bool:
    """Whether one token of a pattern fits one token of a place; ``{key}``, as reports write it, fits any."""
    return part in (ANY, token) or (part[:1] == "{" and part[-1:] == "}") or part == str(token)


def meets(pattern: Pattern, tokens: Sequence[str]) -> bool:
    """Whether some place that *tokens* of a report stand for leads to *pattern*, or lies at it or below."""
    return all(_may_fit(part, token) for part, token in zip(pattern, tokens, strict=False))


def _may_fit(part: str, token: str) -> bool:
    return fits(part, token) or token == ANY or (token[:1] == "{" and token[-1:] == "}")
