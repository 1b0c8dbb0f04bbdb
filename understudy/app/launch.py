"""From settings to running processes: bind or inherit every socket, then hand all to the supervisor."""

import logging
import os
import secrets
import shutil
import ssl
import tempfile
from pathlib import Path
from typing import Final

from understudy.app.board import Board
from understudy.app.inheritance import Former, Inheritance, inherit
from understudy.app.listening import bind_admin, bind_all, rehearse, shown
from understudy.app.notify import Notifier
from understudy.app.resources import tell_resources
from understudy.app.runtime import Runtime
from understudy.app.sockets import address_of, bind_unix
from understudy.app.supervisor import Supervisor
from understudy.config import Settings, server_context
from understudy.errors import ListenError

log = logging.getLogger("understudy")

LONGEST_FOLDER: Final = 90
"""A Unix socket's path has at most 107 bytes."""


def serve(settings: Settings, *, config_path: Path | None = None) -> int:
    """Run the proxy in the foreground until SIGTERM or SIGINT; the exit status.

    Raises `ListenError` before anything is started when an address cannot be bound, and `CertificateError`
    when the certificate cannot be used any more.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    tell_resources(settings)
    # Imported before the fork, so that every worker shares the memory.
    import understudy.app.worker

    inheritance = inherit(os.environ)
    if inheritance.is_rehearsal:
        import understudy.app.control  # noqa: F401

        rehearse(settings, inheritance)
        return 0
    former = inheritance.former
    admin = bind_admin(settings, inheritance)
    workers = bind_all(settings, inheritance)
    folder = former.folder if former else _folder()
    try:
        lifeline, held = former.lifeline if former else os.pipe()
        hearing, telling = os.pipe()
        runtime = Runtime(
            settings=settings,
            config_path=config_path and config_path.absolute(),
            folder=folder,
            link_socket=former.link if former else bind_unix(folder / "link"),
            admin=admin,
            worker_sockets=workers,
            lifeline=lifeline,
            held=held,
            telling=telling,
            hearing=hearing,
            via_id=b"understudy-" + secrets.token_hex(4).encode("ascii"),
            board=Board(),
            tls=_tls(settings),
        )
        log.info(
            "understudy serves %s from %s, admin at http://%s",
            shown(workers[0]),
            config_path or "settings",
            address_of(admin.socket),
        )
        return _supervise(runtime, inheritance, former)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _supervise(runtime: Runtime, inheritance: Inheritance, former: Former | None) -> int:
    if former is None:
        for given in inheritance.sockets:
            log.warning("the inherited socket %s is no address in listen, and is not used", given.address)
            given.socket.close()
        inheritance.sockets = []
    supervisor = Supervisor(
        runtime, notifier=Notifier(os.environ), former=former, dropped=inheritance.sockets
    )
    return supervisor.run()


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls is None:
        return None
    return server_context(Path(settings.tls.cert), Path(settings.tls.key))


def _folder() -> Path:
    """A new folder for the link's socket, whose path must be short. Raises `ListenError`."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="understudy-"))
        if len(os.fsencode(folder)) > LONGEST_FOLDER:
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix="understudy-", dir="/tmp"))
    except OSError as error:
        raise ListenError(f"no folder for temporary files: {error}") from None
    return folder
