"""One definition: read whole or refused whole, compiled, and compared with the one before it."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.client.trouble import Trouble
from understudy.decide import Evaluation, Evaluator

_KEYS = (("flags", dict), ("$evaluators", dict), ("metadata", dict), ("killed", list))


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a definition is from: its entity tag, the version of its rules, and when that was stored.

    ``stored_at`` is in seconds since 1970. A server that tells neither has None for both.
    """

    tag: str = ""
    version: int | None = None
    stored_at: float | None = None

    def is_older(self, than: "Origin") -> bool:
        """Whether this is surely an older state of the rules than *than*.

        Versions count up within one store; a store that was set up anew begins again, but later.
        """
        if self.version is None or than.version is None:
            return False
        if self.stored_at is None or than.stored_at is None:
            return self.version < than.version
        return self.version <= than.version and self.stored_at < than.stored_at


class Definition:
    """The flags of one document (of one flag set, unless ``flag_set`` is empty), ready to be evaluated."""

    __slots__ = ("_evaluate", "_hidden", "evaluator", "flag_set", "keys", "origin", "written")

    def __init__(
        self, document: Mapping[str, Any], *, origin: Origin, flag_set: str, evaluator: Evaluator
    ) -> None:
        self.origin = origin
        self.flag_set = flag_set
        self.evaluator = evaluator
        self.written = document
        """The document itself; not to be changed."""
        self._hidden = frozenset(_outside(document, flag_set)) if flag_set else frozenset[str]()
        self._evaluate = evaluator.evaluate
        self.keys: tuple[str, ...] = tuple(key for key in evaluator.keys if key not in self._hidden)
        """The flags that may be asked, in document order."""

    def evaluate(self, key: str, context: Mapping[str, Any]) -> Evaluation:
        """What flag *key* answers for *context*, as the server would. Never raises."""
        if key in self._hidden:
            details = f"there is no flag {key!r} in flag set {self.flag_set!r}"
            return missing("FLAG_NOT_FOUND", details)
        return self._evaluate(key, context)

    def changed_since(self, before: "Definition") -> frozenset[str]:
        """The flags that may answer differently than in *before*, and those that came or went."""
        mine, theirs = self.written, before.written
        either = frozenset(self.keys) | frozenset(before.keys)
        if any(repr(mine[key]) != repr(theirs[key]) for key in ("$evaluators", "metadata")):
            return either
        killed = frozenset(mine["killed"]) ^ frozenset(theirs["killed"])
        # As text: 1, 1.0 and true are equal, but not the same answer.
        ours = {key: repr(flag) for key, flag in mine["flags"].items()}
        past = {key: repr(flag) for key, flag in theirs["flags"].items()}
        moved = {key for key in ours.keys() | past.keys() if ours.get(key) != past.get(key)} | killed
        asking = (
            {key for key, text in ours.items() if "'flag'" in text or "'$ref'" in text} if moved else set()
        )
        return frozenset(moved | asking) & either


def _outside(document: Mapping[str, Any], flag_set: str) -> list[str]:
    """The flags of other flag sets, which are there because flags of this one ask them."""
    whole = document["metadata"].get("flagSetId", "")
    found = []
    for key, flag in document["flags"].items():
        own = flag.get("metadata") if isinstance(flag, dict) else None
        named = own.get("flagSetId", whole) if isinstance(own, dict) else whole
        if str(named) != flag_set:
            found.append(key)
    return found


def missing(code: str, details: str) -> Evaluation:
    """An answer that leaves the caller his own default."""
    return Evaluation(value=None, variant="", reason="ERROR", error_code=code, error_details=details)


def read_definition(
    body: bytes, *, origin: Origin, flag_set: str = "", before: Definition | None = None
) -> Definition:
    """The definition that *body* says. What is as in *before* is not compiled anew.

    Raises: Trouble, when it is no definition, or when nobody should take it in the place of *before*: it is
    older, or has no flags at all although it is no newer version.
    """
    document = _document(body)
    if before is not None:
        _check_order(document, origin, before)
    evaluator = Evaluator(
        flags=document["flags"],
        evaluators=document["$evaluators"],
        metadata=document["metadata"],
        killed=document["killed"],
        clock=time.time,
        before=before.evaluator if before is not None else None,
    )
    return Definition(document, origin=origin, flag_set=flag_set, evaluator=evaluator)


def _document(body: bytes) -> dict[str, Any]:
    try:
        # The standard library's: integers of any size stay what they are.
        found = json.loads(body.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Trouble(f"the definition is not JSON: {_short(error)}") from None
    if not isinstance(found, dict) or "flags" not in found:
        raise Trouble("the answer is not a definition: it has no flags")
    whole = {key: kind() if found.get(key) is None else found[key] for key, kind in _KEYS}
    for key, kind in _KEYS:
        if not isinstance(whole[key], kind):
            raise Trouble(
                f"the definition cannot be used: its {key} is not {'a list' if kind is list else 'an object'}"
            )
    whole["killed"] = [key for key in whole["killed"] if isinstance(key, str)]
    return whole


def _check_order(document: Mapping[str, Any], origin: Origin, before: Definition) -> None:
    if origin.is_older(before.origin):
        raise Trouble(
            f"the server gave version {origin.version} of the rules, older than version"
            f" {before.origin.version}, which is in force here"
        )
    is_newer = (origin.version or 0) > (before.origin.version or 0)
    if before.written["flags"] and not document["flags"] and not is_newer:
        raise Trouble("the server gave a definition without any flag, and no newer version of the rules")


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _short(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
