"""Addresses are bound once, shared by workers, refused clearly."""

import os
import socket
from pathlib import Path

import pytest
from store_servers import free_port

from understudy.app.sockets import (
    Bound,
    address_of,
    bind,
    bind_path,
    bind_unix,
    check_free,
    join,
    refuse_new,
)
from understudy.config import Listener
from understudy.errors import ListenError


def port_of(bound: socket.socket) -> int:
    return int(bound.getsockname()[1])


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("other_shares", [False, True])
def test_a_port_that_somebody_listens_on_is_refused(shared: bool, other_shares: bool) -> None:
    """Even if that somebody, a forgotten Understudy for one, would share it."""
    with socket.socket() as other:
        if other_shares:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{port_of(other)}"
        with pytest.raises(ListenError, match=f"listen {address}: the port is in use"):
            bind(address, shared=shared)


def test_an_address_of_another_machine_is_refused() -> None:
    """192.0.2.0/24 is for documentation only."""
    with pytest.raises(ListenError, match="this machine has no such address"):
        bind("192.0.2.1:0", shared=False)


def test_addresses_are_written_as_they_are_read() -> None:
    """IPv6 in brackets, the chosen port instead of 0."""
    with bind("127.0.0.1:0", shared=False) as bound:
        assert address_of(bound) == f"127.0.0.1:{port_of(bound)}"


def test_the_link_is_for_this_user_only(tmp_path: Path) -> None:
    """Rules and users' data pass through it."""
    path = tmp_path / "link"
    with bind_unix(path):
        assert path.stat().st_mode & 0o777 == 0o600


def test_another_socket_joins_the_group() -> None:
    """Of one that may be shared, on the port that the system chose."""
    with bind("127.0.0.1:0", shared=True) as first:
        joined = join(first)
        assert joined is not None
        with joined:
            assert port_of(joined) == port_of(first)


def test_a_socket_that_is_not_shared_stays_alone() -> None:
    """One from systemd, for example: workers then share it."""
    with bind("127.0.0.1:0", shared=False) as first:
        assert join(first) is None


def test_a_unix_socket_is_for_owner_and_group(tmp_path: Path) -> None:
    """From its first moment; the umask of the process stays."""
    mask = os.umask(0o022)
    try:
        with bind_path(tmp_path / "u") as bound:
            assert (tmp_path / "u").stat().st_mode & 0o777 == 0o660
            assert address_of(bound) == str(tmp_path / "u")
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(mask)


def test_the_file_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    """Nobody listens there, so nobody loses anything."""
    bind_path(tmp_path / "u").close()
    with bind_path(tmp_path / "u"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "u"))


def test_the_file_of_a_live_process_is_refused(tmp_path: Path) -> None:
    """And left as it is, also when its queue is full."""
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as waiting:
        other.bind(str(tmp_path / "u"))
        other.listen(0)
        waiting.connect(str(tmp_path / "u"))
        for bind_or_check in (bind_path, lambda path: check_free(Listener(address=str(path), is_unix=True))):
            with pytest.raises(ListenError, match="another process listens there"):
                bind_or_check(tmp_path / "u")
        other.accept()[0].close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """It may be anything."""
    (tmp_path / "u").write_text("precious")
    with pytest.raises(ListenError, match="the file is there and is no socket; remove it yourself"):
        bind_path(tmp_path / "u")
    assert (tmp_path / "u").read_text() == "precious"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Nothing is made for whoever misspelled it."""
    with pytest.raises(ListenError, match=f"there is no folder {tmp_path}/gone"):
        bind_path(tmp_path / "gone" / "u")


def test_a_check_takes_nothing(tmp_path: Path) -> None:
    """A free address is still free after it, one in use is told."""
    with bind(f"127.0.0.1:{free_port()}", shared=True) as bound:
        address = address_of(bound)
        with pytest.raises(ListenError, match="the port is in use"):
            check_free(Listener(address=address))
    check_free(Listener(address=address))
    check_free(Listener(address=str(tmp_path / "u"), is_unix=True))
    bind(address, shared=False).close()
    assert not (tmp_path / "u").exists()


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0"])
def test_nobody_new_connects_while_who_did_can_be_accepted(address: str) -> None:
    """A SYN is dropped, to be repeated a second later; one connection stands in the queue."""
    with bind(address, shared=True) as bound:
        target = bound.getsockname()[:2]
        with socket.create_connection(target, timeout=60) as early:
            refuse_new(Bound(listener=Listener(address=address), socket=bound))
            with pytest.raises(TimeoutError):
                socket.create_connection(target, timeout=0.1)
            early.sendall(b"x")
            accepted, _ = bound.accept()
            with accepted:
                accepted.settimeout(60)
                assert accepted.recv(1) == b"x"
            with pytest.raises(BlockingIOError):
                bound.accept()


def test_a_socket_of_somebody_else_goes_on_taking(tmp_path: Path) -> None:
    """Its queue waits for a successor."""
    with bind("127.0.0.1:0", shared=False) as bound:
        refuse_new(Bound(listener=Listener(address=address_of(bound)), socket=bound, is_ours=False))
        socket.create_connection(bound.getsockname(), timeout=60).close()


def test_the_file_of_a_unix_socket_goes_first(tmp_path: Path) -> None:
    """So that nobody connects to it any more; who did can be accepted."""
    path = tmp_path / "u"
    with bind_path(path) as bound, socket.socket(socket.AF_UNIX) as early:
        early.connect(str(path))
        refuse_new(Bound(listener=Listener(address=str(path), is_unix=True), socket=bound))
        assert not path.exists()
        bound.accept()[0].close()
