"""Services as the admin API tells of them."""

from typing import Any

from understudy.app.services import services
from understudy.config import Service


def test_health_is_that_of_the_worker_that_sees_the_fewest() -> None:
    """Workers that are gone do not count; a service that nobody told of has none."""
    settings = {
        "v1": Service(origins=("http://127.0.0.1:1", "http://127.0.0.1:2")),
        "v2": Service(url="http://127.0.0.1:3", balance="least_connections"),
    }
    snapshots: list[dict[str, Any]] = [
        {"origins": [["v1", 2]]},
        {"origins": [["v1", 1]]},
        {"origins": [["v1", 0]], "gone": True},
        {},
    ]
    assert services(settings, snapshots) == [
        {
            "name": "v1",
            "origins": ["http://127.0.0.1:1", "http://127.0.0.1:2"],
            "balance": "round_robin",
            "health": {"healthy": 1, "origins": 2},
        },
        {
            "name": "v2",
            "origins": ["http://127.0.0.1:3"],
            "balance": "least_connections",
            "health": {"healthy": None, "origins": 1},
        },
    ]
