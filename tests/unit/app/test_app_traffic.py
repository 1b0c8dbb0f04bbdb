"""Requests by cohort, from what the workers have counted."""

from understudy.app.traffic import MOST_COHORTS, traffic

CODES = [0, 0, 3, 0, 0, 1]


def row(flag: str, variant: str, service: str) -> list[object]:
    """Four answers of one cohort, with a histogram that does not matter here."""
    return ["/", flag, variant, service, CODES, [4], 0.1]


def test_workers_and_routes_are_added() -> None:
    """One entry per flag, variant and service, whoever answered by whichever route; most first."""
    both = {"requests": [row("shop", "dark", "v1"), row("shop", "stable", "v1"), row("shop", "dark", "v1")]}

    assert traffic([both, {"requests": [row("", "", "v1")]}, {}]) == [
        {"flag": "shop", "variant": "dark", "service": "v1", "requests": 8},
        {"flag": "", "variant": "", "service": "v1", "requests": 4},
        {"flag": "shop", "variant": "stable", "service": "v1", "requests": 4},
    ]


def test_a_fallback_is_its_own_share() -> None:
    """The cohort stays the assigned one; the service is the one that answered."""
    snapshot = {"fallbacks": [["/", "shop", "canary", "stable", "v1", CODES, [4], 0.1]]}

    assert traffic([snapshot]) == [{"flag": "shop", "variant": "canary", "service": "v1", "requests": 4}]


def test_the_list_is_bounded() -> None:
    """However many flags there are, the report stays one."""
    rows = [row(f"flag-{number}", "on", "v1") for number in range(MOST_COHORTS + 5)]

    assert len(traffic([{"requests": rows}])) == MOST_COHORTS
