"""Entity tags of the rules document (RFC 9110, 8.8.3 and 13.1): ``"12"`` is version 12."""

import re

from understudy.admin.refusal import Refusal

_TAG = re.compile(r'[ \t]*(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?:,|\Z)')

ANY = "*"


def etag(version: int) -> str:
    """The entity tag of *version*, with its quotes."""
    return f'"{version}"'


def matching(field: str, *, weak: bool) -> list[int]:
    """The versions that *field*, a list of entity tags, names; weak tags count only if *weak*.

    A tag that names no version matches nothing, and is left out.

    Raises: Refusal 400 when *field* is no list of entity tags.
    """
    versions, position = [], 0
    while position < len(field):
        found = _TAG.match(field, position)
        if found is None:
            raise Refusal(400, 'an entity tag is written in double quotes: "12"')
        position = found.end()
        if weak or not found["weak"]:
            versions += _version(found["opaque"])
    return versions


def _version(opaque: str) -> list[int]:
    is_number = opaque.isascii() and opaque.isdigit() and len(opaque) <= 18
    return [int(opaque)] if is_number and str(int(opaque)) == opaque else []
