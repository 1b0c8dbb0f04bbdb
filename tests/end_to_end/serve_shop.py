"""Serve a shop of `server_shops` by a server that has no command for it: ``serve_shop.py SERVER PORT``."""

import signal
import sys
from typing import Any


def waitress(port: int) -> None:
    """As waitress-serve does, which dies of SIGTERM at once: that is made an exit in order."""
    from waitress import serve

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve(load(), host="127.0.0.1", port=port, threads=4)


def gevent(port: int) -> None:
    """By gevent's own server, with everything patched; it stops in order by SIGTERM."""
    from gevent import monkey

    monkey.patch_all()
    from gevent import pywsgi, signal_handler

    server = pywsgi.WSGIServer(("127.0.0.1", port), load(), log=None)
    signal_handler(signal.SIGTERM, server.stop)
    server.serve_forever()


def load() -> Any:
    """The application, imported after whatever had to be patched."""
    import server_shops

    return server_shops.app


if __name__ == "__main__":
    {"waitress": waitress, "gevent": gevent}[sys.argv[1]](int(sys.argv[2]))
