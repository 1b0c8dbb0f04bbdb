"""A stored sample, explained in full: every place where its two answers differ, found by `deepdiff`.

Too slow for the stream, and nothing is counted here: it reads two answers that are cut and redacted.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from understudy.comparators.difference import pointer

MOST_CHANGES: Final = 200

CHANGES: Final = {
    "values_changed": "value",
    "type_changes": "type",
    "dictionary_item_added": "extra",
    "dictionary_item_removed": "missing",
    "iterable_item_added": "extra",
    "iterable_item_removed": "missing",
}
"""What deepdiff calls a change, and what the reports call it."""


def explain(primary: Mapping[str, Any], shadow: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where two answers of `shown_answer` differ: each ``{"path", "change", "primary", "shadow"}``.

    The paths are those of reports, with list positions. At most `MOST_CHANGES`; empty when nothing differs
    in what is shown. Blocks: call it in a thread. Never raises.
    """
    from deepdiff import DeepDiff  # takes a tenth of a second to import, and most processes never need it

    try:
        found = DeepDiff(
            _laid_out(primary),
            _laid_out(shadow),
            view="tree",
            verbose_level=2,
            zip_ordered_iterables=True,
        )
        levels = [(change, level) for change in CHANGES for level in found.get(change, ())]
        changes = [_change(change, level) for change, level in levels if not _is_spelling(level)]
    except Exception:  # noqa: BLE001  what is stored is any JSON, and an explanation is a courtesy
        return []
    return sorted(changes, key=lambda change: str(change["path"]))[:MOST_CHANGES]


def _laid_out(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer as a tree whose places are those of reports; fields of one name are a list when several."""
    headers: dict[str, list[Any]] = {}
    for name, value in answer.get("headers") or ():
        headers.setdefault(str(name).lower(), []).append(value)
    fields = {name: values[0] if len(values) == 1 else values for name, values in headers.items()}
    return {"status": answer.get("status"), "headers": fields, "body": answer.get("body")}


def _is_spelling(level: Any) -> bool:
    """Whether two numbers are one, written as 1 and as 1.0."""
    return _are_numbers(level) and level.t1 == level.t2


def _are_numbers(level: Any) -> bool:
    return all(isinstance(side, int | float) and not isinstance(side, bool) for side in (level.t1, level.t2))


def _change(change: str, level: Any) -> dict[str, Any]:
    path: Sequence[str | int] = level.path(output_format="list")
    word = "value" if _are_numbers(level) else CHANGES[change]
    return {
        "path": pointer(path),
        "change": word,
        "primary": None if word == "extra" else level.t1,
        "shadow": None if word == "missing" else level.t2,
    }
