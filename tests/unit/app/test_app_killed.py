"""What the control process tells of the kill file: in the audit, in metrics, in words."""

import asyncio
from pathlib import Path

from understudy.access import Deed, Entry, Head
from understudy.access.audit import chain
from understudy.app.killed import Killed, kill_families
from understudy.config import KillFile, parse_rules
from understudy.errors import StoreError


class Book:
    """An audit that refuses as often as it is told."""

    def __init__(self, *, refusals: int = 0) -> None:
        self.refusals = refusals
        self.deeds: list[Deed] = []
        self.is_written = asyncio.Event()

    async def record(self, deed: Deed) -> Entry:
        if self.refusals:
            self.refusals -= 1
            raise StoreError("away")
        self.deeds.append(deed)
        self.is_written.set()
        return chain(Head(), deed)


def told(killed: Killed, at: float) -> None:
    killed.file.look()
    killed.note(at)


async def test_what_a_store_did_not_take_is_noted_later(tmp_path: Path) -> None:
    """In order, with the time at which it was so; the same twice is noted once."""
    path = tmp_path / "understudy.kill"
    book = Book(refusals=1)
    killed = Killed(KillFile([path]), record=book.record)
    path.write_text("shop\n*\n")
    told(killed, 1.0)
    killed.note(2.0)
    path.unlink()
    told(killed, 3.0)
    ready = asyncio.Event()
    ready.set()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(killed.run(ready=ready))
        while len(book.deeds) < 2:
            book.is_written.clear()
            await book.is_written.wait()
        task.cancel()
    assert [(deed.at, deed.action, deed.target) for deed in book.deeds] == [
        (1.0, "host.kill", "*, shop"),
        (3.0, "host.revive", ""),
    ]
    assert book.deeds[0].origin == str(path)


def test_metrics_tell_who_killed_a_flag(tmp_path: Path) -> None:
    """The rules, or this host; unknown names make no label."""
    path = tmp_path / "understudy.kill"
    path.write_text("shop\nunknown\n")
    flag = {"variants": {"on": {"serve": "v1"}}, "defaultVariant": "on"}
    rules = parse_rules(
        {"flags": {"shop": flag, "other": flag}, "routes": [], "killed": ["other"]}, services={"v1"}
    )
    file = KillFile([path])
    file.look()
    samples = [sample for family in kill_families(file, rules) for sample in family.samples]
    assert [(sample.name, sample.labels, sample.value) for sample in samples] == [
        ("understudy_killed", {"flag": "other", "by": "rules"}, 1.0),
        ("understudy_killed", {"flag": "shop", "by": "kill_file"}, 1.0),
        ("understudy_kill_file_trouble", {}, 0.0),
        ("understudy_kill_file_troubles_total", {}, 0.0),
    ]
