"""The provider under OpenFeature's own SDK, before a scripted server."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ProviderNotReadyError
from openfeature.hook import Hook
from openfeature.provider import ProviderStatus
from scripted_server import ScriptedServer, flag, wait_until

from understudy.client import Client, State
from understudy.client.feed import Pace
from understudy.client.openfeature import UnderstudyProvider

FAST = Pace(poll_seconds=0.3, silence_seconds=5.0, first_seconds=0.02, most_seconds=0.1)
DUTCH = {"if": [{"==": [{"var": "country"}, "NL"]}, "on", None]}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """Some flags; clients are in a hurry."""
    monkeypatch.setattr("understudy.client.options.Pace", lambda poll_seconds: FAST)
    with ScriptedServer(
        plain=flag(), dutch=flag("off", DUTCH), look=flag("a", variants={"a": {"b": [1]}})
    ) as made:
        made.document["metadata"] = {"owner": "web"}
        yield made


@pytest.fixture
def asking(server: ScriptedServer) -> Iterator[OpenFeatureClient]:
    """The SDK's client."""
    api.set_provider_and_wait(UnderstudyProvider(Client(server.url)), domain="unit")
    try:
        yield api.get_client(domain="unit")
    finally:
        api.shutdown()
        api.clear_providers()


def test_values_come_with_variant_reason_and_metadata(asking: OpenFeatureClient) -> None:
    """The targeting key is the unit, attributes are attributes; times are text."""
    context = EvaluationContext("ann", {"country": "NL", "at": datetime(2026, 11, 26, tzinfo=UTC)})
    found = asking.get_boolean_details("dutch", False, context)
    assert (found.value, found.variant, found.reason) == (True, "on", "TARGETING_MATCH")
    assert found.flag_metadata == {"owner": "web"}
    assert asking.get_object_value("look", {}) == {"b": [1]}


@pytest.mark.parametrize("kind", ["boolean", "string", "integer", "float", "object"])
async def test_the_async_questions_answer_alike(asking: OpenFeatureClient, kind: str) -> None:
    """Of every type, with the SDK's own default where the flag has another one."""
    own: Any = {"boolean": False, "string": "own", "integer": 7, "float": 7.5, "object": {"own": 1}}[kind]
    for key in ("plain", "look", "nobody"):
        now = getattr(asking, f"get_{kind}_details")(key, own)
        later = await getattr(asking, f"get_{kind}_details_async")(key, own)
        assert now == later
        assert now.value == own or now.error_code is None


async def test_a_remote_answer_does_not_hold_up_the_loop(server: ScriptedServer) -> None:
    """The loop turns while the server thinks; its answer is given then."""
    provider = UnderstudyProvider(Client(server.url, mode="remote", timeout=60))
    assert await asyncio.to_thread(provider.client.wait_ready, 60)
    server.fault = "hang"
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(provider.resolve_boolean_details_async("plain", True))
        async with asyncio.timeout(60):
            while not server.count("/ofrep/v1/evaluate/flags/plain"):
                await asyncio.sleep(0.01)
        assert not asked.done()
        server.fault = ""
    assert asked.result().value is True
    provider.shutdown()


def test_a_context_that_cannot_be_said_is_invalid(asking: OpenFeatureClient) -> None:
    """With OpenFeature's code for it."""
    context = EvaluationContext("ann", {"thing": object()})  # type: ignore[dict-item]
    found = asking.get_boolean_details("plain", False, context)
    assert str(found.error_code) == "INVALID_CONTEXT"
    assert found.value is False


def test_events_tell_of_changes_loss_and_return(asking: OpenFeatureClient, server: ScriptedServer) -> None:
    """With the flags that changed; the SDK's status follows."""
    told: dict[ProviderEvent, list[EventDetails]] = {event: [] for event in ProviderEvent}
    for event, seen in told.items():
        asking.add_handler(event, seen.append)
    wait_until(lambda: bool(told[ProviderEvent.PROVIDER_READY]))  # told at once: it is ready
    server.wait_for_listener()
    server.put({**server.document["flags"], "plain": flag("off")})
    wait_until(lambda: bool(told[ProviderEvent.PROVIDER_CONFIGURATION_CHANGED]))
    assert told[ProviderEvent.PROVIDER_CONFIGURATION_CHANGED][0].flags_changed == ["plain"]
    server.fault = "500"
    server.cut()
    wait_until(lambda: asking.get_provider_status() is ProviderStatus.STALE)
    wait_until(lambda: bool(told[ProviderEvent.PROVIDER_STALE]))
    assert "500" in str(told[ProviderEvent.PROVIDER_STALE][0].message)
    assert asking.get_boolean_value("plain", True) is False
    server.fault = ""
    wait_until(lambda: asking.get_provider_status() is ProviderStatus.READY)


def test_hooks_of_the_sdk_are_called(server: ScriptedServer) -> None:
    """Those given with the provider."""
    seen = threading.Event()

    class Seeing(Hook):
        def after(self, *_: Any, **__: Any) -> None:
            seen.set()

    api.set_provider_and_wait(UnderstudyProvider(Client(server.url), hooks=[Seeing()]), domain="hooks")
    try:
        api.get_client(domain="hooks").get_boolean_value("plain", False)
    finally:
        api.shutdown()
        api.clear_providers()
    assert seen.is_set()


def test_without_any_flags_it_is_not_ready_until_they_come(server: ScriptedServer) -> None:
    """The SDK gives the caller's default meanwhile."""
    server.fault = "500"
    provider = UnderstudyProvider(Client(server.url), ready_seconds=0.1)
    with pytest.raises(ProviderNotReadyError):
        api.set_provider_and_wait(provider, domain="late")
    try:
        asking = api.get_client(domain="late")
        assert asking.get_boolean_value("plain", False) is False
        server.fault = ""
        wait_until(lambda: asking.get_boolean_value("plain", False) is True)
    finally:
        api.shutdown()
        api.clear_providers()


def test_shutting_down_ends_the_clients_thread(server: ScriptedServer) -> None:
    """Nothing is left running."""
    before = set(threading.enumerate())
    api.set_provider_and_wait(UnderstudyProvider(Client(server.url)), domain="end")
    api.shutdown()
    api.clear_providers()
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_a_provider_that_was_shut_down_can_be_set_again(server: ScriptedServer) -> None:
    """It hears of changes again, each once."""
    provider = UnderstudyProvider(Client(server.url), ready_seconds=60.0)
    told: list[EventDetails] = []
    try:
        for turn in ("off", "on"):
            api.set_provider_and_wait(provider, domain="again")
            asking = api.get_client(domain="again")
            asking.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, told.append)
            wait_until(lambda: provider.client.status().is_connected)
            server.put({**server.document["flags"], "plain": flag(turn)})
            wait_until(lambda: asking.get_boolean_value("plain", turn == "off") is (turn == "on"))  # noqa: B023
            wait_until(lambda: bool(told))
            asking.remove_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, told.append)
            api.shutdown()
            api.clear_providers()
            assert [each.flags_changed for each in told] == [["plain"]]
            told.clear()
            assert provider.client.status().state is State.CLOSED
    finally:
        api.shutdown()
        api.clear_providers()


def test_initializing_twice_does_not_tell_twice(server: ScriptedServer) -> None:
    """As the SDK does when a provider is set again while its old life is shut down."""
    provider, told = UnderstudyProvider(Client(server.url)), list[ProviderEvent]()
    provider.attach(lambda _, event, __: told.append(event))
    provider.initialize(EvaluationContext())
    provider.initialize(EvaluationContext())
    wait_until(lambda: provider.client.status().is_connected)
    server.put({"plain": flag("off")})
    wait_until(lambda: provider.client.status().version == server.version)
    provider.shutdown()
    assert told == [ProviderEvent.PROVIDER_CONFIGURATION_CHANGED]


def test_the_sdk_alone_tells_that_it_is_ready_at_first(server: ScriptedServer) -> None:
    """Also when the client's thread, which let `initialize` go on, comes to its listeners only later."""
    server.fault = "500"

    class Waiting(Client):
        def wait_ready(self, timeout: float = 10.0) -> bool:
            server.fault = ""
            return super().wait_ready(timeout)

    client, initialized = Waiting(server.url), threading.Event()
    provider, told = UnderstudyProvider(client, ready_seconds=60.0), list[ProviderEvent]()
    client.on_status(lambda _: initialized.wait(60))
    provider.attach(lambda _, event, __: told.append(event))
    provider.initialize(EvaluationContext())
    initialized.set()
    wait_until(lambda: client.status().is_connected)
    server.put({"plain": flag("off")})
    wait_until(lambda: bool(told) and client.status().version == server.version)
    provider.shutdown()
    assert told == [ProviderEvent.PROVIDER_CONFIGURATION_CHANGED]


def test_shutting_down_does_not_wait_for_who_initializes(server: ScriptedServer) -> None:
    """Who waits for flags that cannot come any more is told at once."""
    server.fault = "hang"
    provider, raised = UnderstudyProvider(Client(server.url), ready_seconds=60.0), list[Exception]()

    def initialize() -> None:
        try:
            provider.initialize(EvaluationContext())
        except ProviderNotReadyError as error:
            raised.append(error)

    waiting = threading.Thread(target=initialize)
    waiting.start()
    wait_until(lambda: bool(provider._removes))
    provider.shutdown()
    waiting.join(60)
    assert len(raised) == 1
    assert provider.client.status().state is State.CLOSED
