"""Hide what is private in a sample before it is queued for storage or logged.

A hidden value leaves a keyed hash, so that equal stays equal and different stays different; the key
never leaves the process.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

SECRET_NAMES: Final = re.compile(
    r"(?i)(?:^|[-_.])(?:pass(?:word|wd|phrase)?|secret|token|api[-_]?key|authorization|auth|credentials?|cookie"
    r"|session(?:[-_]?id)?|csrf|otp|pin|cvv|cvc|ssn|iban|card[-_]?number|private[-_]?key)s?(?:$|[-_.])",
)

_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*")
_BEARER = re.compile(r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_KEYED = re.compile(r"\b(?:sk|pk|rk|ghp|gho|xox[abp]|AKIA)[-_A-Za-z0-9]{12,}\b")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
_CARD = re.compile(r"(?<![\w.])(?:\d[ -]?){12,18}\d(?![\w.])")


def luhn(digits: str) -> bool:
    """Whether *digits* carry a valid check digit (ISO/IEC 7812-1)."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        n = int(digit)
        if index % 2:
            n = n * 2 - 9 if n > 4 else n * 2
        total += n
    return total % 10 == 0


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
        self._headers = {f"/headers/{name.lower()}" for name in headers}
        self._paths = [pattern.split("/") for pattern in paths]
        found: dict[str, list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]]] = {
            "token": [(pattern, self._mask("token")) for pattern in (_JWT, _BEARER, _KEYED)],
            "card": [(_CARD, self._mask_card)],
            "email": [(_EMAIL, self._mask("email"))],
        }
        self._detectors = [rule for name in detectors for rule in found[name]]

    def digest(self, text: str) -> str:
        """A short keyed hash of *text*."""
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:12]

    def text(self, text: str) -> str:
        """*text* with everything that a detector knows hidden."""
        for pattern, mask in self._detectors:
            text = pattern.sub(mask, text)
        return text

    def target(self, path: str, query: str) -> str:
        """A request target for people: detectors applied, values of secret-named parameters hidden."""
        pairs = [self._parameter(pair) for pair in query.split("&")] if query else []
        return self.text(path) + ("?" + "&".join(pairs) if pairs else "")

    def value(self, path: str, value: object) -> object:
        """*value* at report path *path*, hidden where a rule, a name or a detector says so."""
        if self._is_hidden(path):
            return None if value is None else f"[redacted {self.digest(repr(value))}]"
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {str(key): self.value(f"{path}/{key}", item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(f"{path}/*", item) for item in value]
        if isinstance(value, int) and not isinstance(value, bool) and self._detectors:
            text = str(value)
            masked = self.text(text)
            return value if masked == text else masked
        return value

    def _is_hidden(self, path: str) -> bool:
        if path in self._headers or any(path.startswith(f"{name}/") for name in self._headers):
            return True
        segments = path.split("/")
        if SECRET_NAMES.search(segments[-1]):
            return True
        return any(_covers(pattern, segments) for pattern in self._paths)

    def _parameter(self, pair: str) -> str:
        name, separator, value = pair.partition("=")
        if separator and SECRET_NAMES.search(name):
            return f"{name}=[redacted {self.digest(value)}]"
        return self.text(pair)

    def _mask(self, what: str) -> Callable[[re.Match[str]], str]:
        return lambda match: f"[{what} {self.digest(match[0])}]"

    def _mask_card(self, match: re.Match[str]) -> str:
        digits = re.sub(r"\D", "", match[0])
        return f"[card {self.digest(digits)}]" if luhn(digits) else match[0]


def _covers(pattern: Sequence[str], segments: Sequence[str]) -> bool:
    """Whether *pattern* names *segments* or a branch above them; ``*`` is any one segment."""
    if len(pattern) > len(segments):
        return False
    return all(p in ("*", s) for p, s in zip(pattern, segments, strict=False))
