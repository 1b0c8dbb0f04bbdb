"""The rules in force: loaded, changed, killed, and kept safe when they do not fit any more."""

import json
from typing import Any

import pytest

from understudy.app.rulebook import Rulebook
from understudy.config import parse_rules
from understudy.errors import ConfigError, FlagNotFound, StoreError, VersionConflict
from understudy.store import MemoryStore, StoredRules
from understudy.store.condition import Condition
from understudy.store.rules import stored_rules

SERVICES = ("old", "new")


def document(*, canary: str = "new", killed: list[str] | None = None) -> dict[str, Any]:
    """A rules document with one flag."""
    return {
        "flags": {
            "shop": {
                "state": "ENABLED",
                "variants": {"stable": {"serve": "old"}, "canary": {"serve": canary}},
                "defaultVariant": "stable",
            }
        },
        "routes": [{"path": "/", "flag": "shop", "unit": "cookie:uid"}],
        "killed": killed or [],
    }


async def opened(store: MemoryStore) -> Rulebook:
    await store.open()
    book = Rulebook(store, seed=parse_rules(document(), services=SERVICES), services=SERVICES)
    await book.load(1.0)
    return book


async def test_an_empty_store_is_seeded() -> None:
    """The configuration's rules become version 1."""
    book = await opened(MemoryStore())
    assert (book.version, book.trouble, book.parsed.killed) == (1, "", ())


async def test_what_a_host_begins_with_may_have_to_yield() -> None:
    """An older version of the store is taken for one that lost something; of a control process it counts."""
    store = MemoryStore()
    await store.open()
    await store.put_rules(document(killed=["shop"]), expected=0, author="a", reason="r", at=0.0)
    last = stored_rules(version=9, text=json.dumps(document()), author="a", reason="r", at=0.0)
    for yields, expected in ((False, (9, ())), (True, (1, ("shop",)))):
        book = Rulebook(store, seed=parse_rules(document(), services=SERVICES), services=SERVICES)
        book.begin_with(last, yields=yields)
        assert book.version == 9
        await book.load(1.0)
        assert (book.version, book.parsed.killed) == expected


async def test_the_store_wins_over_the_configuration() -> None:
    """A stored version is in force, whatever the file says."""
    store = MemoryStore()
    await store.open()
    await store.put_rules(document(killed=["shop"]), expected=0, author="a", reason="r", at=0.0)
    book = await opened(store)
    assert book.parsed.killed == ("shop",)


async def test_a_change_is_checked_before_it_is_stored() -> None:
    """An invalid document changes nothing, neither here nor in the store."""
    store = MemoryStore()
    book = await opened(store)
    with pytest.raises(ConfigError):
        await book.put(document(canary="gone"), expected=1, author="a", reason="r", at=2.0)
    assert book.version == 1
    assert len(await store.history(limit=9)) == 1


async def test_a_stale_change_is_refused() -> None:
    """Compare-and-set: the version in force is named."""
    book = await opened(MemoryStore())
    await book.put(document(), expected=1, author="a", reason="r", at=2.0)
    with pytest.raises(VersionConflict) as conflict:
        await book.put(document(), expected=1, author="b", reason="r", at=3.0)
    assert conflict.value.actual == 2


async def test_kill_and_revive_are_idempotent() -> None:
    """Killing twice makes one version; reviving brings back exactly what was."""
    book = await opened(MemoryStore())
    before = book.parsed.flags
    first = await book.kill("shop", author="a", reason="", at=2.0)
    second = await book.kill("shop", author="a", reason="", at=3.0)
    assert (first.version, second.version, book.parsed.killed) == (2, 2, ("shop",))
    await book.revive("shop", author="a", reason="", at=4.0)
    assert (book.version, book.parsed.killed, book.parsed.flags) == (3, (), before)


async def test_an_unknown_flag_is_named_with_the_known_ones() -> None:
    """The error helps."""
    book = await opened(MemoryStore())
    with pytest.raises(FlagNotFound, match="there are shop"):
        await book.kill("shp", author="a", reason="", at=2.0)


async def test_nothing_is_changed_before_the_store_was_read() -> None:
    """Without a version nobody can know what would be replaced."""
    book = Rulebook(MemoryStore(), seed=parse_rules(document(), services=SERVICES), services=SERVICES)
    with pytest.raises(StoreError, match="has not been read"):
        await book.kill("shop", author="a", reason="", at=2.0)


class TestRulesThatDoNotFitAnyMore:
    """A service that the stored rules name was taken out of the configuration file."""

    @staticmethod
    async def book() -> Rulebook:
        store = MemoryStore()
        await store.open()
        await store.put_rules(
            document(canary="gone", killed=["shop"]), expected=0, author="a", reason="r", at=0.0
        )
        return await opened(store)

    async def test_the_configuration_stands_in_and_keeps_the_kill_switch(self) -> None:
        """A killed flag does not come back to life because a file was edited."""
        book = await self.book()
        assert "gone" in book.trouble
        assert book.parsed.killed == ("shop",)
        assert book.parsed.flags["shop"]["variants"]["canary"] == {"serve": "new"}

    async def test_the_stored_version_can_still_be_read(self) -> None:
        """An operator sees what is wrong, under the version that it has."""
        book = await self.book()
        assert book.current().version == 1
        assert book.current().document["flags"]["shop"]["variants"]["canary"] == {"serve": "gone"}

    async def test_it_can_be_replaced(self) -> None:
        """A document that fits is in force again, without trouble."""
        book = await self.book()
        await book.put(document(), expected=1, author="a", reason="mend", at=2.0)
        assert (book.version, book.trouble, book.parsed.killed) == (2, "", ())

    async def test_the_kill_switch_works_meanwhile(self) -> None:
        """Revive and kill reach the rules that stand in."""
        book = await self.book()
        await book.revive("shop", author="a", reason="", at=2.0)
        assert (book.version, book.parsed.killed) == (2, ())
        await book.kill("shop", author="a", reason="", at=3.0)
        assert (book.version, book.parsed.killed) == (3, ("shop",))


async def test_services_that_the_rules_need_may_not_go() -> None:
    """The refusal names the version, the place and the mend; nothing has changed."""
    book = await opened(MemoryStore())
    with pytest.raises(ConfigError) as refused:
        book.refit(seed=parse_rules({}, services=("old",)), services=("old",))
    (problem,) = refused.value.problems
    assert problem.path == "services"
    assert problem.message.startswith(
        "rules version 1 need what is gone: flags.shop.variants.canary.serve: unknown service"
    )
    assert problem.hint == "change the rules first, then reload"
    await book.put(document(), expected=1, author="a", reason="r", at=2.0)


async def test_other_services_are_in_force_once_they_are_put() -> None:
    """Not before: whoever checks may still change his mind."""
    book = await opened(MemoryStore())
    put_in_force = book.refit(seed=parse_rules({}, services=()), services=("old", "new", "newer"))
    with pytest.raises(ConfigError):
        await book.put(document(canary="newer"), expected=1, author="a", reason="r", at=2.0)
    put_in_force()
    await book.put(document(canary="newer"), expected=1, author="a", reason="r", at=2.0)


async def test_rules_that_did_not_fit_are_tried_again() -> None:
    """The service is back: the stored version is in force, and the stand-in is gone."""
    store = MemoryStore()
    await store.open()
    await store.put_rules(document(canary="gone"), expected=0, author="a", reason="r", at=0.0)
    book = await opened(store)
    assert book.trouble
    services = (*SERVICES, "gone")
    book.refit(seed=parse_rules(document(), services=services), services=services)()
    assert book.trouble == ""
    assert book.parsed.flags["shop"]["variants"]["canary"] == {"serve": "gone"}


async def test_the_new_seed_stands_in_for_rules_that_still_do_not_fit() -> None:
    """With every kill switch, as at the start."""
    store = MemoryStore()
    await store.open()
    await store.put_rules(
        document(canary="gone", killed=["shop"]), expected=0, author="a", reason="r", at=0.0
    )
    book = await opened(store)
    seed = parse_rules(document(canary="old"), services=SERVICES)
    book.refit(seed=seed, services=SERVICES)()
    assert book.trouble
    assert book.parsed.flags["shop"]["variants"]["canary"] == {"serve": "old"}
    assert book.parsed.killed == ("shop",)
    with pytest.raises(ConfigError, match="the rules in force need what is gone"):
        book.refit(seed=parse_rules({}, services=()), services=("new",))


async def test_what_another_control_process_stores_is_followed() -> None:
    """A kill on one is in force on the other; what is known already is no news."""
    store = MemoryStore()
    one = await opened(store)
    other = await opened(store)
    await one.kill("shop", author="a", reason="", at=2.0)

    assert await other.follow(seconds=1.0) is True
    assert (other.version, other.parsed.killed) == (2, ("shop",))
    assert await one.follow(seconds=0.0) is False


async def test_rules_of_another_that_do_not_fit_keep_their_kill_switches() -> None:
    """Two hosts with different services: the rules of the file stand in, and the trouble is told."""
    store = MemoryStore()
    book = await opened(store)
    await store.put_rules(document(canary="gone", killed=["shop"]), expected=1, author="b", reason="", at=2.0)

    assert await book.follow(seconds=1.0) is True
    assert "does not fit" in book.trouble
    assert book.parsed.killed == ("shop",)


async def emptied(store: MemoryStore) -> None:
    """FLUSHALL, or a database that was made anew."""
    store._versions.clear()


@pytest.mark.parametrize("kept", [0, 1])
async def test_a_kill_works_on_a_store_that_was_emptied_or_put_back(
    kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is stored above what was in force, with the rules that were, not with the seed."""
    store = MemoryStore()
    book = await opened(store)
    changed = document() | {"compare": [{"endpoint": "*", "ignore": ["/at"]}]}
    for version in (1, 2, 3):
        await book.put(changed, expected=version, author="a", reason="r", at=2.0)
    del store._versions[kept:]
    assert not await book.follow(seconds=0.0)
    assert f"has rules version {kept}, but version 4 is in force" in book.behind
    assert (await book.load(3.0)).version == 4
    killed = await book.kill("shop", author="ann", reason="", at=4.0)
    assert (killed.version, book.version, book.behind, book.parsed.killed) == (5, 5, "", ("shop",))
    assert (await store.rules()) == killed
    assert killed.document["compare"] == changed["compare"]
    assert len([line for line in caplog.messages if "was it emptied" in line]) == 1


async def test_a_kill_that_another_process_has_just_undone_is_no_kill_twice() -> None:
    """This one has not heard of it yet: the flag is killed again, in the store."""
    store = MemoryStore()
    here, there = await opened(store), await opened(store)
    await here.kill("shop", author="ann", reason="", at=2.0)
    await there.load(2.0)
    await there.revive("shop", author="bob", reason="", at=3.0)
    killed = await here.kill("shop", author="ann", reason="", at=4.0)
    assert (killed.version, here.parsed.killed) == (4, ("shop",))
    newest = await store.rules()
    assert newest is not None
    assert newest.document["killed"] == ["shop"]


async def test_a_kill_switch_that_is_no_text_takes_nobody_down() -> None:
    """Whatever the store holds."""
    store = MemoryStore()
    await store.open()
    await store.put_rules(document() | {"killed": [[], {}, "shop"]}, expected=0, author="", reason="", at=0.0)
    book = await opened(store)
    assert (book.trouble != "", book.parsed.killed) == (True, ("shop",))
    assert (await book.revive("shop", author="a", reason="", at=1.0)).document["killed"] == []


class FailedOver(MemoryStore):
    """Away once; then a replica answers, which never had the last version, and has another of that number."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False

    async def newer(self, than: int, *, seconds: float) -> StoredRules | None:
        if self.is_away:
            raise StoreError("away")
        return await super().newer(than, seconds=seconds)

    async def fail_over(self, other: dict[str, Any]) -> None:
        del self._versions[-1]
        await self.put_rules(other, expected=None, author="bob", reason="", at=3.0)


async def missed(book: Rulebook, store: FailedOver) -> None:
    """Let *book* meet the store while it is away."""
    store.is_away = True
    with pytest.raises(StoreError):
        await book.follow(seconds=0.0)
    store.is_away = False


async def test_one_version_with_two_documents_becomes_a_new_one(caplog: pytest.LogCaptureFixture) -> None:
    """On every host, by whichever is first, above both: else nobody takes either for news. A kill stays."""
    store = FailedOver()
    one, two = await opened(store), await opened(store)
    await one.kill("shop", author="ann", reason="", at=2.0)
    await two.load(2.0)
    await store.fail_over(document() | {"compare": [{"endpoint": "*", "ignore": ["/at"]}]})
    for book in (one, two):
        await missed(book, store)
        assert await book.follow(seconds=0.0) is True

    newest = await store.rules()
    assert newest is not None
    assert (newest.version, one.version, two.version) == (3, 3, 3)
    assert (newest.document["killed"], len(newest.document["compare"])) == (["shop"], 1)
    assert one.parsed.killed == two.parsed.killed == ("shop",)
    assert caplog.text.count("rules version 2 is there twice") == 1


class Anew(FailedOver):
    """Begins anew, and says so."""

    histories = 0

    def condition(self) -> Condition:
        return Condition(histories=self.histories)

    async def begin_anew(self, document: dict[str, Any]) -> None:
        self._versions.clear()
        await self.put_rules(document, expected=0, author="bob", reason="", at=3.0)
        self.histories += 1


@pytest.mark.parametrize("was_away", [False, True])
@pytest.mark.parametrize("changes", [0, 1])
async def test_versions_that_begin_anew_are_followed(changes: int, was_away: bool) -> None:
    """Lower, or another document under the same number: then on as ever, and nothing is stored for it."""
    store = Anew()
    book = await opened(store)
    for _ in range(changes):
        await book.kill("shop", author="ann", reason="", at=2.0)
    if was_away:
        await missed(book, store)
    await store.begin_anew(document() | {"compare": [{"endpoint": "*", "ignore": ["/at"]}]})

    assert await book.follow(seconds=0.0) is True
    assert (book.version, book.parsed.killed, len(book.parsed.compare)) == (1, (), 1)
    assert await store.version() == 1
    assert await book.follow(seconds=0.0) is False
    assert not book.behind


async def test_versions_that_begin_anew_as_they_were_are_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """The program around a file was started again."""
    store = Anew()
    book = await opened(store)
    store.histories += 1

    assert await book.follow(seconds=0.0) is False
    assert "begin anew" not in caplog.text
    await book.kill("shop", author="ann", reason="", at=2.0)
    assert (book.version, book.parsed.killed) == (2, ("shop",))
    assert await book.follow(seconds=0.0) is False


async def test_a_store_that_only_was_away_is_left_as_it_is() -> None:
    """The same document under the same version: nothing is stored, and nothing is told."""
    store = FailedOver()
    book = await opened(store)
    await missed(book, store)
    assert await book.follow(seconds=0.0) is False
    assert await store.version() == 1
