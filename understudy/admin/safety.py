"""What keeps a page in a browser from using the admin server behind its user's back.

The server listens on a loopback address, but any web page that its user visits may send requests there.
A read is kept private by the same-origin policy, unless the page's own name is made to resolve to the
loopback address (DNS rebinding): so a Host must be a name that only we can mean. A write needs no
readable answer: so one that a browser calls cross-site is refused.
"""

import re
from collections.abc import Collection, Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

SAFE_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""On every answer that does not say otherwise."""

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, 9.2.1)."""

PROBES: Final = frozenset({"/healthz", "/readyz"})
"""Asked by orchestrators under any name, and telling nothing that a page could use."""

_OF_PROXIES: Final = frozenset(
    {b"via", b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"}
)

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\[\]:]+)(?::[0-9]*)?")

RawHeaders = Sequence[tuple[bytes, bytes]]


def values(headers: RawHeaders, name: bytes) -> list[str]:
    """Every value of lower-case *name*."""
    return [value.decode("latin-1").strip() for key, value in headers if key == name]


def is_forwarded(headers: RawHeaders) -> bool:
    """Whether a proxy says that it passed this on: then the peer is the proxy, not who asks."""
    return any(name in _OF_PROXIES for name, _ in headers)


def is_trusted_host(host: str, names: Collection[str]) -> bool:
    """Whether *host* (a Host field) is ``localhost``, below ``.localhost``, one of *names*, or an address.

    An address cannot be rebound: only a name can be made to resolve to something else.
    """
    found = _HOST.fullmatch(host.lower())
    if found is None:
        return False
    name = found["name"].rstrip(".")
    if name == "localhost" or name.endswith(".localhost") or name in names:
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def is_cross_site(headers: RawHeaders, host: str) -> bool:
    """Whether a browser sent this for a page of another origin. Other clients send neither field.

    Another port of the same host is another origin too: what runs there need not be ours.
    """
    sites = values(headers, b"sec-fetch-site")
    if any(site not in ("same-origin", "none") for site in sites):
        return True
    return any(_authority(origin) != host.lower() for origin in values(headers, b"origin"))


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
