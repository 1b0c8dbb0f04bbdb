"""What the commands print never steers a terminal."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.cli.screen import json_text


@given(st.text() | st.sampled_from(["\x9b31m", "\x7f", "\u202eevil", "\U000e0001", "naïve 日本語 🎭"]))
@settings(max_examples=50)
def test_json_is_printable_and_means_the_same(text: str) -> None:
    """Whatever a flag is called or described as, the escapes are JSON's own."""
    written = json_text({text: [text]})
    assert written.replace("\n", "").isprintable()
    assert json.loads(written) == {text: [text]}


def test_words_stay_readable() -> None:
    """Only what cannot be seen is written as an escape."""
    assert json_text("naïve 日本語 🎭\u202e") == '"naïve 日本語 🎭\\u202e"\n'
