"""Fold what was counted under several names of one endpoint: workers learn apart, and learn in time."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from understudy.comparators.learned import Learned
from understudy.comparators.ledger import Ledger
from understudy.comparators.templates import Templates

MOST_SAMPLES: Final = 5
"""As many as a store keeps of one place."""

Samples = Mapping[tuple[str, str, str, str], Sequence[Mapping[str, Any]]]


def fold_names(names: Collection[str], templates: Sequence[str] = ()) -> dict[str, str]:
    """Which endpoints are now known by another name: old → new, only those that change.

    A template that fits takes over. Of other names, a place with too many, or with ``{name}`` among them,
    has only ``{name}``. A function of the set alone, so that it does not matter who learned what first.
    """
    known, learned = Templates(templates), Learned(0)
    paths: dict[str, tuple[str, str]] = {}
    folded: dict[str, str] = {}
    for name in names:
        method, _, path = name.partition(" ")
        if not path.startswith("/") or "?" in path:
            continue
        template = known.name(method, path)
        if template:
            folded[name] = template
        else:
            paths[name] = method, path
            learned.add(path.split("/"))
    learned.settle()
    for name, (method, path) in paths.items():
        folded[name] = f"{method} {learned.rendered(path.split('/'))}"
    return {name: new for name, new in folded.items() if new != name}


def fold(ledger: Ledger, samples: Samples, templates: Sequence[str] = ()) -> tuple[Ledger, Samples]:
    """What *ledger* counts, and *samples*, under the names that endpoints have now; counts are added.

    The same as if every worker had known these names from the start.
    """
    new = fold_names({endpoint for _, endpoint in ledger.endpoints()}, templates)
    if not new:
        return ledger, samples
    kept: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = {}
    for (service, endpoint, path, kind), found in samples.items():
        place = (service, new.get(endpoint, endpoint), path, kind)
        kept.setdefault(place, []).extend(found)
    return ledger.under(new), {place: found[:MOST_SAMPLES] for place, found in kept.items()}
