"""Addresses: where we listen, which origin a service has, which peers are trusted.

Addresses come from configuration only, and say one thing: no path, no user, no guessing.
"""

import ipaddress
import re
from importlib.util import find_spec
from urllib.parse import urlsplit

from understudy.config.place import Refused, shown

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?\Z"
)
_PRINTABLE = re.compile(r"[!-~]+\Z")
_LONGEST_SOCKET_PATH = 107
"""sun_path of Linux has 108 bytes, the last of them NUL (unix(7))."""


def read_listen(value: object) -> str:
    """``127.0.0.1:8080``, ``[::1]:8080``; port 0 takes any free one. ``localhost`` becomes 127.0.0.1.

    Names are refused: a resolver shall not choose the interface that strangers reach.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        raise Refused(f"must be address:port, not {value}", f"did you mean 127.0.0.1:{value}?")
    if not isinstance(value, str):
        raise Refused(f"must be address:port, not {shown(value)}", "for example 127.0.0.1:8080 or [::1]:8080")
    if value.startswith(("unix:", "/")):
        raise Refused("a Unix socket cannot stand here", "an address does, such as 127.0.0.1:8080")
    host, colon, port = value.rpartition(":")
    if not colon or (":" in value and not host and not port):
        meant = f"127.0.0.1:{value}" if value.isdecimal() else f"{value.strip(':') or '127.0.0.1'}:8080"
        raise Refused(f"{shown(value)} has no port", f"did you mean {meant}?")
    _unambiguous(value, host)
    return f"{_interface(value, host)}:{_port(value, port, least=0)}"


def _unambiguous(value: str, host: str) -> None:
    if ":" not in host or host.startswith("["):
        return
    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        bracketed = host
    else:
        bracketed = host if _is_ipv6(host) else value
    raise Refused(
        f"{shown(value)}: an IPv6 address stands in brackets",
        f"did you mean [{bracketed}]:{value.rpartition(':')[2]}?",
    )


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _interface(value: str, host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    if host in {"", "*"}:
        port = value.rpartition(":")[2]
        raise Refused(
            f"{shown(value)} names no address",
            f"0.0.0.0:{port} listens everywhere, 127.0.0.1:{port} only here",
        )
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        raise Refused(
            f"{shown(host)} is not an IP address", "for example 127.0.0.1:8080 or [::1]:8080"
        ) from None
    if address.version == 4 and bare != host:
        raise Refused(f"{shown(value)}: brackets are for IPv6 addresses", f"did you mean {bare}?")
    return f"[{address}]" if address.version == 6 else str(address)


def _port(value: str, text: str, *, least: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise Refused(f"{shown(value)}: {shown(text)} is not a port")
    port = int(text)
    if not least <= port <= 65535:
        raise Refused(f"{shown(value)}: port {port} is out of range", f"{least} to 65535")
    return port


def overlap(one: str, other: str) -> bool:
    """Whether two listen addresses as read by `read_listen` cannot both be bound.

    An address for all interfaces takes the port on each of them; ``[::]`` takes IPv4 too, where the
    system has dual-stack sockets.
    """
    (host, port), (other_host, other_port) = _split(one), _split(other)
    if port != other_port or port == "0":
        return False
    if host == other_host or "[::]" in {host, other_host}:
        return True
    return "0.0.0.0" in {host, other_host} and "[" not in host + other_host  # noqa: S104 - compared, not bound


def is_loopback(listen: str) -> bool:
    """Whether only this machine can reach *listen*."""
    return ipaddress.ip_address(_split(listen)[0].strip("[]")).is_loopback


def _split(listen: str) -> tuple[str, str]:
    host, _, port = listen.rpartition(":")
    return host, port


def read_origin(value: object) -> str:
    """``http://host:port`` or ``https://host:port``, the port always written out, or ``unix:/path``.

    Raises Refused for everything beyond an origin.
    """
    if isinstance(value, list):
        raise Refused("must be one URL, not a list", "several stand under origins")
    if not isinstance(value, str):
        raise Refused(f"must be a URL, not {shown(value)}", "for example http://127.0.0.1:9001")
    if not _PRINTABLE.match(value):
        raise Refused(
            f"{shown(value)} has characters that no URL has", "names beyond ASCII are written in punycode"
        )
    if value.startswith("unix:"):
        return _unix_origin(value)
    scheme, separator, rest = value.partition("://")
    if not separator:
        meant = f"unix:{value}" if value[0] == "/" else "http://" + re.sub(r"\Ahttps?:?/*", "", value)
        raise Refused(f"{shown(value)} has no scheme", f"did you mean {meant}?")
    if scheme not in {"http", "https"}:
        raise Refused(f"{shown(value)}: a service speaks http", f"did you mean http://{rest}?")
    return _origin(value, scheme)


def _unix_origin(value: str) -> str:
    path = value.removeprefix("unix:")
    example = "for example unix:/run/shop.sock"
    if path.startswith("//"):
        meant = path.lstrip("/")
        raise Refused(f"{shown(value)}: a path begins with one slash", f"did you mean unix:/{meant}?")
    if not path.strip("/") or path.endswith("/"):
        raise Refused(f"{shown(value)} names no socket", example)
    if path.startswith("@"):
        raise Refused(f"{shown(value)}: abstract sockets are not offered", example)
    if len(path) > _LONGEST_SOCKET_PATH:
        raise Refused(f"{shown(value)} is longer than a socket's path may be: {_LONGEST_SOCKET_PATH}")
    return value


def _origin(value: str, scheme: str) -> str:
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise Refused(f"{shown(value)} is not a URL: {error}") from None
    shorter = f"did you mean {scheme}://{parts.netloc.rpartition('@')[2]}?"
    if "@" in parts.netloc:
        raise Refused("user and password do not belong into a URL", "see set_headers; " + shorter)
    if parts.query or "?" in value:
        raise Refused(f"{shown(value)} has a query; an origin has none", shorter)
    if parts.fragment or "#" in value:
        raise Refused(f"{shown(value)} has a fragment; an origin has none", shorter)
    if parts.path not in {"", "/"}:
        raise Refused(f"{shown(value)} has a path; requests keep the path they came with", shorter)
    if not is_host(host):
        raise Refused(f"{shown(value)}: {shown(host)} is not a host", "for example http://127.0.0.1:9001")
    if port == 0:
        raise Refused(f"{shown(value)}: port 0 is out of range", "1 to 65535")
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port or (443 if scheme == 'https' else 80)}"


def is_host(host: str) -> bool:
    """Whether *host* is a name or an address, the latter without brackets and in its usual form."""
    if ":" in host:
        return _is_ipv6(host)
    if re.fullmatch(r"[0-9.]+", host) or host.lower().startswith("0x"):
        # 127.1 and 2130706433 are addresses to some resolvers and names to others.
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            return False
        return True
    return bool(_HOST_NAME.match(host))


UNIX_PEERS = "unix"
"""Stands among networks for whoever connects to a Unix socket, who has no address."""


def read_network(value: object) -> str:
    """``10.0.0.0/8``; a single address is a network of one; ``unix`` is every peer on a Unix socket."""
    if not isinstance(value, str):
        raise Refused(f"must be a network, not {shown(value)}", "for example 10.0.0.0/8")
    if value == UNIX_PEERS:
        return value
    if value.startswith("unix:"):
        raise Refused(f"{shown(value)} is not a network", "did you mean unix?")
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise Refused(f"{shown(value)} is not a network", "for example 10.0.0.0/8") from None
    raise Refused(f"{shown(value)} has bits set beyond its mask", f"did you mean {meant}?")


def read_page_origin(value: object) -> str:
    """The origin of a page as browsers write it: scheme, host, and port when it is not the usual; or ``*``.

    Raises: Refused.
    """
    if value == "*":
        return "*"
    text = value.lower() if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise Refused(f"must be an origin such as https://app.example.com, not {shown(value)}")
    origin = f"{parts.scheme}://{parts.netloc}"
    if text != origin:
        raise Refused(f"must be scheme, host and port alone, not {shown(value)}", f"did you mean {origin}?")
    return origin


def read_sync(value: object) -> str:
    """The address of flagd's sync; empty for ``off``. Raises: Refused, also when grpcio is missing."""
    if value is False or (isinstance(value, str) and value.lower() == "off"):
        return ""
    address = read_listen(value)
    if not is_loopback(address):
        raise Refused(f"{address} can be reached from other machines, and this version has no API tokens")
    if find_spec("grpc") is None:
        raise Refused("flagd's sync needs grpcio", "pip install 'understudy[flagd]'")
    return address
