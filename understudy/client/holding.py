"""The definition that answers now: from the server, or from the file until the server is there."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from understudy.client.definition import Definition, Origin, missing, read_definition
from understudy.client.kept import Kept
from understudy.client.trouble import Trouble
from understudy.client.wire import Answer, Wire
from understudy.decide import Evaluation

_AT_ONCE_BYTES = 64 * 1024
"""Read and compiled (10 ms) without a thread of its own: 200 flags."""


class Holding:
    """Holds one definition, taken over whole; *changed* is told which flags may answer differently.

    With *kept*, starts from that file at once. ``trouble`` is what is wrong with the file, if anything.
    """

    def __init__(
        self, *, flag_set: str, kept: Kept | None, changed: Callable[[frozenset[str]], None]
    ) -> None:
        self._flag_set = flag_set
        self._kept = kept
        self._changed = changed
        self.held: Definition | None = None
        self.trouble = ""
        self._is_kept = True
        if kept is not None:
            self._start(kept)

    @property
    def version(self) -> int | None:
        """The version of the rules that answer."""
        return self.held.origin.version if self.held is not None else None

    def evaluate(self, key: str, context: Mapping[str, Any]) -> Evaluation:
        """What flag *key* answers. Never raises."""
        held = self.held
        if held is None:
            return missing("PROVIDER_NOT_READY", "there are no flags yet")
        return held.evaluate(key, context)

    async def refresh(self, wire: Wire) -> None:
        """See Source.refresh."""
        held = self.held
        answer = await wire.definition(held.origin.tag if held is not None else "")
        if answer.status == 200:
            await self._take(answer, held)
        elif held is None:
            raise Trouble("the server says that nothing has changed, to one who knows nothing yet")
        else:
            held.origin = _later(held.origin, answer.origin)
        if not self._is_kept:
            await self._keep(answer)

    def turned(self) -> None:
        """See Source.turned: the definition is asked for, which tells all."""

    def _start(self, kept: Kept) -> None:
        try:
            found = kept.read()
            if found is not None:
                self.held = read_definition(found[1], origin=found[0], flag_set=self._flag_set)
        except Trouble as trouble:
            self.trouble = str(trouble)

    async def _take(self, answer: Answer, held: Definition | None) -> None:
        """Raises: Trouble."""

        def read() -> tuple[Definition, frozenset[str]]:
            made = read_definition(answer.body, origin=answer.origin, flag_set=self._flag_set, before=held)
            return made, frozenset(made.keys) if held is None else made.changed_since(held)

        made, changed = read() if len(answer.body) < _AT_ONCE_BYTES else await asyncio.to_thread(read)
        self.held, self._is_kept = made, False
        if changed:
            self._changed(changed)

    async def _keep(self, answer: Answer) -> None:
        held, kept = self.held, self._kept
        self._is_kept = True
        if kept is None or held is None:
            return
        try:
            await asyncio.to_thread(lambda: kept.write(held.origin, answer.body or _written(held)))
            self.trouble = ""
        except Trouble as trouble:
            self.trouble = str(trouble)
            self._is_kept = False  # tried again when the server is next asked


def _written(held: Definition) -> bytes:
    return json.dumps(held.written).encode()


def _later(known: Origin, told: Origin) -> Origin:
    """The origin of a definition that still is the one in force, in rules of another version perhaps."""
    if told.version is None or told.is_older(known):
        return known
    return Origin(tag=known.tag, version=told.version, stored_at=told.stored_at)
