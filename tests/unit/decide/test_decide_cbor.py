"""Deterministic CBOR: the examples of RFC 8949, appendix A."""

# ruff: noqa: E501  # a table reads best with one case a line

import math
from typing import Any

import pytest

from understudy.decide.cbor import encode, encode_text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "00"), (23, "17"), (24, "1818"), (100, "1864"), (1000, "1903e8"), (1000000, "1a000f4240"),
        (1000000000000, "1b000000e8d4a51000"), (18446744073709551615, "1bffffffffffffffff"),
        (-1, "20"), (-100, "3863"), (-1000, "3903e7"), (-(2**63), "3b7fffffffffffffff"),
        (1.5, "f93e00"), (65504.0, "19ffe0"), (100000.5, "fa47c35040"), (3.4028234663852886e38, "fa7f7fffff"),
        (1.1, "fb3ff199999999999a"), (1e300, "fb7e37e43c8800759c"), (5.960464477539063e-08, "f90001"),
        (-4.1, "fbc010666666666666"), (math.inf, "f97c00"), (-math.inf, "f9fc00"), (math.nan, "f97e00"),
        (1.0, "01"), (-0.0, "00"), (-2.0, "21"), (2**64, "fa5f800000"), (10**400, "f97c00"),
        (False, "f4"), (True, "f5"), (None, "f6"), ("", "60"), ("a", "6161"), ("ü", "62c3bc"), ("水", "63e6b0b4"),
        ("a" * 24, "7818" + "61" * 24), ("a" * 256, "790100" + "61" * 256),
        ([], "80"), ([1, [2, 3]], "8201820203"), ({}, "a0"), ({"b": [2], "a": 1}, "a2616101616281" + "02"),
        ({"aa": 2, "z": 1}, "a2617a0162616102"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_values_encode_as_the_standard_shows(value: Any, expected: str) -> None:
    """Shortest form of everything; integral floats as integers; keys in the order of their bytes."""
    assert encode(value).hex() == expected


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    """What JSON may hold but UTF-8 may not is replaced, whole pairs are joined."""
    assert encode_text("\ud83d") == "\ufffd".encode()
    assert encode_text("\ud83d\ude00") == "😀".encode()


def test_other_types_are_refused() -> None:
    """Only JSON has an encoding."""
    with pytest.raises(TypeError, match="set"):
        encode({1})
