"""`understudy.demo.children`: nothing that the demo started is left behind."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from understudy.demo import children
from understudy.demo.children import Child, ChildFailed, free_ports, listener

STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    print(os.getpid(), child, flush=True)
while True:
    time.sleep(60)
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_child_that_will_not_go_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM is asked first; then the whole process group is killed."""
    monkeypatch.setattr(children, "STOP_SECONDS", 0.1)
    log = tmp_path / "log"
    child = Child.start("stubborn", ["-c", STUBBORN], log=log)
    child.wait_until(lambda: log.read_text().endswith("\n"), seconds=60)
    pids = [int(pid) for pid in log.read_text().split()]
    child.stop()
    assert child.process.returncode == -9
    deadline = time.monotonic() + 60
    while any(is_running(pid) for pid in pids):  # a killed process takes a moment to go
        assert time.monotonic() < deadline, pids
        time.sleep(0.01)
    child.stop()


def test_a_child_that_ends_early_is_explained(tmp_path: Path) -> None:
    """The failure names the child, its status and the end of its log."""
    child = Child.start("shop", ["-c", "import sys; sys.exit('no such shop')"], log=tmp_path / "log")
    with pytest.raises(ChildFailed, match=r"(?s)shop ended with status 1.*no such shop"):
        child.wait_until(lambda: False, seconds=60)
    with pytest.raises(ChildFailed, match="ended with status 1"):
        child.check()
    child.stop()


def test_waiting_for_a_child_has_an_end(tmp_path: Path) -> None:
    """A child that never becomes ready is reported after the time given."""
    child = Child.start("sleeper", ["-c", "import time; time.sleep(60)"], log=tmp_path / "log")
    with pytest.raises(ChildFailed, match=r"sleeper was not ready within 0\.1 s"):
        child.wait_until(lambda: False, seconds=0.1)
    child.stop()
    assert child.process.returncode is not None


def test_a_socket_can_be_handed_to_a_child(tmp_path: Path) -> None:
    """The parent knows the port before the child runs, and no connection is refused meanwhile."""
    answer = "import socket, sys; c = socket.socket(fileno=int(sys.argv[1])).accept()[0]; c.sendall(b'here')"
    with listener() as bound:
        child = Child.start(
            "server", ["-c", answer, str(bound.fileno())], log=tmp_path / "log", pass_fds=[bound.fileno()]
        )
        address = bound.getsockname()
    with socket.create_connection(address, timeout=60) as client:
        assert client.recv(10) == b"here"
    child.stop()


def test_free_ports_differ() -> None:
    """Ports given together are different, and can be listened on."""
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert any(is_free(port) for port in ports), "all five were taken meanwhile"


def is_free(port: int) -> bool:
    try:
        with socket.socket() as again:
            again.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def test_children_run_this_interpreter(tmp_path: Path) -> None:
    """The demo works from any environment, with nothing on the search path."""
    child = Child.start("where", ["-c", "import sys; print(sys.executable)"], log=tmp_path / "log")
    child.process.wait(60)
    assert Path((tmp_path / "log").read_text().strip()).resolve() == Path(sys.executable).resolve()
    assert os.getpgid(0) != child.process.pid
    child.stop()
