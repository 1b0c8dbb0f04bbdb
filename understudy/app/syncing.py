"""flagd's gRPC sync for as long as the control process runs, where the configuration asks for it."""

import contextlib
import logging
from collections.abc import AsyncIterator

from understudy.admin import ControlPlane, Keyring
from understudy.errors import UnderstudyError

log = logging.getLogger("understudy.control")


@contextlib.asynccontextmanager
async def syncing(control: ControlPlane, address: str, *, keyring: Keyring) -> AsyncIterator[None]:
    """Serve providers at *address*; nothing when it is empty. One that cannot be bound costs nothing else."""
    if not address:
        yield
        return
    # grpcio is an extra: who does not sync does not need it, nor its 40 MB.
    from understudy.admin.sync_grpc import SyncServer

    server = SyncServer(control, address=address, keyring=keyring)
    try:
        await server.start()
    except UnderstudyError as error:
        log.error("%s; providers are not synced over gRPC", error)
    try:
        yield
    finally:
        await server.stop()
