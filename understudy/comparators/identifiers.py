"""Tell data from names: ids, hashes and dates in a path segment or a JSON key."""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
NUMBER: Final = re.compile(r"[-+]?\d+")
DATE: Final = re.compile(r"\d{4}-\d\d(?:-\d\d(?:[T _]\d\d[:.\-\dTZ+%A]*)?)?")
HEX: Final = re.compile(r"(?:0x)?[0-9a-f]{8,}|(?:0x)?[0-9A-F]{8,}")
ULID: Final = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
EMAIL: Final = re.compile(r"[^@%\s/]+(?:@|%40)[^@%\s/]+\.[A-Za-z]{2,}")
PREFIXED: Final = re.compile(r"[A-Za-z]{1,12}[-_:.](?:\d{2,}|\d{4}[-_]\d+)")
KEYED: Final = re.compile(r"(?:[a-z]{2,8}_){1,3}(?=[A-Za-z0-9]*\d)(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{8,}")
DIGITS: Final = re.compile(r"\d(?:[ -]?\d){11,}")
"""A long number in groups: a card's, an account's, a telephone's."""

ISSUED: Final = re.compile(
    # Prefixes by which issuers scan for leaked keys: Stripe, OpenAI, GitHub, GitLab, Slack, npm, AWS, Google.
    r"(?:sk|pk|rk|whsec|gh[opsur]|github_pat|glpat|npm)[-_][A-Za-z0-9_-]{16,}|xox[a-z]-[A-Za-z0-9-]{10,}"
    r"|A[KS]IA[A-Z0-9]{12,}|AIza[A-Za-z0-9_-]{20,}"
)
OPAQUE: Final = re.compile(r"[A-Za-z0-9_=\-.~+]{16,}")
LONGEST_NAME: Final = 100  # Diffy's bound: a longer key is data (JsonLifter.areMapInsteadofObjectKeys)


@lru_cache(maxsize=4096)
def identify(text: str) -> str:
    """The placeholder that stands for *text*: ``id``, ``uuid``, ``hash``, ``date``, ``email`` or ``token``.

    Empty when *text* looks like a name. Right for JSON keys, where ``line_2`` is a name.
    """
    if text.isalpha() and len(text) < 16:
        return ""
    if NUMBER.fullmatch(text) or DIGITS.fullmatch(text):
        return "id"
    if UUID.fullmatch(text):
        return "uuid"
    if DATE.fullmatch(text):
        return "date"
    if HEX.fullmatch(text) and any(character.isdigit() for character in text):
        return "hash"
    if ULID.fullmatch(text):
        return "id"
    if EMAIL.fullmatch(text):
        return "email"
    is_token = len(text) > LONGEST_NAME or ISSUED.fullmatch(text) is not None or _is_opaque(text)
    return "token" if is_token else ""


@lru_cache(maxsize=4096)
def identify_segment(text: str) -> str:
    """Like `identify`, for a path segment, where ``order-17`` and ``cus_9s6XKzkNRiz8`` are ids."""
    if "%" in text:
        text = unquote(text)
    if PREFIXED.fullmatch(text) or KEYED.fullmatch(text):
        return "id"
    return identify(text)


def _is_opaque(text: str) -> bool:
    """Long, and mixed as no word is: upper and lower case and digits, or many digits in one piece."""
    if not OPAQUE.fullmatch(text):
        return False
    digits = sum(character.isdigit() for character in text)
    if digits >= 2 and any(c.islower() for c in text) and any(c.isupper() for c in text):
        return not _is_camel_case(text)
    return len(text) >= 20 and digits >= 4 and text.isalnum()


def _is_camel_case(text: str) -> bool:
    """``averageResponseTime95thPercentile`` is a name: its words are long."""
    words = re.findall(r"[A-Z]?[a-z]+", text)
    return sum(len(word) for word in words if len(word) >= 4) * 2 > len(text)
