"""Where the proxy listens: TCP addresses, plain or with TLS, and Unix sockets."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from understudy.config.address import overlap, read_listen
from understudy.config.place import Place, Refused, shown

UNIX: Final = "unix:"
PLAIN: Final = "http://"
TLS: Final = "https://"

LONGEST_PATH: Final = 107
"""``sun_path`` of a Unix socket has 108 bytes, the last of them NUL (unix(7))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One address: ``host:port`` of a TCP listener, the path of a Unix socket."""

    address: str
    is_unix: bool = False
    is_tls: bool = False

    def __str__(self) -> str:
        if self.is_unix:
            return UNIX + self.address
        return (TLS if self.is_tls else PLAIN) + self.address


def read_listener(value: object) -> str:
    """An address as `read_listen` takes it, alone or behind ``http://`` or ``https://``; or ``unix:PATH``."""
    if not isinstance(value, str):
        return read_listen(value)
    if value.startswith(UNIX):
        return UNIX + _socket_path(value)
    if value.startswith("/"):
        raise Refused(f"{shown(value)} is not an address", f"did you mean unix:{value}?")
    for scheme in (PLAIN, TLS):
        if value.startswith(scheme):
            return scheme + read_listen(value.removeprefix(scheme).removesuffix("/"))
    scheme, separator, rest = value.partition("://")
    if separator:
        raise Refused(f"{shown(value)}: a listener speaks http or https", f"did you mean {PLAIN}{rest}?")
    return read_listen(value)


def _socket_path(value: str) -> str:
    path = value.removeprefix(UNIX)
    example = "for example unix:/run/understudy.sock"
    if path.startswith("//"):
        raise Refused(
            f"{shown(value)}: a path begins with one slash", f"did you mean unix:/{path.lstrip('/')}?"
        )
    if not path.strip("/") or path.endswith("/") or "\x00" in path:
        raise Refused(f"{shown(value)} names no file", example)
    if path.startswith("@"):
        # No mode guards a name in the abstract namespace: any process of the network namespace may connect.
        raise Refused(f"{shown(value)}: abstract sockets are not offered", example)
    return path


def resolve_listen(listen: Sequence[str], base: Path) -> tuple[str, ...]:
    """*listen* with every Unix socket's path absolute: a relative one lies in *base*."""
    return tuple(
        UNIX + str((base / address.removeprefix(UNIX)).absolute()) if address.startswith(UNIX) else address
        for address in listen
    )


def listeners(listen: Sequence[str], *, has_tls: bool) -> tuple[Listener, ...]:
    """What *listen* says: with certificates, every TCP address speaks TLS unless it says ``http://``."""
    return tuple(_listener(address, has_tls) for address in listen)


def _listener(address: str, has_tls: bool) -> Listener:
    if address.startswith(UNIX):
        return Listener(address=address.removeprefix(UNIX), is_unix=True)
    if address.startswith(PLAIN):
        return Listener(address=address.removeprefix(PLAIN))
    if address.startswith(TLS):
        return Listener(address=address.removeprefix(TLS), is_tls=True)
    return Listener(address=address, is_tls=has_tls)


def clash(one: Listener, other: Listener) -> bool:
    """Whether the two cannot both be bound."""
    if one.is_unix or other.is_unix:
        return one.is_unix and other.is_unix and one.address == other.address
    return overlap(one.address, other.address)


def check_listeners(listen: Sequence[str], values: Mapping[str, Any], base: Path, place: Place) -> None:
    """Problems of the addresses themselves: no certificate for ``https://``, a path that is too long."""
    for index, address in enumerate(listen):
        at = place.key("listen").item(index)
        if address.startswith(TLS) and "tls" not in values:
            at.refuse(f"{address} needs a certificate", "tls: {cert: cert.pem, key: key.pem}")
        (absolute,) = resolve_listen((address,), base)
        if absolute.startswith(UNIX) and len(os.fsencode(absolute.removeprefix(UNIX))) > LONGEST_PATH:
            at.refuse(
                f"{absolute} is longer than the {LONGEST_PATH} bytes that a Unix socket's path may have"
            )
