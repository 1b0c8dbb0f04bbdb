"""Files become plain values, or a problem with its place in the text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.config.text import parse_json, parse_yaml, read_file, write_yaml
from understudy.errors import ConfigError

BOMB = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 10)
)


def problems(text: str) -> list[str]:
    """What is wrong with the YAML *text*."""
    with pytest.raises(ConfigError) as refused:
        parse_yaml(text)
    return [str(problem) for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on: off", {"on": "off"}),
        ("yes: no", {"yes": "no"}),
        ("a: 2024-01-01", {"a": "2024-01-01"}),
        ("a: 010", {"a": 10}),
        ("a: 0x10", {"a": 16}),
        ("a: 0o10", {"a": 8}),
        ("a: 1:30", {"a": "1:30"}),
        ("a: 1e3", {"a": 1000.0}),
        ("a: ~\nb:", {"a": None, "b": None}),
        ("a: TRUE", {"a": True}),
        ('a: "on"', {"a": "on"}),
        ("a: !!str 5", {"a": "5"}),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("x: &a {b: 1, c: 2}\ny: {<<: *a, c: 3}", {"x": {"b": 1, "c": 2}, "y": {"b": 1, "c": 3}}),
        ("x: &a {b: 1}\ny: &c {b: 2}\nz: {<<: [*a, *c]}", {"x": {"b": 1}, "y": {"b": 2}, "z": {"b": 1}}),
        ("x: &a [1]\ny: [*a, *a]", {"x": [1], "y": [[1], [1]]}),
    ],
)
def test_yaml_is_read_by_its_core_rules(text: str, value: object) -> None:
    """on, off, yes, no, dates and times of day are text; anchors and merge keys work."""
    assert parse_yaml(text) == value


def test_repeated_anchors_are_separate_values() -> None:
    """Changing one copy of an anchored value leaves the others alone."""
    value = parse_yaml("x: &a {b: 1}\ny: *a")
    assert isinstance(value, dict)
    assert value["x"] is not value["y"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a: [1",
            (
                "broken YAML at line 1, column 6: while parsing a flow sequence, expected ',' or ']', "
                "but got '<stream end>'"
            ),
        ),
        (
            "a:\n\tb: 1",
            (
                "broken YAML at line 2, column 1: while scanning for the next token, "
                "found character '\\t' that cannot start any token"
            ),
        ),
        (
            "a: 1\n---\nb: 2",
            (
                "broken YAML at line 2, column 1: expected a single document in the stream, "
                "but found another document"
            ),
        ),
        ("{a: *b}", "broken YAML at line 1, column 5: found undefined alias 'b'"),
        ('a: "\\UFFFFFFFF"', "broken YAML: Python int too large to convert to C int"),
        ("a: &x [*x]", "the anchor on line 1 contains itself"),
        (BOMB, "holds more than 500,000 values once its anchors are expanded"),
        (MERGE_BOMB, "holds more than 500,000 values once its anchors are expanded"),
        ("[" * 1000, "is nested deeper than 100 levels"),
        ("[" * 150 + "]" * 150, "is nested deeper than 100 levels, on line 1"),
        ("1: 2", 'the key on line 1 is not text (quote it: "1")'),
        ("a:\n  true: 2", 'a: the key on line 2 is not text (quote it: "true")'),
        ("? [a]\n: 1", "the key on line 1 is not text"),
        ("a: !!python/object:os.system x", "a: the tag !!python/object:os.system on line 1 is not allowed"),
        ("a: !mine x", "a: the tag !mine on line 1 is not allowed"),
        ("a: !!int x", 'a: "x" on line 1 cannot be read as !!int'),
        ("a: .inf", "a: is not a finite number: inf (line 1)"),
        ("a: 99999999999999999999", "a: is a number beyond 64 bits (line 1)"),
        ("a: {<<: 3}", "a: << on line 1 must name mappings"),
    ],
)
def test_broken_yaml_is_told_with_its_place(text: str, expected: str) -> None:
    """The problem names line and column, or path and line."""
    assert problems(text) == [expected]


def test_every_duplicate_key_is_told() -> None:
    """A second value would win in silence; both lines are named, for each duplicate."""
    assert problems("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n") == [
        "b.c: duplicate key on line 4, first on line 3",
        "a: duplicate key on line 5, first on line 1",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1, "a": 2}', 'duplicate key "a"'),
        ('{"a": }', "broken JSON at line 1, column 7: Expecting value"),
        ('{"a": NaN}', "a: is not a finite number: nan"),
        ('"\\ud800"', "is not valid Unicode text"),
        ("[" * 100_000, "is nested deeper than 100 levels"),
        ("1" * 5000, "broken JSON: Exceeds the limit (4300 digits) for integer string conversion"),
    ],
)
def test_broken_json_is_told(text: str, expected: str) -> None:
    """JSON is held to what every store and worker can carry."""
    with pytest.raises(ConfigError) as refused:
        parse_json(text)
    assert str(refused.value).startswith(expected)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A missing file, a directory, an empty file, another encoding: one line each, no traceback."""
    empty, latin = tmp_path / "empty.yaml", tmp_path / "latin.yaml"
    empty.write_text("  \n")
    latin.write_bytes(b"a: caf\xe9")
    expected = {
        tmp_path / "none.yaml": f"{tmp_path}/none.yaml: there is no such file (name one with -c FILE)",
        tmp_path: f"{tmp_path}: is a directory, not a file (perhaps {tmp_path}/understudy.yaml)",
        empty: f"{empty}: is empty (examples/minimal.yaml shows the least that is needed)",
        latin: f"{latin}: is not UTF-8 text, at byte 6",
    }
    for path, message in expected.items():
        with pytest.raises(ConfigError) as refused:
            read_file(path)
        assert str(refused.value) == message


def test_the_name_says_which_grammar(tmp_path: Path) -> None:
    """A .json file is JSON, with its escapes; a byte order mark is no part of either."""
    file = tmp_path / "rules.json"
    file.write_bytes(b'\xef\xbb\xbf{"a": "\\ud83d\\ude00"}')
    assert read_file(file) == {"a": "\N{GRINNING FACE}"}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_written_yaml_reads_back(value: object) -> None:
    """What `rules get` prints is what `rules put` sends, text that looks like numbers included."""
    assert parse_yaml(write_yaml(value)) == value


@pytest.mark.parametrize(
    "text", ["1e3", "0o17", "on", "off", "yes", "null", "~", "1:30", "2024-01-01", "<<", "0x1f"]
)
def test_text_that_looks_like_more_stays_text(text: str) -> None:
    """Either version of YAML would read one of these as something else, so they are quoted."""
    assert parse_yaml(write_yaml({text: text})) == {text: text}


@given(st.text())
def test_parsing_only_ever_refuses(text: str) -> None:
    """No text makes the parsers fail in another way than by a list of problems."""
    for parse in (parse_yaml, parse_json):
        count = 1
        try:
            parse(text)
        except ConfigError as refused:
            count = len(refused.problems)
        assert count
