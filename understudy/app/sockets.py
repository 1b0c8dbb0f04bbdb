"""Bind every address once, in the supervisor, so that a child that dies loses no connection."""

import ctypes
import errno
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISSOCK
from typing import Final

from understudy.config import Listener
from understudy.errors import ListenError

BACKLOG: Final = 4096

UNIX_MODE: Final = 0o660
"""Who may connect is decided by the group of the file, as for any file that others may write to."""

SO_ATTACH_FILTER: Final = 26
"""From asm-generic/socket.h; the socket module has no name for it."""

NO_SYN: Final = b"".join(
    # ldb [13] (the flags of a TCP header); jset SYN; ret 0 (drop); ret -1 (take all of it).
    struct.pack("HBBI", *step)
    for step in ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A listening socket. One that is not *is_ours* stays open with who gave it to us (systemd)."""

    listener: Listener
    socket: socket.socket
    is_ours: bool = True


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


def check_free(listener: Listener) -> None:
    """Raises `ListenError` when *listener* could not be bound now; disturbs nobody who listens."""
    if listener.is_unix:
        _check_path(Path(listener.address))
        return
    try:
        _bound(listener.address, shared=False).close()
    except OSError as error:
        raise ListenError(f"listen {listener.address}: {_why(error)}") from None


def join(bound: socket.socket) -> socket.socket | None:
    """Another socket in the group of *bound*; None where that cannot be: both then share the one."""
    if not bound.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
        return None
    try:
        return _listen(address_of(bound), shared=True)
    except OSError:
        return None


def _listen(address: str, *, shared: bool) -> socket.socket:
    bound = _bound(address, shared=shared)
    try:
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _bound(address: str, *, shared: bool) -> socket.socket:
    host, port = split_address(address)
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
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


def bind_path(path: Path) -> socket.socket:
    """A listening Unix socket for clients, of mode ``UNIX_MODE``. Raises `ListenError`.

    A socket file that nobody listens on is left by a process that died, and replaced.
    """
    _check_path(path)
    with suppress(FileNotFoundError):
        path.unlink()
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o777 & ~UNIX_MODE)  # so that it never has another mode, not for a moment
    try:
        bound.bind(str(path))
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise ListenError(f"listen unix:{path}: {os.strerror(error.errno or 0)}") from None
    finally:
        os.umask(mask)
    return bound


def _check_path(path: Path) -> None:
    """Raises `ListenError` when something at *path* must not be replaced, or its folder is none."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise ListenError(f"listen unix:{path}: there is no folder {path.parent}") from None
        return
    except OSError as error:
        raise ListenError(f"listen unix:{path}: {os.strerror(error.errno or 0)}") from None
    if not S_ISSOCK(mode):
        raise ListenError(f"listen unix:{path}: the file is there and is no socket; remove it yourself")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
        except OSError as error:
            if error.errno != errno.EAGAIN:  # its queue is full: it is alive
                raise ListenError(f"listen unix:{path}: {os.strerror(error.errno or 0)}") from None
    raise ListenError(f"listen unix:{path}: another process listens there; stop it or choose another path")


def bind_unix(path: Path) -> socket.socket:
    """A listening Unix socket that only this user can reach."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(str(path))
    path.chmod(0o600)
    bound.listen(128)
    bound.setblocking(False)
    return bound


def refuse_new(bound: Bound) -> None:
    """Let nobody new connect, while those who already are can still be accepted.

    The file of a Unix socket goes. A TCP socket drops SYNs, which a client repeats after a second, to be
    refused then: between the last ``accept`` and the close of a listener the kernel would take another
    connection, only to reset it. What is not ours is left alone, because its queue waits for a successor.
    """
    if not bound.is_ours:
        return
    with suppress(OSError):
        if bound.listener.is_unix:
            Path(bound.listener.address).unlink()
        else:
            program = ctypes.create_string_buffer(NO_SYN, len(NO_SYN))
            fprog = struct.pack("HP", len(NO_SYN) // 8, ctypes.addressof(program))
            bound.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)


def address_of(bound: socket.socket) -> str:
    """``host:port`` as bound, with the port that the system chose for 0; the path of a Unix socket."""
    name = bound.getsockname()
    if not isinstance(name, tuple):
        return os.fsdecode(name)
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
