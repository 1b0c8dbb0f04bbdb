"""Hide what is private in a sample before it is queued for storage or logged.

A hidden value leaves a keyed hash, so that equal stays equal and different stays different; the key
never leaves the process.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, unquote_plus

import orjson

from understudy.comparators import ISSUED
from understudy.comparators.difference import pointer
from understudy.shadow.hints import DIGIT, SPACE, hint, in_any_case

SECRET_NAMES: Final = re.compile(
    r"(?i)(?:^|[-_. @:$])(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|jwt|(?:api|access|private)[-_]?key"
    r"|auth(?:orization)?|credentials?|cookie|(?:j|php)?sess(?:ion)?(?:[-_]?id)?|sid|csrf|sig(?:nature)?|otp|pin|cvv2?|cvc2?|ssn|iban"
    r"|card[-_]?number)s?(?:$|[-_. ])",
)
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

# A text may be cut at its end, so the end of a token is not asked for.
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){0,4}")
_BEARER = re.compile(r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_KEYED = re.compile(f"(?<![A-Za-z0-9])(?:{ISSUED.pattern})")
_LONG_NAMES = (
    "pass(?:word|wd|phrase|code)|secret|token|(?:api|access|private)[-_]?key|authorization"
    "|session[-_]?id|signature"
)
_SHORT_NAMES = "auth|cookie|csrf|cvv2?|cvc2?|iban|otp|pin|pwd|sid|sig|ssn"
_ASSIGNED = re.compile(
    rf"""(?ix)
    (?: {_LONG_NAMES} | (?<![a-z])(?:{_SHORT_NAMES}) )
    s? (\\*["']?\s*[:=]\s*\\*) ( "[^"]+"? | '[^']+'? | [^\s&;,"'<>{{}}()\[\]]+ )"""
)
_TAG = re.compile(r"<[^<>]{1,2000}(?:>|\Z)")
_TAG_NAME = re.compile(r"""(?i)\b(?:name|id|property)\s*=\s*["']?([^"'<>\s]+)""")
_TAG_VALUE = re.compile(r"""(?i)(\b(?:value|content)\s*=\s*)("[^"]*"?|'[^']*'?|[^\s<>]+)""")
_TAG_REST = re.compile(r"\A…[^<>]{1,2000}(?:>|\Z)")
"""What follows a cut may be the rest of a tag, whose name is gone."""
_ELEMENT_REST = re.compile(r"\A…([^<>]+)(?=</([A-Za-z_][\w.:-]{0,100}))")
_PART = re.compile(
    r"""(?i)(\bname="([^"\r\n]{0,1000}+)"[^\r\n]{0,1000}+(?:\r?\n[^\r\n]{1,1000}+){0,10}\r?\n\r?\n)([^\r\n]+)"""
)
"""A part of a form (RFC 7578): its name, the rest of its head, its first line. The lines of a
head are bounded, so that a text of names alone takes linear time."""
_ELEMENT = re.compile(r"<([A-Za-z_][\w.:-]{0,100})((?:\s[^<>]{0,1000})?>)([^<]+)")
_EMAIL = re.compile(r"[\w.%+'-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63})+")
_CARD = re.compile(r"(?<!\w)(?<!\d\.)\d(?:[ -]?\d){12,}(?!\w)(?!\.\d)")
LONGEST_HALF: Final = 70
"""What `_CUT` takes at most before a cut, but for digits, with what it looks back at."""
_CUT = re.compile(r"(?:(?<!\d)(?<!\d[ -])\d(?:[ -]?\d){5,}|(?<![^\s\"'<>,;&=])[^\s\"'<>,;&=]{1,64})[ -]?…\Z")
"""Half a word before a cut: it may be half of something that would have been hidden."""

_MAY_BEAR = hint(in_any_case("bearer|basic") + SPACE)
_MAY_BE_KEYED = hint(ISSUED.pattern)
_MAY_ASSIGN = hint(in_any_case(f"(?:{_LONG_NAMES}|{_SHORT_NAMES})s?") + rf"""\\*["']?{SPACE}*[:=]""")
_MAY_BE_A_PART = hint(in_any_case("name") + '="')
_MAY_BE_A_CARD = hint(rf"{DIGIT}(?:[ -]?{DIGIT}){{12}}")

_PLAIN = re.compile(r"[a-z/.~]*(?:\d{1,11}[a-z/.~]+)*\d{0,11}")
_MARKS = re.compile(r"[@:=%\s…<]")
_DIGITS = re.compile(r"\d{13}")
_BEGINNINGS = ("eyJ", "KIA", "SIA", "AIza", "xox", "k_", "k-", "sec_", "sec-", "pat_", "pat-", "npm_", "npm-")
_GITHUB = re.compile(r"gh[opsur][-_]")

MOST_PATHS: Final = 4096

SHORTEST_UNIT: Final = 4
"""A shorter unit is hidden where the route finds it alone: elsewhere ``7`` is a number like any other."""


def luhn(digits: str) -> bool:
    """Whether *digits* carry a valid check digit (ISO/IEC 7812-1)."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        n = int(digit)
        if index % 2:
            n = n * 2 - 9 if n > 4 else n * 2
        total += n
    return total % 10 == 0


def is_plain(text: str) -> bool:
    """Whether no detector can find anything in *text*, nor in what it is decoded from a URL.

    In a tenth of the time that looking takes. False only means that one has to look.
    """
    if _PLAIN.fullmatch(text) is not None:
        return True
    if _MARKS.search(text) is not None or _GITHUB.search(text) is not None:
        return False
    if _DIGITS.search(text.replace("-", "")) is not None:
        return False
    for beginning in _BEGINNINGS:  # noqa: SIM110  a generator would take twice the time
        if beginning in text:
            return False
    return True


def spellings(unit: str) -> set[str]:
    """How *unit* may stand in a text: as it is, in a URL, or as a name in a JSON Pointer (RFC 6901)."""
    escaped = quote(unit, safe="", errors="replace")
    return {unit, escaped, escaped.lower(), pointer([unit])[1:]}


@lru_cache(maxsize=MOST_PATHS)
def is_secret_name(name: str) -> bool:
    """Whether a field called *name* holds a secret: ``access_token``, ``userPassword``, ``X-Api-Key``."""
    return SECRET_NAMES.search(_WORDS.sub("-", name)) is not None


class Detector(NamedTuple):
    """What hides each *pattern* in a text, and whether a text may hold one, which is told faster."""

    pattern: re.Pattern[str]
    mask: Callable[[re.Match[str]], str]
    may_hold: Callable[[str], bool]


class Redaction:
    """The rules of hiding, compiled. *key* is secret, at least 16 random bytes."""

    def __init__(
        self,
        *,
        key: bytes,
        headers: Collection[str] = (),
        paths: Sequence[str] = (),
        detectors: Collection[str] = ("token", "card", "email"),
    ) -> None:
        self._key = key
        self._headers = {name.lower() for name in headers}
        self._paths = [pattern.split("/") for pattern in paths]
        found = {
            "token": [
                Detector(_JWT, self._mask("token"), _has("eyJ")),
                Detector(_BEARER, self._mask("token"), _MAY_BEAR),
                Detector(_KEYED, self._mask("token"), _MAY_BE_KEYED),
                Detector(_ASSIGNED, self._mask_assigned, _MAY_ASSIGN),
                Detector(_TAG, self._mask_tag, _has("<")),
                Detector(_TAG_REST, self._mask_values, _is_rest),
                Detector(_ELEMENT_REST, self._mask_element_rest, _is_rest),
                Detector(_PART, self._mask_part, _MAY_BE_A_PART),
                Detector(_ELEMENT, self._mask_element, _has("<")),
            ],
            "card": [Detector(_CARD, self._mask_cards, _MAY_BE_A_CARD)],
            "email": [Detector(_EMAIL, self._mask("email"), _has("@", "%40"))],
        }
        self._detectors = [rule for name in detectors for rule in found[name]]
        self._units: list[Detector] = []
        self._named: dict[str, str] = {}
        self._parameters: frozenset[str] = frozenset()

    def of_unit(self, unit: str, unit_at: str) -> "Redaction":
        """These rules, which hide *unit* too: where the route finds it (*unit_at*, as ``header:x-user``),
        and wherever else it stands as a word of its own. They are made for one pair."""
        if not unit:
            return self
        twin = copy(self)
        kind, _, name = unit_at.partition(":")
        if kind == "header":
            twin._headers = self._headers | {name.lower()}
        elif kind == "query":
            twin._parameters = frozenset({name})
        if len(unit) >= SHORTEST_UNIT:
            forms = spellings(unit)
            word = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, forms))})(?!\w)")
            twin._units = [Detector(word, twin._mask("unit"), _has(*forms)), *self._units]
            twin._named = {}
        return twin

    def digest(self, text: str) -> str:
        """A short keyed hash of *text*."""
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:12]

    def text(self, text: str) -> str:
        """*text* with everything that a detector knows hidden."""
        if not (self._detectors or self._units):
            return text
        for pattern, mask, may_hold in self._units:
            if may_hold(text):
                text = pattern.sub(mask, text)
        if is_plain(text):
            return text
        for pattern, mask, may_hold in self._detectors:
            if may_hold(text):
                text = pattern.sub(mask, text)
        return _without_half(text) if text.endswith("…") else text

    def path(self, path: str) -> str:
        """A report path whose names are none of a user's: a segment that a detector knows is ``{key}``.

        Without a hash, because paths are counted, and counted over restarts.
        """
        known = self._named.get(path)
        if known is None:
            if len(self._named) >= MOST_PATHS:
                self._named.clear()
            segments = path.split("/")
            known = "/".join("{key}" if self.text(segment) != segment else segment for segment in segments)
            self._named[path] = known
        return known

    def target(self, path: str, query: str) -> str:
        """A request target for people: detectors applied, values of secret-named parameters hidden."""
        shown = self._shown(path, unquote(path))
        if query:
            shown += "?" + "&".join(self._parameter(pair) for pair in query.split("&"))
        return shown

    def value(self, path: str, value: object) -> object:
        """*value* at report path *path*, hidden where a rule, a name or a detector says so."""
        if self._is_hidden(path):
            return self._hidden(value)
        return self._visible(path, value)

    def _visible(self, path: str, value: object) -> object:
        if isinstance(value, str):
            return self._visible_text(path, value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._field(path, str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(f"{path}/*", item) for item in value]
        if isinstance(value, int) and not isinstance(value, bool):
            text = str(value)
            masked = self.text(text)
            return value if masked == text else masked
        return value

    def _visible_text(self, path: str, value: str) -> str:
        """A text; one that holds JSON is looked at as a tree, in which names count."""
        if value[:1] in ("{", "["):
            try:
                tree = orjson.loads(value)
                shown = self._visible(path, tree)
                if shown != tree:
                    return orjson.dumps(shown).decode()
            except (ValueError, TypeError, RecursionError):
                pass
        return self.text(value)

    def _field(self, path: str, name: str, value: object) -> object:
        return self._hidden(value) if is_secret_name(name) else self.value(f"{path}/{name}", value)

    def _hidden(self, value: object) -> object:
        return None if value is None else f"[redacted {self.digest(repr(value))}]"

    def _is_hidden(self, path: str) -> bool:
        """Whether the place, or a branch above it, is named by a rule or like a secret."""
        segments = path.split("/")
        if len(segments) > 2 and segments[1] == "headers" and segments[2].lower() in self._headers:
            return True
        if any(is_secret_name(segment) for segment in segments):
            return True
        return any(_covers(pattern, segments) for pattern in self._paths)

    def _parameter(self, pair: str) -> str:
        name, separator, value = pair.partition("=")
        plain = unquote_plus(name)
        if separator and (is_secret_name(plain) or plain in self._parameters):
            return f"{name}=[redacted {self.digest(value)}]"
        parts = (name, value) if separator else (name,)
        return "=".join(self._shown(part, unquote_plus(part)) for part in parts)

    def _shown(self, text: str, plain: str) -> str:
        """A part of a URL: as it came, or decoded (*plain*) where something in it is hidden."""
        masked = self.text(plain)
        return text if masked == plain else masked

    def _mask(self, what: str) -> Callable[[re.Match[str]], str]:
        return lambda match: f"[{what} {self.digest(match[0])}]"

    def _mask_assigned(self, match: re.Match[str]) -> str:
        return f"{match[0][: -len(match[2])]}[redacted {self.digest(match[2])}]"

    def _mask_tag(self, match: re.Match[str]) -> str:
        """A tag of HTML; what it holds under a secret name (``<input name=pin value=…>``) is hidden."""
        tag = match[0]
        if not any(is_secret_name(name[1]) for name in _TAG_NAME.finditer(tag)):
            return tag
        return self._mask_values(match)

    def _mask_values(self, match: re.Match[str]) -> str:
        return _TAG_VALUE.sub(lambda value: f'{value[1]}"[redacted {self.digest(value[2])}]"', match[0])

    def _mask_element_rest(self, match: re.Match[str]) -> str:
        if not is_secret_name(match[2].rpartition(":")[2]):
            return match[0]
        return f"…[redacted {self.digest(match[1])}]"

    def _mask_part(self, match: re.Match[str]) -> str:
        if not is_secret_name(match[2]):
            return match[0]
        return f"{match[1]}[redacted {self.digest(match[3])}]"

    def _mask_element(self, match: re.Match[str]) -> str:
        """An element of XML or HTML with a text; one of a secret name is hidden."""
        if not match[3].strip() or not is_secret_name(match[1].rpartition(":")[2]):
            return match[0]
        return f"<{match[1]}{match[2]}[redacted {self.digest(match[3])}]"

    def _mask_cards(self, match: re.Match[str]) -> str:
        """Hide each run of whole groups of digits that is a card number; others stand beside it."""
        groups = re.split(r"([ -])", match[0])
        shown: list[str] = []
        at = 0
        while at < len(groups):
            end = _card_end(groups, at)
            if end > at:
                shown.append(f"[card {self.digest(''.join(groups[at:end:2]))}]")
            else:
                end = at + 1
                shown.append(groups[at])
            shown += groups[end : end + 1]
            at = end + 1
        return "".join(shown)


def _has(*parts: str) -> Callable[[str], bool]:
    """Whether a text has one of *parts*."""
    return lambda text: any(part in text for part in parts)


def _without_half(text: str) -> str:
    """*text*, which ends with a cut, without half a word before it. Only its end is looked at."""
    at = len(text) - 2
    while at >= 0 and (text[at].isdecimal() or text[at] in " -"):
        at -= 1
    half = _CUT.search(text, max(0, min(at, len(text) - LONGEST_HALF)))
    return text if half is None else f"{text[: half.start()]}…"


def _is_rest(text: str) -> bool:
    """Whether the beginning of *text* was cut off."""
    return text.startswith("…")


def _card_end(groups: Sequence[str], at: int) -> int:
    """Where the card number that starts with group *at* ends; *at* when none does.

    13 to 19 digits (ISO/IEC 7812-1) that begin like those of a payment network, which keeps out the
    milliseconds since 1970.
    """
    digits = ""
    for end in range(at, len(groups), 2):
        digits += groups[end]
        if len(digits) > 19:
            break
        if len(digits) >= 13 and digits[0] in "23456" and luhn(digits):
            return end + 1
    return at


def _covers(pattern: Sequence[str], segments: Sequence[str]) -> bool:
    """Whether *pattern* names *segments* or a branch above them; ``*`` is any one segment."""
    if len(pattern) > len(segments):
        return False
    return all(p in ("*", s) for p, s in zip(pattern, segments, strict=False))
