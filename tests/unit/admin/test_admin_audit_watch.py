"""The audit is watched from outside the store, where its end may be cut off together with its head."""

import logging
from dataclasses import replace

import pytest

from understudy.access import Deed, Entry, Head, chain
from understudy.admin.audit_watch import AuditWatch
from understudy.store import MemoryAccess

DEED = Deed(at=1.0, who="ann", origin="127.0.0.1", action="flag.kill", target="shop")


@pytest.fixture
async def store() -> MemoryAccess:
    """With three entries."""
    made = MemoryAccess()
    for _ in range(3):
        await made.record(DEED)
    return made


async def test_an_audit_that_grows_is_no_alarm_and_its_head_is_logged(
    store: MemoryAccess, caplog: pytest.LogCaptureFixture
) -> None:
    """Each head once, so that the log keeps it apart from the store."""
    caplog.set_level(logging.INFO)
    watch = AuditWatch(store)
    await watch.look()
    last = await store.record(DEED)
    await watch.look()
    await watch.look()
    assert watch.alarm == ""
    assert [line.split()[-1].partition(":")[0] for line in caplog.messages] == ["3", "4"]
    assert caplog.messages[-1] == f"audit: head 4:{last.hash}"


async def test_an_audit_that_is_empty_is_no_alarm() -> None:
    """It has not begun."""
    watch = AuditWatch(MemoryAccess())
    await watch.look()
    assert watch.alarm == ""


def cut(entries: list[Entry]) -> list[Entry]:
    """Without the last one; the head follows."""
    return entries[:-1]


def rewritten(entries: list[Entry]) -> list[Entry]:
    """A whole chain without flaw, in which somebody else did it, and longer than the true one."""
    made: list[Entry] = []
    head = Head()
    for _ in range(len(entries) + 2):
        made.append(chain(head, replace(DEED, who="eve")))
        head = Head(number=made[-1].number, hash=made[-1].hash)
    return made


@pytest.mark.parametrize(
    ("forge", "told"),
    [
        (cut, "ends at entry 2, but entry 3 was there: it was cut off"),
        (lambda entries: [], "ends at entry 0, but entry 3 was there: it was cut off"),
        (rewritten, "entry 3 is gone, or another one than was seen: it was rewritten"),
    ],
)
async def test_what_is_cut_off_or_rewritten_with_its_head_is_an_alarm(
    store: MemoryAccess, caplog: pytest.LogCaptureFixture, forge: object, told: str
) -> None:
    """Told once; the alarm stays, also when the audit grows again."""
    watch = AuditWatch(store)
    await watch.look()
    assert callable(forge)
    store._entries = forge(store._entries)
    await watch.look()
    assert told in watch.alarm
    for _ in range(3):
        await store.record(DEED)
    await watch.look()
    assert watch.alarm
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
