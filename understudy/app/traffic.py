"""Who answered how many requests, by cohort: what the report shows beside what was compared."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

MOST_COHORTS: Final = 100
"""A picture of more is none; the metrics have them all."""


def traffic(snapshots: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Requests per flag, variant and service, most first, from what the workers have counted.

    The variant is the assigned one, as in ``understudy_requests_total``, also where a fallback answered.
    """
    requests: Counter[tuple[str, str, str]] = Counter()
    for snapshot in snapshots:
        for _, flag, variant, service, by_class, *_ in snapshot.get("requests", ()):
            requests[flag, variant, service] += sum(by_class)
        for _, flag, variant, _, service, by_class, *_ in snapshot.get("fallbacks", ()):
            requests[flag, variant, service] += sum(by_class)
    ordered = sorted(requests.items(), key=lambda item: (-item[1], item[0]))
    return [
        {"flag": flag, "variant": variant, "service": service, "requests": number}
        for (flag, variant, service), number in ordered[:MOST_COHORTS]
        if number
    ]
