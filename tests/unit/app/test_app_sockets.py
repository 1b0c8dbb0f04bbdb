"""Addresses are bound once, shared by workers, refused clearly."""

import socket
from pathlib import Path

import pytest

from understudy.app.sockets import address_of, bind, bind_unix, bind_workers
from understudy.errors import ListenError


def port_of(bound: socket.socket) -> int:
    return int(bound.getsockname()[1])


def test_each_worker_has_its_own_socket_on_the_same_port() -> None:
    """Also when the system chooses the port."""
    groups = bind_workers(["127.0.0.1:0", "127.0.0.1:0"], 3)
    try:
        assert [len(group) for group in groups] == [2, 2, 2]
        assert len({port_of(group[0]) for group in groups}) == 1
        assert len({port_of(group[1]) for group in groups}) == 1
        assert port_of(groups[0][0]) != port_of(groups[0][1])
    finally:
        for group in groups:
            for bound in group:
                bound.close()


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
