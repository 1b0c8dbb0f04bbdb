"""OpenFeature's provider: its SDK asks, `Client` answers. Needs ``pip install 'understudy[openfeature]'``."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from understudy.client.client import Client
from understudy.client.details import Details
from understudy.client.status import State

try:
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.event import ProviderEventDetails
    from openfeature.exception import ErrorCode, InvalidContextError, ProviderNotReadyError
    from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType
    from openfeature.hook import Hook
    from openfeature.provider import AbstractProvider, Metadata
except ImportError as error:
    message = "the OpenFeature SDK is missing: pip install 'understudy[openfeature]'"
    raise ImportError(message) from error

_REASONS: Final = {"KILLED": "STATIC"}
"""Reasons that OpenFeature does not know, and what it is told: as over OFREP, ``killed`` in the metadata."""
_CODES: Final = frozenset(code.value for code in ErrorCode)

Structure = Sequence[FlagValueType] | Mapping[str, FlagValueType]


class UnderstudyProvider(AbstractProvider):
    """Answers OpenFeature's SDK by *client*, which ends when the provider is shut down.

    `initialize` waits up to *ready_seconds* for flags, from the server or the client's file; without any it
    fails with PROVIDER_NOT_READY (the SDK's state ERROR), and the provider becomes ready when they come.
    STALE is told when the server is lost (answers go on), READY when it is back, CONFIGURATION_CHANGED with
    the flags that may answer differently; never FATAL: a token that is refused may be let in again. After
    `shutdown` it can be initialized again. *hooks* are OpenFeature's.
    """

    def __init__(self, client: Client, *, ready_seconds: float = 10.0, hooks: Sequence[Hook] = ()) -> None:
        super().__init__()
        self.client = client
        self._ready_seconds = ready_seconds
        self._hooks = list(hooks)
        self._removes: list[Callable[[], None]] = []
        self._is_initialized = False
        self._said = State.STARTING
        """What the SDK has been told of; of READY it tells itself, when `initialize` returns."""
        self._lock = threading.Lock()
        """The SDK shuts down in a thread of its own, perhaps while it initializes anew."""

    def get_metadata(self) -> Metadata:
        """See AbstractProvider."""
        return Metadata(name="Understudy")

    def get_provider_hooks(self) -> list[Hook]:
        """See AbstractProvider."""
        return self._hooks

    def initialize(self, evaluation_context: EvaluationContext) -> None:  # noqa: ARG002  # the SDK's
        """See AbstractProvider. Raises: ProviderNotReadyError."""
        with self._lock:
            self._leave()
            self.client.start()
            self._removes = [self.client.on_status(self._came_to), self.client.on_change(self._changed)]
        self._said = State.READY if self.client.wait_ready(self._ready_seconds) else State.STARTING
        self._is_initialized = True  # a provider that was shut down meanwhile hears of nothing
        if not self.client.ready():
            raise ProviderNotReadyError(self.client.status().error or "there are no flags yet")
        if self.client.status().state is State.STALE:
            # The SDK will say READY now; that the server is away it hears when that shows again.
            self._said = State.READY
            self.client.tell_again()

    def shutdown(self) -> None:
        """See AbstractProvider: closes the client."""
        with self._lock:
            self._leave()
            self.client.close()

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """See AbstractProvider."""
        return self._resolve(flag_key, False, default_value, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """See AbstractProvider."""
        return self._resolve(flag_key, "", default_value, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """See AbstractProvider."""
        return self._resolve(flag_key, 0, default_value, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """See AbstractProvider."""
        return self._resolve(flag_key, 0.0, default_value, evaluation_context)

    def resolve_object_details(
        self, flag_key: str, default_value: Structure, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Structure]:
        """See AbstractProvider."""
        return self._resolve(flag_key, {}, default_value, evaluation_context)

    async def resolve_boolean_details_async(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """See AbstractProvider."""
        return await self._resolve_async(flag_key, False, default_value, evaluation_context)

    async def resolve_string_details_async(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """See AbstractProvider."""
        return await self._resolve_async(flag_key, "", default_value, evaluation_context)

    async def resolve_integer_details_async(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """See AbstractProvider."""
        return await self._resolve_async(flag_key, 0, default_value, evaluation_context)

    async def resolve_float_details_async(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """See AbstractProvider."""
        return await self._resolve_async(flag_key, 0.0, default_value, evaluation_context)

    async def resolve_object_details_async(
        self, flag_key: str, default_value: Structure, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Structure]:
        """See AbstractProvider."""
        return await self._resolve_async(flag_key, {}, default_value, evaluation_context)

    async def _resolve_async(
        self, flag: str, kind: object, default: Any, context: EvaluationContext | None
    ) -> FlagResolutionDetails[Any]:
        if self.client.mode == "local":
            return self._resolve(flag, kind, default, context)
        return await asyncio.to_thread(self._resolve, flag, kind, default, context)

    def _resolve(
        self, flag: str, kind: object, default: Any, context: EvaluationContext | None
    ) -> FlagResolutionDetails[Any]:
        """What *flag* says, of the type of *kind*. Raises: InvalidContextError."""
        unit = context.targeting_key if context is not None else None
        attributes: Mapping[str, Any] = context.attributes if context is not None else {}
        try:
            found = self.client.details(flag, unit, kind, **attributes)
        except TypeError as error:
            raise InvalidContextError(str(error)) from None
        return _resolution(found, default)

    def _leave(self) -> None:
        for remove in self._removes:
            remove()
        self._removes, self._is_initialized = [], False

    def _came_to(self, state: State) -> None:
        if not self._is_initialized or state is self._said:
            return  # the SDK tells of that itself
        self._said = state
        details = ProviderEventDetails(message=self.client.status().error or None)
        if state is State.READY:
            self.emit_provider_ready(ProviderEventDetails())
        elif state is State.STALE:
            self.emit_provider_stale(details)

    def _changed(self, flags: frozenset[str]) -> None:
        if self._is_initialized:
            self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=sorted(flags)))


def _resolution(found: Details[Any], default: Any) -> FlagResolutionDetails[Any]:
    killed = {"killed": True} if found.reason == "KILLED" else {}
    code = found.error_code if found.error_code in _CODES or not found.error_code else "GENERAL"
    return FlagResolutionDetails(
        value=default if found.is_default else found.value,
        variant=found.variant or None,
        reason=_REASONS.get(found.reason, found.reason),
        error_code=ErrorCode(code) if code else None,
        error_message=found.error_details or None,
        flag_metadata={**found.metadata, **killed},
    )
