"""What a promotion brings along, and what of the target stays."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.admin.promotion import PARTS, Promotion, promoted
from understudy.errors import FlagNotFound


def flag(*weights: tuple[str, int], state: str = "ENABLED", **more: Any) -> dict[str, Any]:
    """A flag with two variants, of which weights are drawn when they are given."""
    drawn = {"targeting": {"fractional": [{"var": "targetingKey"}, *map(list, weights)]}} if weights else {}
    return {"state": state, "variants": {"on": True, "off": False}, "defaultVariant": "off"} | drawn | more


def document(*segments: str, killed: tuple[str, ...] = (), **flags: Any) -> dict[str, Any]:
    """A rules document; each segment is called by its name and holds it."""
    evaluators = {"$evaluators": {name: {"in": [name, {"var": "plan"}]} for name in segments}}
    return {"flags": flags, "routes": [], "compare": [], "killed": list(killed)} | (
        evaluators if segments else {}
    )


def stays(promotion: Promotion) -> list[tuple[str, Any, Any]]:
    return [(stay.part, stay.here, stay.there) for stay in promotion.stays]


def test_the_definition_travels_and_the_state_stays() -> None:
    """Variants, targeting and metadata are those of the source; off stays off, and nothing else changes."""
    here = document(shop=flag(metadata={"owner": "ann"}, targeting={"if": [True, "on"]}))
    there = document(other=flag(), shop=flag(state="DISABLED"))
    promotion = promoted(here, there, "shop")

    assert promotion.document["flags"]["shop"] == here["flags"]["shop"] | {"state": "DISABLED"}
    assert promotion.document["flags"]["other"] == there["flags"]["other"]
    assert stays(promotion) == [("state", "ENABLED", "DISABLED")]
    assert promoted(here, there, "shop", parts=["state"]).document["flags"]["shop"] == here["flags"]["shop"]


def test_a_new_flag_arrives_disabled() -> None:
    """Nobody gets anything else than before; the note says how it comes on."""
    promotion = promoted(document(shop=flag()), document(), "shop")

    assert promotion.document["flags"]["shop"]["state"] == "DISABLED"
    assert promotion.notes == ("shop is new there and arrives DISABLED; with=state brings the state along",)
    on = promoted(document(shop=flag()), document(), "shop", parts=["state"])
    assert (on.document["flags"]["shop"]["state"], on.notes) == ("ENABLED", ())


def test_weights_stay_where_the_variants_are_the_same() -> None:
    """A canary at half in one is not thereby at half in the next."""
    here, there = document(shop=flag(("on", 50), ("off", 50))), document(shop=flag(("on", 5), ("off", 95)))
    promotion = promoted(here, there, "shop")

    assert promotion.document == there
    assert stays(promotion) == [("weights", [["on", 50], ["off", 50]], [["on", 5], ["off", 95]])]
    assert promoted(here, there, "shop", parts=["weights"]).document == here


def test_both_hashes_of_a_ramp_keep_their_weights() -> None:
    """Who is exposed, and to which variant: each by its own."""

    def ramp(exposed: int, red: int) -> dict[str, Any]:
        first = {
            "fractional": [{"cat": ["s:", {"var": "targetingKey"}]}, [True, exposed], [False, 9 - exposed]]
        }
        return flag(targeting={"if": [first, {"fractional": [["on", red], ["off", 9 - red]]}, "off"]})

    there = document(shop=ramp(1, 2))
    assert promoted(document(shop=ramp(8, 7)), there, "shop").document == there


@pytest.mark.parametrize(
    "targeting",
    [
        {"fractional": [{"var": "other"}, ["on", 50], ["off", 50]]},
        {"fractional": [["on", 1], ["off", 1], ["third", 1]]},
        {"if": [{"fractional": [["on", 1], ["off", 1]]}, {"fractional": [["on", 1], ["off", 1]]}]},
        {"fractional": [["on", {"var": "share"}], ["off", 1]]},
        {"if": [True, "on"]},
    ],
)
def test_weights_travel_where_they_cannot_stay(targeting: Any) -> None:
    """With other variants, or drawn twice, there is nothing that theirs would be the weights of."""
    here = document(shop=flag(targeting=targeting))
    promotion = promoted(here, document(shop=flag(("on", 5), ("off", 95))), "shop")

    assert promotion.document == here
    assert promotion.stays == ()
    assert ["weights of shop change" in note for note in promotion.notes] == [True]


def test_the_kill_switch_stays() -> None:
    """Both ways: a promotion neither revives nor kills, unless it is asked to do as the source does."""
    killed, alive = document(killed=("shop",), shop=flag()), document(shop=flag())

    assert promoted(alive, killed, "shop").document["killed"] == ["shop"]
    assert promoted(killed, alive, "shop").document["killed"] == []
    assert promoted(alive, killed, "shop", parts=["killed"]).document["killed"] == []
    assert promoted(killed, alive, "shop", parts=["killed"]).document["killed"] == ["shop"]


def test_segments_that_are_missing_come_along() -> None:
    """With those that they name; one that the target has otherwise stays, unless it is asked for."""
    here = document("beta", "staff", "unused", shop=flag(targeting={"if": [{"$ref": "beta"}, "on"]}))
    here["$evaluators"]["beta"] = {"or": [{"$ref": "staff"}, True]}
    promotion = promoted(here, document(shop=flag()), "shop")
    assert promotion.segments == ("beta", "staff")
    assert set(promotion.document["$evaluators"]) == {"beta", "staff"}

    there = document("beta", other=flag(targeting={"$ref": "beta"}), shop=flag())
    kept = promoted(here, there, "shop")
    assert (kept.segments, stays(kept)[0][0]) == (("staff",), "segments")
    assert kept.document["$evaluators"]["beta"] == there["$evaluators"]["beta"]
    changed = promoted(here, there, "shop", parts=["segments"])
    assert changed.segments == ("beta", "staff")
    assert "the segment beta changes for other, too" in changed.notes


def test_prerequisites_come_along_when_they_are_asked_for() -> None:
    """Those that the target has not, and theirs; a circle ends."""
    here = document(
        shop=flag(targeting={"if": [{"==": [{"flag": "a"}, "on"]}, "on"]}),
        a=flag(targeting={"if": [{"flag": ["b"]}, "on"]}),
        b=flag(targeting={"if": [{"flag": "shop"}, "on"]}),
    )

    assert promoted(here, document(), "shop").flags == ("shop",)
    assert promoted(here, document(), "shop", parts=["prerequisites"]).flags == ("shop", "a", "b")
    assert promoted(here, document(b=flag()), "shop", parts=["prerequisites"]).flags == ("shop", "a")


def test_another_hash_version_is_told() -> None:
    """The same weights would draw other units."""
    promotion = promoted(document(shop=flag()) | {"metadata": {"hashVersion": 3}}, document(), "shop")

    assert any("hashVersion" in note for note in promotion.notes)


def test_a_flag_that_is_not_there_is_told() -> None:
    """With those that are."""
    with pytest.raises(FlagNotFound, match="there are shop"):
        promoted(document(shop=flag()), document(), "shpo")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$ref", "flag", "fractional", "state", "targeting", "x"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=50)
@given(here=plain, there=plain, segments=plain, parts=st.sets(st.sampled_from(PARTS)))
def test_any_document_is_promoted_and_none_is_changed(
    here: Any, there: Any, segments: Any, parts: set[str]
) -> None:
    """Whatever stands there; and promoting the same again changes nothing more."""
    source = {"flags": {"k": here}, "$evaluators": segments}
    target = {"flags": {"k": there}, "$evaluators": {"y": 1}}
    before = deepcopy((source, target))
    once = promoted(source, target, "k", parts=parts)

    assert (source, target) == before
    assert promoted(source, once.document, "k", parts=parts).document == once.document
