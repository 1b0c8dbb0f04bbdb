"""Both ends of the link over a real Unix socket: rules down, evidence up, exactly once, whoever dies."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from understudy.app.past import Past
from understudy.app.worker_link import WorkerLink
from understudy.app.workers import MOST_GONE, Workers
from understudy.engine import Engine
from understudy.errors import UnderstudyError
from understudy.link import Batch, Kind, Outbox, encode_batch
from understudy.messages import Answer, Pair
from understudy.metrics import WorkerMetrics

DOCUMENT: dict[str, Any] = {"flags": {}, "routes": [], "compare": [], "killed": []}


class StandInEngine:
    """Takes any rules, unless told otherwise."""

    def __init__(self) -> None:
        self.version = 0
        self.refusal: Exception | None = None

    def swap(self, rules: object, version: int) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.version = version


class Ends:
    """A control side that can go away and come back, and workers that stay."""

    def __init__(self, path: Path, tasks: asyncio.TaskGroup) -> None:
        self.path = path
        self.tasks = tasks
        self.batches: list[tuple[str, Batch]] = []
        self.ahead: list[tuple[int, Mapping[str, Any]]] = []
        self.workers = self.fresh()
        self.server: asyncio.Server | None = None
        self.links: list[WorkerLink] = []
        self.running: list[asyncio.Task[None]] = []
        self.reloaded: list[Mapping[str, object]] = []
        self.refusal: Exception | None = None

    def reload(self, document: Mapping[str, object]) -> None:
        """What every worker here does with reloaded settings."""
        if self.refusal is not None:
            raise self.refusal
        self.reloaded.append(document)

    def fresh(self) -> Workers:
        return Workers(
            on_batch=lambda source, batch: self.batches.append((source, batch)),
            on_ahead=lambda version, document: self.ahead.append((version, document)),
            past=Past(self.path.with_name("past")),
        )

    async def listen(self) -> None:
        self.path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self.server = await loop.create_unix_server(self.workers.connection, str(self.path))

    async def die(self) -> None:
        """Lose the control process with all it knew."""
        assert self.server is not None
        self.server.close()
        for link in list(self.workers._links):
            assert link._transport is not None
            link._transport.abort()
        await until(lambda: not any(link.is_connected for link in self.links))
        self.workers = self.fresh()

    def worker(self, name: str = "0", *, engine: StandInEngine | None = None) -> WorkerLink:
        """A worker that connects and stays connected."""
        link = WorkerLink(
            path=self.path,
            name=name,
            source=f"{name}-{len(self.links)}",
            engine=cast(Engine, engine or StandInEngine()),
            services=(),
            outbox=Outbox(),
            metrics=WorkerMetrics(),
            reload=self.reload,
        )
        self.links.append(link)
        self.running.append(self.tasks.create_task(link.run()))
        return link


@asynccontextmanager
async def ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ends]:
    monkeypatch.setattr("understudy.app.worker_link.RETRY_SECONDS", 0.005)
    async with asyncio.TaskGroup() as tasks:
        made = Ends(tmp_path / "link", tasks)
        await made.listen()
        yield made
        for link in made.links:
            await link.close()
        for task in made.running:
            task.cancel()
        assert made.server is not None
        made.server.close()


async def until(is_so: Any) -> None:
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.001)


def pair(path: str = "/") -> Pair:
    answer = Answer(status=200, headers=[(b"A", b"b")], body=b"x", length_bytes=1)
    return Pair(
        service="v2",
        endpoint="GET /",
        flag="",
        method="GET",
        path=path,
        query="",
        at=0.0,
        primary=answer,
        shadow=answer,
        control=None,
    )


async def test_rules_reach_workers_that_are_there_and_that_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`applied` waits for all of them, and says how many follow."""
    async with ends(tmp_path, monkeypatch) as made:
        first = made.worker("0")
        await until(lambda: made.workers.at_version(-1)[0] == 1)
        made.workers.set_rules(1, DOCUMENT)
        assert await made.workers.applied(1, seconds=60.0) == (1, 1)
        second = made.worker("1")
        await until(lambda: made.workers.at_version(1) == (2, 2))
        assert first.has_rules.is_set()
        assert second.has_rules.is_set()
        made.workers.set_rules(2, DOCUMENT)
        assert await made.workers.applied(2, seconds=60.0) == (2, 2)


async def test_a_worker_that_refuses_is_no_follower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers at once, so nobody waits for the deadline; faults of ours refuse as rules do."""
    async with ends(tmp_path, monkeypatch) as made:
        engine = StandInEngine()
        link = made.worker(engine=engine)
        await until(lambda: made.workers.at_version(-1)[0] == 1)
        made.workers.set_rules(1, DOCUMENT)
        await made.workers.applied(1, seconds=60.0)
        for version, refusal in ((2, UnderstudyError("no")), (3, RecursionError("fault"))):
            engine.refusal = refusal
            made.workers.set_rules(version, DOCUMENT)
            assert await made.workers.applied(version, seconds=60.0) == (1, 0)
            assert link.is_connected
        assert engine.version == 1


async def test_older_rules_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that was put back must not undo a kill; the worker tells what it has."""
    async with ends(tmp_path, monkeypatch) as made:
        engine = StandInEngine()
        made.worker(engine=engine)
        await until(lambda: made.workers.at_version(-1)[0] == 1)
        made.workers.set_rules(5, DOCUMENT)
        assert await made.workers.applied(5, seconds=60.0) == (1, 1)
        await made.die()
        await made.listen()
        made.workers.set_rules(2, DOCUMENT)
        await until(lambda: made.ahead)
        assert made.ahead == [(5, DOCUMENT)]
        assert await made.workers.applied(2, seconds=60.0) == (1, 0)
        assert engine.version == 5


async def test_a_batch_is_sent_until_it_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same one, with its number, after each reconnect; the next one only then."""
    async with ends(tmp_path, monkeypatch) as made:
        link = made.worker()
        await until(lambda: link.is_connected)
        link._outbox.offer(pair())
        assert link.send_evidence() is False
        await until(lambda: len(made.batches) == 1)
        link._outbox.offer(pair("/second"))
        assert link.send_evidence() is False
        await made.die()
        assert link.send_evidence() is False
        await made.listen()
        await until(lambda: len(made.batches) == 2)
        assert made.batches[0] == made.batches[1]
        made.workers.acknowledge("0-0", 1)
        await until(lambda: link._outbox.under_way is None)
        link.send_evidence()
        await until(lambda: len(made.batches) == 3)
        assert made.batches[2][1].sequence == 2
        assert made.batches[2][1].pairs[0].path == "/second"
        made.workers.acknowledge("0-0", 2)
        await until(link.send_evidence)


async def test_a_fault_in_collecting_evidence_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker goes on, and what could not be drained comes with the next batch."""
    async with ends(tmp_path, monkeypatch) as made:
        link = made.worker()
        await until(lambda: link.is_connected)
        is_broken = True

        def drain() -> dict[tuple[str, ...], int]:
            if is_broken:
                raise RuntimeError("injected")
            return {("a",): 1}

        link._outbox.drain = drain
        link._outbox.offer(pair())
        assert link.send_evidence() is False
        assert link._metrics.mirror_errors == 1
        is_broken = False
        link.send_evidence()
        await until(lambda: len(made.batches) == 1)
        assert (made.batches[0][1].counts, len(made.batches[0][1].pairs)) == ({("a",): 1}, 1)


async def test_a_batch_that_cannot_be_written_goes_without_its_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its counts arrive, its pairs as not compared; those after it are not held up."""

    def moody(batch: Batch) -> bytes:
        if any(each.path == "/bad" for each in batch.pairs):
            raise ValueError("injected")
        return encode_batch(batch)

    monkeypatch.setattr("understudy.app.worker_link.encode_batch", moody)
    async with ends(tmp_path, monkeypatch) as made:
        link = made.worker()
        await until(lambda: link.is_connected)
        link._outbox.offer(pair("/bad"))
        link.send_evidence()
        await until(lambda: len(made.batches) == 1)
        assert made.batches[0][1].counts == {("exchange", "v2", "GET /", "not_compared"): 1}
        assert link._metrics.mirror_errors == 1


@pytest.mark.parametrize(
    "damage",
    [b"\x00\x00\x00\x00\x01", b"\x00\x00\x00\x02\x09x", b"\x00\x00\x00\x03\x02[]", b"\x00\x00\x00\x02\x05x"],
)
async def test_damage_from_the_control_process_costs_only_the_link(
    damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker hangs up and connects again."""
    async with ends(tmp_path, monkeypatch) as made:
        link = made.worker()
        await until(lambda: made.workers.at_version(-1) == (1, 1))
        (other,) = made.workers._links
        other.send(damage)
        await until(lambda: made.workers.at_version(-1) == (1, 1) and other not in made.workers._links)
        assert link.is_connected


@pytest.mark.parametrize(
    "damage", [b"\x00\x00\x00\x00\x01", b"\x00\x00\x00\x02\x04x", b"\x00\x00\x00\x03\x01[]"]
)
async def test_damage_from_a_worker_costs_only_its_link(
    damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others stay connected; the damaged one starts afresh."""
    async with ends(tmp_path, monkeypatch) as made:
        sick, well = made.worker("0"), made.worker("1")
        await until(lambda: made.workers.at_version(-1)[0] == 2)
        kept = [link for link in made.workers._links if link.name == "1"]
        assert sick._transport is not None
        sick._transport.write(damage)
        await until(lambda: not sick.is_connected)
        await until(lambda: made.workers.at_version(-1)[0] == 2)
        assert kept[0] in made.workers._links
        assert well.is_connected


async def test_snapshots_of_the_gone_are_kept_and_added_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often workers are replaced: sums never fall, and what is kept stays small."""
    async with ends(tmp_path, monkeypatch) as made:
        for life in range(MOST_GONE + 10):
            link = made.worker(str(life % 2))
            await until(lambda link=link: link.is_connected)
            link._metrics.errors["x"] = 1
            link._metrics.process = {"cpu_seconds": 0.5}
            link.send_metrics()
            await until(lambda life=life: f"{life % 2}-{life}" in made.workers.snapshots)
            await link.close()
            await until(lambda: made.workers.at_version(-1)[0] == 0)
        snapshots = made.workers.snapshots
        assert len(snapshots) == MOST_GONE + 2
        assert sum(n for snapshot in snapshots.values() for _, n in snapshot["errors"]) == MOST_GONE + 10
        assert sum(s["process"]["cpu_seconds"] for s in snapshots.values()) == (MOST_GONE + 10) / 2


async def test_a_worker_that_comes_back_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lost its link, not its counts: its next snapshot takes the place of the last."""
    async with ends(tmp_path, monkeypatch) as made:
        link = made.worker()
        await until(lambda: link.is_connected)
        link._metrics.mirror_errors = 3
        link.send_metrics()
        await until(lambda: made.workers.snapshots)
        (other,) = made.workers._links
        assert other._transport is not None
        other._transport.abort()
        await until(lambda: made.workers.snapshots["0-0"].get("gone"))
        await until(lambda: link.is_connected)
        link.send_metrics()
        await until(lambda: not made.workers.snapshots["0-0"].get("gone"))
        assert [s["mirror_errors"] for s in made.workers.snapshots.values()] == [3]


async def test_the_counts_of_the_gone_outlive_the_control_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one starts with them, and knows of the living that they have not told theirs yet."""
    async with ends(tmp_path, monkeypatch) as made:
        gone, alive = made.worker("0"), made.worker("1")
        await until(lambda: made.workers.at_version(-1)[0] == 2)
        for link in (gone, alive):
            link._metrics.errors["x"] = 3
            link.send_metrics()
        await until(lambda: made.workers.has_heard(2))
        await gone.close()
        await until(lambda: made.workers.snapshots["0-0"].get("gone"))
        assert made.workers.has_heard(2)
        made.workers = made.fresh()
        assert [(source, s["errors"]) for source, s in made.workers.snapshots.items()] == [
            ("0-0", [["x", 3]])
        ]
        assert not made.workers.has_heard(0)
        successor = made.workers.connection()
        successor.source, successor.name = "1-1", "1"
        made.workers.heard(successor, Kind.METRICS, b'{"errors": [["x", 4]]}')
        assert made.workers.has_heard(1)
        assert not made.workers.has_heard(2)
        assert sum(n for s in made.workers.snapshots.values() for _, n in s["errors"]) == 7


async def test_waiting_for_workers_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not answer holds a change up for its deadline only."""
    async with ends(tmp_path, monkeypatch) as made:
        link = made.worker()
        await until(lambda: made.workers.at_version(-1)[0] == 1)
        monkeypatch.setattr(link, "_apply", lambda message: None)
        made.workers.set_rules(1, DOCUMENT)
        assert await made.workers.applied(1, seconds=0.05) == (1, 0)


async def test_settings_reach_workers_that_are_there_and_that_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`settled` waits for all of them; who comes later gets them before any rules."""
    async with ends(tmp_path, monkeypatch) as made:
        made.worker("0")
        await until(lambda: made.workers.at_version(-1)[0] == 1)
        made.workers.set_settings(1, {"workers": 1})
        assert await made.workers.settled(1, seconds=60.0) == (1, 1)
        made.workers.set_rules(1, DOCUMENT)
        second = made.worker("1")
        await until(lambda: second.has_rules.is_set())
        assert await made.workers.settled(1, seconds=60.0) == (2, 2)
        assert made.reloaded == [{"workers": 1}, {"workers": 1}]


async def test_a_worker_that_refuses_settings_is_no_follower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers at once and stays on the link, whether it was a refusal or a fault of ours."""
    async with ends(tmp_path, monkeypatch) as made:
        made.worker()
        await until(lambda: made.workers.at_version(-1)[0] == 1)
        made.refusal = UnderstudyError("no")
        made.workers.set_settings(1, {})
        assert await made.workers.settled(1, seconds=60.0) == (1, 0)
        made.refusal = RecursionError("fault")
        made.workers.set_settings(2, {})
        assert await made.workers.settled(2, seconds=60.0) == (1, 0)
        made.refusal = None
        made.workers.set_settings(3, {})
        assert await made.workers.settled(3, seconds=60.0) == (1, 1)


async def test_nobody_waits_for_ever_for_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that says nothing is no follower when the time is over."""
    async with ends(tmp_path, monkeypatch) as made:
        made.worker()
        await until(lambda: made.workers.at_version(0)[0] == 1)  # it has said who it is
        assert await made.workers.settled(1, seconds=0.01) == (1, 0)
