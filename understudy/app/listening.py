"""Every listening socket of a run: inherited where one is handed over, bound where none is."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from understudy.app.inheritance import Inheritance
from understudy.app.sockets import Bound, address_of, bind, bind_path, check_free, join
from understudy.config import Listener, Settings, listeners

log = logging.getLogger("understudy")


def listeners_of(settings: Settings) -> tuple[Listener, ...]:
    """Where the proxy listens."""
    return listeners(settings.listen, has_tls=settings.tls is not None)


def admin_listener(settings: Settings) -> Listener:
    """Where the admin API listens."""
    return Listener(address=settings.admin.listen)


def bind_admin(settings: Settings, inheritance: Inheritance) -> Bound:
    """The socket of the admin API. Raises `ListenError`."""
    listener = admin_listener(settings)
    for given in inheritance.take(listener.address):
        return Bound(listener=listener, socket=given.socket, is_ours=given.is_ours)
    return Bound(listener=listener, socket=bind(listener.address, shared=False))


def bind_all(settings: Settings, inheritance: Inheritance) -> list[list[Bound]]:
    """For each worker its sockets. Raises `ListenError`.

    Each worker has its own on each address, of one ``SO_REUSEPORT`` group; where there are fewer (a Unix
    socket, one from systemd), workers share. One more than there are workers is served too: closing it would
    reset who waits in it.
    """
    groups: list[list[Bound]] = [[] for _ in range(settings.workers)]
    for listener in listeners_of(settings):
        sockets = _sockets(listener, settings.workers, inheritance)
        for index, group in enumerate(groups):
            group += sockets[index :: settings.workers] or [sockets[index % len(sockets)]]
    return groups


def _sockets(listener: Listener, workers: int, inheritance: Inheritance) -> list[Bound]:
    found = [
        Bound(listener=listener, socket=given.socket, is_ours=given.is_ours)
        for given in inheritance.take(listener.address)
    ]
    if not found:
        if listener.is_unix:
            return [Bound(listener=listener, socket=bind_path(Path(listener.address)))]
        found = [Bound(listener=listener, socket=bind(listener.address, shared=True))]
    while len(found) < workers and found[0].is_ours and not listener.is_unix:
        another = join(found[0].socket)
        if another is None:
            break
        found.append(Bound(listener=listener, socket=another))
    return found


def rehearse(settings: Settings, inheritance: Inheritance) -> None:
    """Raises `ListenError` when an address that is not handed over could not be bound."""
    for listener in (admin_listener(settings), *listeners_of(settings)):
        if not inheritance.take(listener.address):
            check_free(listener)


def shown(bound: Sequence[Bound]) -> str:
    """The addresses as bound, as URLs."""
    found = [replace(each.listener, address=address_of(each.socket)) for each in bound]
    return ", ".join(dict.fromkeys(map(str, found)))
