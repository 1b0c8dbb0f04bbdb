"""What is private in a sample is hidden before it is stored; equal stays equal, different different."""

import random
import string
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.shadow import Redaction, is_plain
from understudy.shadow.redaction import is_secret_name, luhn

KEY = b"k" * 32
HIDE = Redaction(
    key=KEY, headers=("authorization", "set-cookie"), paths=("/body/card/number", "/body/*/iban")
)


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "Passwords",
        "user_password",
        "userPassword",
        "passwordHash",
        "accessToken",
        "refresh_token",
        "id-token",
        "TOKEN",
        "apiKey",
        "api_key",
        "X-Api-Key",
        "userAPIKey",
        "clientSecret",
        "Authorization",
        "auth",
        "authToken",
        "set-cookie",
        "sessionId",
        "JSESSIONID",
        "PHPSESSID",
        "sid",
        "csrf_token",
        "JWTToken",
        "cvv",
        "cvc2",
        "pin",
        "otp",
        "ssn",
        "iban",
        "cardNumber",
        "privateKey",
        "aws.secret.access.key",
        "credentials",
        "@password",
        "ns:password",
        "input.csrf_token",
        "$token",
    ],
)
def test_names_of_secrets_are_known(name: str) -> None:
    """In snake, kebab and camel case, alone and inside a longer name."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "author",
        "authority",
        "tokenizer",
        "passenger",
        "passed",
        "spinner",
        "pinned",
        "side",
        "keys",
        "id",
        "name",
    ],
)
def test_other_names_are_not(name: str) -> None:
    """A name that merely begins like a secret's is shown."""
    assert not is_secret_name(name)


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    "secret",
    [
        JWT,
        "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
        "sk-proj-abcdefghijklmnop",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "github_pat_11ABCDEFG0abcdefghij",
        "glpat-abcdefghijklmnopqrst",
        "xoxb-123456789012-abcdefghijkl",
        "AKIAIOSFODNN7EXAMPLE",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "bob.o'hara+shop@mail.example.co.uk",
        "jürgen@straße.example",
        "4111111111111111",
        "4111-1111-1111-1111",
        "4111 1111 1111 1111",
        "378282246310005",
        "6011 1111 1111 1117",
    ],
)
@pytest.mark.parametrize(
    "place",
    ["{}", "before {} after", "before {}.", "({})", '"{}"', "a={}&b=1", "x:{},", "{}\n", "https://h/p?q={}"],
)
def test_secrets_are_known_by_their_shape(secret: str, place: str) -> None:
    """Wherever they stand in a text."""
    shown = HIDE.text(place.format(secret))
    assert secret not in shown
    assert "[" in shown


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2",
        'password: "hunter2 and more"',
        "{'password': 'hunter2'}",
        '{"userPassword": "hunter2"}',
        "https://host/reset?token=hunter2&x=1",
        "api_key = hunter2;",
        "Authorization: hunter2",
        "pin=hunter2",
        "PHPSESSID and sid=hunter2",
    ],
)
def test_what_a_text_assigns_to_a_secret_name_is_hidden(text: str) -> None:
    """In forms, URLs, headers and JSON that stand inside a text."""
    assert "hunter2" not in HIDE.text(text)


@pytest.mark.parametrize(
    "text",
    [
        "an ordinary sentence about tokens and passwords",
        "order 1234567890123456789012345 of 2026-11-21",
        "1732171234567",
        "spin=5 and a pinned tab",
        "0.1234567890123456",
        "4111111111111112",
        "deadbeef4111111111111111cafe",
        "a@b",
        "9007199254740993",
    ],
)
def test_what_is_not_private_is_shown(text: str) -> None:
    """Dates, times, identifiers, numbers that are no card's, sentences."""
    assert HIDE.text(text) == text


def test_a_card_beside_other_digits_is_found() -> None:
    """Number, expiry and check digits in a row: the card goes, the neighbours stay."""
    shown = HIDE.text("card 4111 1111 1111 1111 123 ok")
    assert "1111" not in shown
    assert shown.endswith(" 123 ok")


def test_equal_values_stay_equal_and_different_ones_different() -> None:
    """The hash is keyed: the same within a process, not comparable without the key."""
    one, other = HIDE.text("a@example.com"), HIDE.text("b@example.com")
    assert one == HIDE.text("a@example.com")
    assert one != other
    assert one != Redaction(key=b"x" * 32).text("a@example.com")
    assert HIDE.value("/body/password", 9) != HIDE.value("/body/password", "9")


def test_a_hidden_branch_hides_all_below() -> None:
    """A difference deep inside credentials is hidden by the name above it."""
    assert "s3cret" not in str(HIDE.value("/body/credentials/user/name", "s3cret"))
    assert "s3cret" not in str(HIDE.value("/body/tokens/0", "s3cret"))
    assert "s3cret" not in str(HIDE.value("/headers/set-cookie/theme", "s3cret"))
    assert "s3cret" not in str(HIDE.value("/body/card/number/0", "s3cret"))
    assert "s3cret" not in str(HIDE.value("/body/accounts/iban", "s3cret"))
    assert HIDE.value("/body/card/brand", "visa") == "visa"


def test_nested_values_are_hidden_by_name_shape_and_rule() -> None:
    """Mappings and lists are walked; keys that are private themselves are hidden too."""
    value = {
        "user": {"apiKey": "s3cret", "mail": "a@example.com", "age": 7},
        "b@example.com": [{"pin": 1234}],
    }
    shown = str(HIDE.value("/body", value))
    for private in ("s3cret", "example.com", "1234"):
        assert private not in shown
    assert "'age': 7" in shown


def test_absence_stays_visible() -> None:
    """A side that is missing is None, also where a name hides values."""
    assert HIDE.value("/body/password", None) is None


def test_a_card_number_may_be_a_number() -> None:
    """JSON knows integers."""
    assert "4111" not in str(HIDE.value("/body/n", 4111111111111111))
    assert HIDE.value("/body/n", 4111111111111112) == 4111111111111112
    assert HIDE.value("/body/n", True) is True


@pytest.mark.parametrize(
    ("path", "query", "private"),
    [
        ("/u/bob@example.com", "", "bob"),
        ("/u/bob%40example.com", "", "bob"),
        ("/", "mail=bob%40example.com", "bob"),
        ("/", "q=1&access_token=s3cret", "s3cret"),
        ("/f.pdf", "X-Amz-Expires=60&X-Amz-Signature=0dd5ec", "0dd5ec"),
        ("/f.pdf", "se=2026-01-01&sig=q%2Bz", "q%2Bz"),
        ("/", "%61ccess_token=s3cret", "s3cret"),
        ("/", "accessToken=s3cret&x=2", "s3cret"),
        ("/", "c=4111+1111+1111+1111", "4111+1111+1111"),
        ("/c/4111%201111%201111%201111", "", "4111"),
        ("/", JWT, JWT),
    ],
)
def test_targets_show_no_private_part(path: str, query: str, private: str) -> None:
    """Encoded or not, in path, parameter name and value."""
    assert private not in HIDE.target(path, query)


def test_an_ordinary_target_is_shown_as_it_came() -> None:
    """Percent signs included."""
    assert HIDE.target("/a%20b/%2E", "q=%C3%A4&x=1&&y") == "/a%20b/%2E?q=%C3%A4&x=1&&y"


def test_paths_that_name_somebody_are_grouped() -> None:
    """Counted without a hash: evidence is the same over restarts."""
    assert HIDE.path("/body/users/bob@example.com/plan") == "/body/users/{key}/plan"
    assert HIDE.path("/body/cards/4111-1111-1111-1111") == "/body/cards/{key}"
    assert HIDE.path("/body/items/*/price") == "/body/items/*/price"


def test_half_a_word_before_a_cut_is_not_shown() -> None:
    """Half a card number or mail address is not recognised, so it is left out."""
    assert HIDE.text("card 4111 1111 11…") == "card …"
    assert HIDE.text("mail bob@exam…") == "mail …"
    assert JWT[:20] not in HIDE.text(JWT[:30] + "…")


def test_nothing_is_looked_for_when_detectors_are_off() -> None:
    """Rules and names still hide."""
    plain = Redaction(key=KEY, detectors=())
    assert plain.text("a@example.com…") == "a@example.com…"
    assert "x" not in str(plain.value("/body/password", "xxx"))


@given(st.text(max_size=300))
def test_any_text_is_taken(text: str) -> None:
    """Hiding never fails and hides the same again."""
    shown = HIDE.text(text)
    assert shown == HIDE.text(text)
    HIDE.target(text, text)
    HIDE.path(text)


@given(st.integers(0, 10**18), st.sampled_from("3456"))
def test_every_valid_card_number_is_hidden(number: int, first: str) -> None:
    """Whatever its digits, in groups or not."""
    stem = first + str(number)[:14].rjust(14, "0")
    card = next(stem + digit for digit in string.digits if luhn(stem + digit))
    assert card not in HIDE.text(f"n {card} m")
    grouped = " ".join(card[i : i + 4] for i in range(0, 16, 4))
    assert grouped not in HIDE.text(f"n {grouped} m")


def test_long_texts_take_no_long_time() -> None:
    """No pattern looks back over the whole text at every place: 200 kB of each awkward kind pass quickly."""
    dice = random.Random(1)
    for alphabet in ("a", "1", "1 ", "eyJ.", "a.@", "password=", "-_", '"', "x…"):
        text = "".join(dice.choice(alphabet) for _ in range(200_000 // len(alphabet)))
        HIDE.text(text)


SECRETS = [
    "sk_live_abcdefghijklmnop1234",
    "pk-abcdefghijklmnopqrst",
    "ghp_abcdefghijklmnopqrst",
    "github_pat_abcdefghijklmnopq",
    "glpat-abcdefghijklmnopqrst",
    "npm_abcdefghijklmnopqrst",
    "whsec_abcdefghijklmnopqrst",
    "xoxb-1234567890ab",
    "AKIAABCDEFGHIJKLMNOP",
    "ASIAABCDEFGHIJKLMNOP",
    "AIzaabcdefghijklmnopqrstuvwxyz",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi",
    "4111111111111111",
    "4111-1111-1111-1111",
    "4111 1111 1111 1111",
    "jo@example.org",
    "token=abc",
    "sid:1",
    "Bearer abcdefgh1234",
    "half of a wor…",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "/a/{}", "/a/{}/b", "x.{}"])
def test_no_secret_is_plain(secret: str, around: str) -> None:
    """So that a text that is need not be looked at."""
    assert not is_plain(around.format(secret))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/orders/123",
        "/api/v1/customers/8f14e45f-ceea-467f-a0e6-1b1d4b1c2d3e/orders/42",
        "8f14e45fceea467fa0e61b1d4b1c2d3e",
        "/Tasks-list/Some_Name.html",
    ],
)
def test_what_is_usual_is_plain(text: str) -> None:
    """Most paths and ids."""
    assert is_plain(text)


@given(
    st.lists(
        st.one_of(
            st.sampled_from([*SECRETS, "/", "-", "_", "sk", "12345", "a", "%40", " "]), st.text(max_size=5)
        )
    ).map("".join)
)
def test_plain_texts_hold_nothing(text: str) -> None:
    """Whatever they are made of, nor once they are decoded."""
    if is_plain(text):
        assert HIDE.text(text) == text
        assert HIDE.target(text, "") == text


@pytest.mark.parametrize(
    "piece",
    [
        'name=""',
        'name="',
        "1 ",
        "1-",
        "12 a",
        "a.",
        "a@a.",
        "<a ",
        "<a>b",
        "password",
        "bearer ",
        "eyJ",
        "a:",
        "x\n",
    ],
)
def test_no_text_makes_hiding_slow(piece: str) -> None:
    """Services write what is redacted; 128 KiB of one piece takes linear time, cut or not."""
    redaction = Redaction(key=b"0" * 16)
    began = process_time()
    for end in ("", "x…", "\n…"):
        redaction.text(piece * (128 * 1024 // len(piece)) + end)
    assert process_time() - began < 15, "a quarter of what quadratic time took"


def test_a_cut_run_of_digits_is_hidden_from_its_beginning() -> None:
    """It may be half of a card number, in groups or not; what stands before it stays."""
    redaction = Redaction(key=b"0" * 16)
    assert redaction.text("paid with 4111 1111 11…") == "paid with …"
    assert redaction.text("paid with 4111-1111-11 …") == "paid with …"
