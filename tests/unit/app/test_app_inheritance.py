"""What is handed over is taken by the process that is meant, and only by it."""

import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from understudy.app.inheritance import HANDOVER, inherit
from understudy.errors import ListenError

ASK = """
import json, os
from understudy.app.inheritance import inherit
from understudy.errors import ListenError
try:
    got = inherit(os.environ)
    told = [(given.address, given.is_ours, given.socket.getblocking()) for given in got.sockets]
except ListenError as error:
    told = str(error)
print(json.dumps([told, sorted(name for name in os.environ if name.startswith("LISTEN_"))]))
"""


def activated(*fds: int, pid: str = "$$") -> Any:
    """What a process inherits that is started as systemd starts it, with *fds* as 3 and so on."""
    moves = "".join(f"exec {3 + at}<&{fd}; " for at, fd in enumerate(fds))
    shell = f'{moves}export LISTEN_FDS={len(fds)} LISTEN_PID={pid} LISTEN_FDNAMES=a:b; exec "$@"'
    done = subprocess.run(
        ["/bin/bash", "-c", shell, "bash", sys.executable, "-c", ASK],
        pass_fds=fds,
        capture_output=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def test_sockets_of_systemd_are_taken(tmp_path: Path) -> None:
    """From descriptor 3 on, by their addresses; children are told nothing of them."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "u"))
        unix.listen()
        # High, so that moving one to its place does not overwrite the other.
        first, second = (fcntl.fcntl(each, fcntl.F_DUPFD, 20) for each in (tcp, unix))
        try:
            told, left = activated(first, second)
        finally:
            os.close(first)
            os.close(second)
        port = tcp.getsockname()[1]
    assert told == [[f"127.0.0.1:{port}", False, False], [f"{tmp_path}/u", False, False]]
    assert left == []


def test_what_is_for_another_process_is_left_alone() -> None:
    """LISTEN_PID says for whom it is; the variables are removed all the same."""
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        assert activated(tcp.fileno(), pid="1") == [[], []]


def test_what_is_no_stream_socket_is_refused() -> None:
    """A datagram socket, or a file."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        told, _ = activated(datagrams.fileno())
    assert told == "the inherited file descriptor 3 is no TCP or Unix stream socket"
    reading, writing = os.pipe()
    told, _ = activated(reading)
    os.close(reading)
    os.close(writing)
    assert told == "the inherited file descriptor 3 is no socket: Socket operation on non-socket"


def handover(pid: int, sockets: list[socket.socket], *, is_rehearsal: bool = False) -> dict[str, str]:
    """The variable that one image leaves for the next; *sockets* are its listeners, the last one the link."""
    reading, held = os.pipe()
    *listeners, link = sockets
    told = {
        "pid": pid,
        "is_rehearsal": is_rehearsal,
        "sockets": [{"address": "127.0.0.1:0", "fd": each.detach(), "is_ours": True} for each in listeners],
        "lifeline": [reading, held],
        "folder": "/tmp/folder",
        "link": link.detach(),
        "control": 7,
        "workers": [8, 9],
    }
    return {HANDOVER: json.dumps(told), "HOME": "/"}


def pair() -> list[socket.socket]:
    return [socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))]


def test_the_image_before_hands_over_everything() -> None:
    """Sockets under the addresses of the configuration, the former processes, the link, the lifeline."""
    environ = handover(os.getpid(), pair())
    got = inherit(environ)
    assert environ == {"HOME": "/"}
    assert got.former is not None
    assert (got.former.control, got.former.workers, got.former.folder) == (7, (8, 9), Path("/tmp/folder"))
    (taken,) = got.take("127.0.0.1:0")
    assert got.take("127.0.0.1:0") == []
    assert taken.is_ours
    assert not taken.socket.get_inheritable()
    for fd in got.former.lifeline:
        assert not os.get_inheritable(fd)
        os.close(fd)
    taken.socket.close()
    got.former.link.close()


def test_a_rehearsal_is_no_successor() -> None:
    """It is a child of whoever rehearses, and gets sockets only."""
    got = inherit(handover(os.getppid(), pair(), is_rehearsal=True))
    assert got.is_rehearsal
    assert got.former is None
    for given in got.sockets:
        given.socket.close()


def test_a_variable_inherited_by_accident_is_ignored() -> None:
    """It names another process."""
    got = inherit(handover(os.getpid() + 1, pair()))
    assert (got.sockets, got.former, got.is_rehearsal) == ([], None, False)


def test_nothing_is_handed_over_usually() -> None:
    """And that is no trouble."""
    assert inherit({"LISTEN_FDS": "nonsense", "LISTEN_PID": str(os.getpid())}).sockets == []
    with pytest.raises(ListenError, match="file descriptor 3"):
        inherit({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())})
