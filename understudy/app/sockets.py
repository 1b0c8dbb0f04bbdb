"""Bind every address once, in the supervisor, so that a child that dies loses no connection."""

import errno
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from understudy.errors import ListenError

BACKLOG = 4096


def split_address(address: str) -> tuple[str, int]:
    """``"127.0.0.1:80"`` or ``"[::1]:80"`` as (host, port)."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def bind(address: str, *, shared: bool) -> socket.socket:
    """A listening TCP socket on *address*. Raises `ListenError`.

    With *shared*, further sockets may join it (``SO_REUSEPORT``); the first one still refuses an
    address that anybody else listens on, which ``SO_REUSEPORT`` alone would silently share.
    """
    if shared and split_address(address)[1]:
        bind(address, shared=False).close()
    try:
        return _listen(address, shared=shared)
    except OSError as error:
        raise ListenError(f"listen {address}: {_why(error)}") from None


def _listen(address: str, *, shared: bool) -> socket.socket:
    host, port = split_address(address)
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; stop the other program or choose another port"
    if error.errno == errno.EACCES:
        return "not allowed to bind this port; ports below 1024 need root or CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    return os.strerror(error.errno or 0)


def bind_workers(addresses: Iterable[str], workers: int) -> list[list[socket.socket]]:
    """For each worker its own socket on each address, all of one ``SO_REUSEPORT`` group."""
    sets: list[list[socket.socket]] = [[] for _ in range(workers)]
    for address in addresses:
        first = bind(address, shared=True)
        sets[0].append(first)
        for others in sets[1:]:
            others.append(_listen(address_of(first), shared=True))
    return sets


def bind_unix(path: Path) -> socket.socket:
    """A listening Unix socket that only this user can reach."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(str(path))
    path.chmod(0o600)
    bound.listen(128)
    bound.setblocking(False)
    return bound


def address_of(bound: socket.socket) -> str:
    """``host:port`` as bound, with the port that the system chose for 0."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
