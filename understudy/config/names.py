"""Names that end up in header fields, URLs and metric labels, so they keep to a narrow grammar."""

import re

from understudy.config.place import Place, Refused, shown, suggestion
from understudy.forwarding import COHORT_PREFIX, CREDENTIALS, HOP_BY_HOP, PASS, kind_of

NAME_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"
"""Services, flags and variants: what a header field, a URL segment and a metric label all carry as it is."""
FIELD_NAME_PATTERN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$"
"""A token of RFC 9110 5.6.2."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}\Z")
# RFC 9110 5.5 without obs-text: what is set from a file is ASCII.
_FIELD_VALUE = re.compile(r"([!-~]([\t -~]{0,8190}[!-~])?)?\Z")
_OURS = frozenset({b"host", b"content-length", b"via", b"expect"}) | HOP_BY_HOP


def check_name(name: str, place: Place, what: str = "name") -> None:
    """A problem at *place* unless *name* can stand in a header field, a URL and a metric label."""
    if not _NAME.match(name):
        meant = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")[:64]
        hint = f"did you mean {meant}?" if meant else ""
        place.refuse(f"{shown(name)} is not a {what}: 1 to 64 letters, digits, '.', '_' or '-'", hint)


def read_field_name(value: object) -> str:
    """A header field's name, lower case."""
    if not isinstance(value, str):
        raise Refused(f"must be the name of a header field, not {shown(value)}")
    if not _FIELD_NAME.match(value):
        raise Refused(f"{shown(value)} cannot name a header field", "letters, digits and hyphens")
    return value.lower()


def read_request_id(value: object) -> str:
    """The lower-case name of the field that carries a request's id; empty for ``off``."""
    if isinstance(value, str) and value.lower() == "off":
        return ""
    if value is False:
        raise Refused("must be the name of a header field, not false", "did you mean off?")
    name = read_field_name(value)
    dashed = name.replace("_", "-").encode()
    if dashed == b"traceparent" or kind_of(dashed) != PASS:
        raise Refused(f"{shown(value)} means something else already", "did you mean x-request-id?")
    return name


def read_credential(value: object) -> str:
    """The lower-case name of one of the fields that copies are stripped of."""
    name = read_field_name(value)
    known = sorted(field.decode() for field in CREDENTIALS - HOP_BY_HOP)
    if name not in known:
        raise Refused(f"{shown(value)} is not stripped from copies anyway", suggestion(name, known))
    return name


def read_set_headers(value: object, place: Place) -> dict[str, str]:
    """Fields to replace on every request to a service, names as spelled."""
    fields: dict[str, str] = {}
    seen: dict[str, str] = {}
    for name, text in place.mapping(value).items():
        at = place.key(name)
        try:
            lower = read_field_name(name)
            _ours_to_set(lower)
            fields[name] = _field_value(text)
        except Refused as refused:
            at.refuse(refused.message, refused.hint)
            continue
        if lower in seen:
            at.refuse(f"sets the same field as {shown(seen[lower])}")
        seen[lower] = name
    return fields


def _ours_to_set(lower: str) -> None:
    if lower.encode() in _OURS:
        raise Refused("belongs to the connection, so it cannot be set")
    if lower.replace("_", "-").encode().startswith(COHORT_PREFIX):
        raise Refused("X-Understudy- fields are set by Understudy alone")


def _field_value(text: object) -> str:
    if not isinstance(text, str):
        raise Refused(
            f"must be text, not {shown(text)}", f'quote it: "{text}"' if isinstance(text, int) else ""
        )
    if not _FIELD_VALUE.match(text):
        # The value is often a credential: it is not repeated.
        raise Refused(
            "is not a field value: visible ASCII, spaces inside, no line breaks, at most 8192 characters",
        )
    return text
