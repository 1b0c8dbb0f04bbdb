"""Which sockets a run listens on: inherited where one is handed over, bound where none is."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from understudy.app.inheritance import Given, Inheritance
from understudy.app.listening import bind_admin, bind_all, rehearse, shown
from understudy.app.sockets import Bound, address_of, bind, bind_path, join
from understudy.config import Settings, parse_settings
from understudy.errors import ListenError


def settings(folder: Path, **changes: Any) -> Settings:
    """A small configuration with *changes*."""
    document = {"services": {"v1": {"url": "http://127.0.0.1:9001"}}, "store": "memory://", **changes}
    return parse_settings(document, base=folder, environ={})


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Closes what a test enters."""
    with ExitStack() as stack:
        yield stack


def bound_by(opened: ExitStack, configured: Settings, inheritance: Inheritance) -> list[list[Bound]]:
    """`bind_all`, closed after the test."""
    groups = bind_all(configured, inheritance)
    for group in groups:
        for each in group:
            opened.enter_context(each.socket)
    return groups


def port_of(bound: Bound) -> int:
    return int(bound.socket.getsockname()[1])


def given(opened: ExitStack, bound: socket.socket, *, is_ours: bool) -> Given:
    """*bound* as it is handed over."""
    return Given(address=address_of(opened.enter_context(bound)), socket=bound, is_ours=is_ours)


def test_each_worker_has_its_own_socket_on_the_same_port(opened: ExitStack, tmp_path: Path) -> None:
    """Also when the system chooses the port."""
    configured = settings(tmp_path, listen=["127.0.0.1:0", "[::1]:0"], workers=3)
    groups = bound_by(opened, configured, Inheritance())
    assert [len(group) for group in groups] == [2, 2, 2]
    assert len({port_of(group[0]) for group in groups}) == 1
    assert len({port_of(group[1]) for group in groups}) == 1
    assert len({each.socket.fileno() for group in groups for each in group}) == 6


def test_workers_share_a_unix_socket(opened: ExitStack, tmp_path: Path) -> None:
    """There is one file, so there is one socket."""
    groups = bound_by(opened, settings(tmp_path, listen="unix:u", workers=2), Inheritance())
    assert [group[0].socket for group in groups] == [groups[0][0].socket] * 2
    assert shown(groups[0]) == f"unix:{tmp_path}/u"


def test_workers_share_a_socket_of_systemd(opened: ExitStack, tmp_path: Path) -> None:
    """It is found by its address, and nothing is bound beside it."""
    handed = given(opened, bind("127.0.0.1:0", shared=False), is_ours=False)
    inheritance = Inheritance(sockets=[handed])
    groups = bound_by(opened, settings(tmp_path, listen=handed.address, workers=2), inheritance)
    assert [group[0].socket for group in groups] == [handed.socket] * 2
    assert not groups[0][0].is_ours
    assert inheritance.sockets == []


def test_a_group_of_ours_grows_with_the_workers(opened: ExitStack, tmp_path: Path) -> None:
    """The socket that was handed over stays in use."""
    handed = given(opened, bind("127.0.0.1:0", shared=True), is_ours=True)
    configured = settings(tmp_path, listen=handed.address, workers=2)
    groups = bound_by(opened, configured, Inheritance(sockets=[handed]))
    assert groups[0][0].socket is handed.socket
    assert groups[1][0].socket is not handed.socket
    assert port_of(groups[1][0]) == port_of(groups[0][0])


def test_no_socket_is_closed_when_workers_are_fewer(opened: ExitStack, tmp_path: Path) -> None:
    """Who waits in it would be reset: the one worker serves both."""
    first = given(opened, bind("127.0.0.1:0", shared=True), is_ours=True)
    joined = join(first.socket)
    assert joined is not None
    second = given(opened, joined, is_ours=True)
    (group,) = bound_by(
        opened, settings(tmp_path, listen=first.address), Inheritance(sockets=[first, second])
    )
    assert [each.socket for each in group] == [first.socket, second.socket]
    assert shown(group) == f"http://{first.address}"


def test_the_admin_socket_is_inherited_too(opened: ExitStack, tmp_path: Path) -> None:
    """By the same rule: its address."""
    handed = given(opened, bind("127.0.0.1:0", shared=False), is_ours=False)
    inheritance = Inheritance(sockets=[handed])
    configured = settings(tmp_path, admin={"listen": handed.address})
    assert bind_admin(configured, inheritance).socket is handed.socket
    assert inheritance.sockets == []


def test_a_rehearsal_asks_only_for_what_is_not_handed_over(opened: ExitStack, tmp_path: Path) -> None:
    """An address in use is no trouble when its socket is ours; one of somebody else is."""
    ours = given(opened, bind("127.0.0.1:0", shared=True), is_ours=True)
    theirs = address_of(opened.enter_context(bind("127.0.0.1:0", shared=False)))
    free = opened.enter_context(bind_path(tmp_path / "dead"))
    free.close()
    configured = settings(tmp_path, listen=[ours.address, "unix:dead"], admin={"listen": "127.0.0.1:0"})
    rehearse(configured, Inheritance(sockets=[ours]))
    with pytest.raises(ListenError, match=f"listen {theirs}: the port is in use"):
        rehearse(settings(tmp_path, listen=[ours.address, theirs]), Inheritance(sockets=[ours]))
