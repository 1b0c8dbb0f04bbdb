"""Fixtures of the end-to-end tests. Whatever they start is ended with the module that asked for it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from servers import Server, Serving, StartServer, UnderstudyServe
from store_servers import free_port as find_free_port


@pytest.fixture(scope="module")
def free_port() -> Callable[[], int]:
    """A function that gives another free port of 127.0.0.1 with each call."""
    return find_free_port


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Start any server as a child process, in a folder of its own."""
    with ExitStack() as running:

        def start(arguments: Sequence[str], *, port: int, environ: Mapping[str, str] | None = None) -> Server:
            folder = tmp_path_factory.mktemp("server")
            server = Server.start(arguments, port=port, folder=folder, environ=environ)
            running.callback(server.stop)
            return server

        yield start


@pytest.fixture(scope="module")
def understudy_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnderstudyServe]:
    """Run ``understudy serve`` on a configuration without ``listen`` and ``admin``; both get free ports."""
    with ExitStack() as running:

        def serve(
            config_text: str, *, folder: Path | None = None, files: int = 0, admin: str = ""
        ) -> Serving:
            folder = folder or tmp_path_factory.mktemp("understudy")
            serving = Serving.start(config_text, folder=folder, files=files, admin=admin)
            running.callback(serving.stop)
            return serving

        yield serve
