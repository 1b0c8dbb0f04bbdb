"""JSON merge patch (RFC 7396). Pure."""

from collections.abc import Mapping
from typing import Any, Final

MERGE_PATCH: Final = "application/merge-patch+json"


def merge(target: Any, patch: Any) -> Any:
    """*target* as *patch* changes it; neither is altered.

    The function of RFC 7396, section 2: null removes, objects merge, all else (lists too) replaces.
    """
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged
