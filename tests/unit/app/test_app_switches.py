"""The kill switches as the report tells of them."""

from understudy.access import Deed
from understudy.app.switches import MOST_SWITCHES, killed, switches
from understudy.config import parse_rules

SHOP = {
    "variants": {"canary": {"serve": "v2", "mirror": ["v1"]}, "stable": {"serve": "v1"}},
    "defaultVariant": "canary",
    "metadata": {"safeVariant": "stable"},
    "targeting": {"fractional": [["canary", 1], ["stable", 3]]},
}
BANNER = {"variants": {"on": True, "off": False}, "defaultVariant": "off"}
RULES = parse_rules(
    {
        "flags": {
            "banner": BANNER | {"state": "ENABLED"},
            "idle": BANNER | {"state": "ENABLED"},
            "shop": SHOP | {"state": "ENABLED"},
            "off": SHOP | {"state": "DISABLED"},
        },
        "routes": [
            {"path": "/shop", "flag": "shop", "unit": "cookie:uid"},
            {"path": "/", "flag": "off", "unit": "cookie:uid"},
        ],
        "killed": ["banner"],
    },
    services=("v1", "v2"),
)


def test_what_routes_and_what_is_killed_has_a_switch() -> None:
    """In the order of the routes, then the rest; a flag that neither routes nor is killed has none."""
    shop, off, banner = switches(RULES, frozenset())
    assert (shop["flag"], shop["state"], shop["safe_variant"]) == ("shop", "ENABLED", "stable")
    assert shop["variants"] == [
        {"variant": "canary", "share": 0.25, "serve": "v2", "mirror": ["v1"]},
        {"variant": "stable", "share": 0.75, "serve": "v1", "mirror": []},
    ]
    assert (off["flag"], off["state"], off["killed_by"]) == ("off", "DISABLED", [])
    assert (banner["flag"], banner["state"], banner["killed_by"]) == ("banner", "KILLED", ["rules"])
    assert (banner["safe_variant"], banner["variants"]) == ("off", [])


def test_what_this_host_kills_is_killed_beside() -> None:
    """Both may kill the same flag; each is told by itself."""
    here = frozenset({"shop", "banner", "idle"})
    assert [(one["flag"], one["killed_by"]) for one in switches(RULES, here)] == [
        ("shop", ["kill_file"]),
        ("off", []),
        ("banner", ["rules", "kill_file"]),
        ("idle", ["kill_file"]),
    ]
    deed = Deed(at=5.0, who="ann", origin="", action="flag.kill", target="banner", reason="blinks")
    assert killed(RULES, here, {"banner": deed}, files=["/k"]) == [
        {"flag": "banner", "by": "rules", "who": "ann", "at": 5.0, "reason": "blinks"},
        {"flag": "banner", "by": "kill_file", "files": ["/k"]},
        {"flag": "idle", "by": "kill_file", "files": ["/k"]},
        {"flag": "shop", "by": "kill_file", "files": ["/k"]},
    ]
    assert killed(RULES, (), {}, files=[])[0]["who"] is None


def test_a_report_does_not_grow_with_the_flags_that_are_killed() -> None:
    """There are as many as people can look through."""
    flags = {f"f{n}": BANNER | {"state": "ENABLED"} for n in range(MOST_SWITCHES + 5)}
    rules = parse_rules({"flags": flags, "killed": list(flags)}, services=())
    assert len(switches(rules, ())) == MOST_SWITCHES
