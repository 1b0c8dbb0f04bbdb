"""Answers of the OpenFeature Remote Evaluation Protocol (OFREP 0.3), as JSON on the wire.

Stock providers index members that the specification makes optional, and look reasons up in a table: so
`variant` is always there, every error has `errorDetails`, and reasons are those that every SDK knows.
"""

import gzip
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from understudy.admin.payload import json_bytes
from understudy.decide import Evaluation

_REASONS: Final = {"KILLED": "STATIC"}
"""Reasons that SDKs do not know, and what they are told: a killed flag has one answer for everybody."""
_LEAST_GZIP_BYTES: Final = 1024
"""Below one packet, coding saves nothing."""


def success(key: str, found: Evaluation) -> bytes:
    """The answer of flag *key*. Without ``value`` the caller's own default counts."""
    body: dict[str, Any] = {
        "key": key,
        "reason": _REASONS.get(found.reason, found.reason),
        "variant": found.variant,
    }
    if found.variant:
        body["value"] = found.value
    body["metadata"] = _metadata(found)
    return json_bytes(body)


def failure(key: str, found: Evaluation) -> bytes:
    """The answer of flag *key* that could not be evaluated."""
    return json_bytes(
        {
            "key": key,
            "reason": "ERROR",
            "variant": "",
            "errorCode": found.error_code,
            "errorDetails": found.error_details,
            "metadata": dict(found.metadata),
        }
    )


def _metadata(found: Evaluation) -> dict[str, Any]:
    return {**found.metadata, **({"killed": True} if found.reason == "KILLED" else {})}


def bulk(
    entries: Sequence[bytes], *, metadata: Mapping[str, Any], streams: Sequence[Mapping[str, Any]]
) -> bytes:
    """The answer for all flags at once."""
    about = json_bytes({"metadata": dict(metadata), "eventStreams": list(streams)})
    return b'{"flags":[' + b",".join(entries) + b"]," + about[1:]


def bulk_tag(*, version: int, selector: str, context: bytes, body: bytes) -> str:
    """The opaque part of a bulk answer's entity tag.

    *context* is in canonical form. The version alone would let two users share an answer; the *body* stands
    in it because rules may look at the clock, which changes answers without changing anything else.
    """
    digest = blake2b(digest_size=16)
    for part in (b"%d" % version, selector.encode("utf-8", "surrogatepass"), context, body):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()


def coding_of(body: bytes, *, accepted: str) -> str:
    """How *body* is coded: ``gzip`` where an Accept-Encoding field allows it and it pays, else empty."""
    return "gzip" if len(body) >= _LEAST_GZIP_BYTES and accepts_gzip(accepted) else ""


def coded(body: bytes, coding: str) -> bytes:
    """*body* in *coding*; the same bytes whenever it is the same body."""
    return gzip.compress(body, compresslevel=1, mtime=0) if coding else body


def accepts_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding field allows gzip (RFC 9110, 12.5.3)."""
    weights = {}
    for part in accepted.lower().split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip()] = parameter.strip().removeprefix("q=").strip()
    weight = weights.get("gzip", weights.get("*"))
    return weight is not None and (weight == "" or weight.strip("0.") != "")
