"""What changed from one version of a rules document to another, by JSON Pointer (RFC 6901). Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

Change = dict[str, Any]


def changes(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """Each place that differs, in the order of the documents: ``{"path", "before", "after"}``.

    ``before`` is left out where something was added, ``after`` where it was removed. Mappings are looked
    into; a list, whose order has a meaning here, is told as a whole. 1, 1.0 and true are three values.
    """
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            inside = f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}"
            if key not in after:
                yield {"path": inside, "before": before[key]}
            elif key not in before:
                yield {"path": inside, "after": after[key]}
            else:
                yield from changes(before[key], after[key], inside)
    elif not _is_same(before, after):
        yield {"path": path, "before": before, "after": after}


def _is_same(before: Any, after: Any) -> bool:
    if type(before) is not type(after):
        return False
    if isinstance(before, list):
        return len(before) == len(after) and all(map(_is_same, before, after))
    if isinstance(before, Mapping):
        return before.keys() == after.keys() and all(_is_same(before[key], after[key]) for key in before)
    return bool(before == after)
