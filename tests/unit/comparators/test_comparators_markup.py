"""HTML and XML: `understudy.comparators.html`, `xml`, `elements`."""

import html
import time
from typing import Any

import pytest
from comparators_examples import answer, compare, forgiven, named
from hypothesis import given, settings
from hypothesis import strategies as st

HTML = "text/html; charset=utf-8"
XML = "application/xml"
PAGE = (
    "<!doctype html><html><head><title>{title}</title><meta name=csrf-token content={token}></head>"
    "<body class='{look}'><ul>{items}</ul><p>{before}<b>bold</b>{after}</p></body></html>"
)
PLAIN = {
    "title": "Shop",
    "token": "t1",
    "look": "a b",
    "items": "<li>one<li>two",
    "before": "is ",
    "after": "",
}
UL = "/body/html/body/ul/*"


def page(**changes: str) -> Any:
    return answer(PAGE.format(**(PLAIN | changes)), kind=HTML)


def xml(text: str, kind: str = XML) -> Any:
    return answer(text, kind=kind)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"title": "Shop 2"}, [("/body/html/head/title", "value")]),
        ({"look": "a"}, [("/body/html/body/@class", "value")]),
        ({"token": "t2"}, [("/body/html/head/meta.csrf-token/*/@content", "value")]),
        ({"items": "<li>one<li>2"}, [(f"{UL}/li/*", "value")]),
        ({"items": "<li>two<li>one"}, [(f"{UL}/li", "order")]),
        ({"items": "<li>one<li>two<li>three"}, [(f"{UL}/li", "length")]),
        ({"items": ""}, [(f"{UL}/li", "missing")]),
        ({"items": "<li>one<li id=x>two"}, [(f"{UL}/li/*/@id", "extra")]),
        ({"items": "<li>one<li>two<!-- cached 12:01 -->"}, []),
        ({"items": "\n  <li> one\n</li><li>two</li>\n"}, []),
        ({"items": "<li>one<li>t&#119;o"}, []),
        ({"before": "", "after": " is"}, [("/body/html/body/p/*", "order")]),
        (
            {"items": "<li>one<li>two<li>x", "title": "y"},
            [("/body/html/head/title", "value"), (f"{UL}/li", "length")],
        ),
    ],
)
def test_pages_are_compared_by_structure(changes: dict[str, str], expected: list[tuple[str, str]]) -> None:
    """Tags, attributes and text at their path; comments and line breaks mean nothing."""
    assert named(compare(page(), page(**changes))) == sorted(expected)


def test_a_script_is_text_and_json_in_it_is_looked_into() -> None:
    """Linked data by its fields; a program around the place where it differs."""
    data = '<script type="application/ld+json">{"name": "x", "price": %s}</script>'
    a, b = (answer(f"<body>{data % price}", kind=HTML) for price in (1, 2))
    (found,) = compare(a, b)
    assert found.path.endswith("/script/*/price")
    program = "<script>%slet a = '<p>' + %d;</script>"
    a, b = (answer(f"<body>{program % ('x();' * 500, n)}", kind=HTML) for n in (1, 2))
    (found,) = compare(a, b)
    assert found.path.endswith("/script/*")
    assert "let a" in str(found.primary)


@pytest.mark.parametrize("tag", ["pre", "script", "style", "textarea"])
def test_where_lines_matter_they_are_compared(tag: str) -> None:
    """A program without its line ends is another program."""
    lines = [answer(f"<{tag}>a{end}b</{tag}>", kind=HTML) for end in ("\n", " ", "\r\n")]
    assert len(named(compare(lines[0], lines[1]))) == 1
    assert compare(lines[0], lines[2]) == []


def test_fields_of_a_form_are_told_by_their_name() -> None:
    """One more field moves none of the others, and a name that tells of a secret stands in the path."""
    a = answer("<form><input name=user value=a><input name=password value=b></form>", kind=HTML)
    b = answer(
        "<form><input name=new><input name=user value=a><input name=password value=c></form>", kind=HTML
    )
    form = "/body/html/body/form/*"
    assert named(compare(a, b)) == [
        (f"{form}/input.new", "extra"),
        (f"{form}/input.password/*/@value", "value"),
    ]


def test_compare_rules_hold_in_pages() -> None:
    """ignore, unordered and key name the same paths as the report."""
    a, b = page(items="<li id=1>one<li id=2>two"), page(items="<li id=2>two<li id=1>uno")
    assert named(compare(a, b, {"ignore": ["/html/body/ul"]})) == []
    assert named(compare(a, b, {"key": {"/html/body/ul/*/li": "@id"}})) == [(f"{UL}/li/*", "value")]
    c = page(items="<li id=2>two<li id=1>one")
    found = compare(a, c, {"unordered": ["/html/body/ul/*/li"]})
    assert (named(found), forgiven(found)) == ([], [(f"{UL}/li", "order")])
    d = page(items="<li id=2>two<li id=9>one")
    assert named(compare(a, d, {"unordered": ["/html/body/ul/*/li"], "ignore": [f"{UL}/li/*/@id"]})) == []


FEED = (
    '<?xml version="1.0"?><rss xmlns:{p}="http://www.w3.org/2005/Atom"><channel><title>News</title>'
    '<{p}:link href="/feed"/><item><guid>1</guid><price c="EUR">{price}</price></item></channel></rss>'
)


@pytest.mark.parametrize(
    ("kind", "a", "b", "expected"),
    [
        (XML, "<a x='1' y='2'/>", '<a y="2"  x="1"></a>', []),
        (XML, FEED.format(p="atom", price=1), FEED.format(p="x", price=1), []),
        (
            "application/rss+xml",
            FEED.format(p="atom", price=1),
            FEED.format(p="atom", price=2),
            [("/body/rss/channel/*/item/*/price/*", "value")],
        ),
        (
            XML,
            FEED.format(p="a", price=1),
            FEED.format(p="a", price=1).replace("/feed", "/x"),
            [("/body/rss/channel/*/Atom:link/*/@href", "value")],
        ),
        (
            XML,
            FEED.format(p="a", price=1),
            FEED.format(p="a", price=1).replace("2005", "2006"),
            [("/body/rss/channel/*/Atom:link/*", "type")],
        ),
        (
            "image/svg+xml",
            "<svg><g><path d='M0'/></g></svg>",
            "<svg><g><path d='M1'/></g></svg>",
            [("/body/svg/g/*/path/*/@d", "value")],
        ),
        (XML, "<a>x<!-- c --><?p i?></a>", "<a>x</a>", []),
        (XML, "<a><![CDATA[<b>]]></a>", "<a>&lt;b&gt;</a>", []),
        (XML, "<a><b/><c/></a>", "<a><c/><b/></a>", [("/body/a", "order")]),
        (XML, "<a/>", "<b/>", [("/body/a", "missing"), ("/body/b", "extra")]),
        (XML, "<a xml:lang='de'/>", "<a xml:lang='en'/>", [("/body/a/@xml:lang", "value")]),
        (XML, "<a>", "<a/>", [("/body", "body")]),
        (XML, "<a>&nbsp;</a>", "<a/>", [("/body", "body")]),
        (XML, "nothing", "else", [("/body", "body")]),
    ],
)
def test_documents_are_compared_by_structure(
    kind: str, a: str, b: str, expected: list[tuple[str, str]]
) -> None:
    """Namespaces count, their prefixes do not; what is not well-formed is text."""
    assert named(compare(xml(a, kind), xml(b, kind))) == sorted(expected)


def test_a_charset_is_given_or_declared() -> None:
    """By Content-Type, by the declaration, by a byte order mark, or, in a page, by its meta element."""
    declared = '<?xml version="1.0" encoding="iso-8859-1"?><a>é</a>'
    others = [
        answer("<a>é</a>", kind=XML),
        answer("<a>é</a>".encode("utf-16"), kind=XML),
        answer("<a>é</a>".encode("cp1252"), kind=f"{XML}; charset=cp1252"),
    ]
    first = answer(declared.encode("latin-1"), kind=XML)
    for other in others:
        assert [d for d in compare(first, other) if d.path.startswith("/body")] == []
    pages = [
        answer("<p>é".encode("latin-1"), kind="text/html"),
        answer("<meta charset=iso-8859-5><p>é".encode("latin-1"), kind="text/html"),
        answer("<p>é".encode(), kind="text/html"),
    ]
    assert compare(pages[0], pages[2]) == []
    assert [d.shadow for d in compare(pages[0], pages[1]) if d.kind == "value"] == ["щ"]


BOMB = '<!DOCTYPE a [<!ENTITY x "{}">{}]><a>&z;</a>'.format(
    "ha" * 50,
    "".join(f'<!ENTITY {b} "{f"&{a};" * 50}">' for a, b in zip("xwvuts", "wvutsz", strict=True)),
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>',
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x"> %x;]><a/>',
        "<a>" * 5000 + "</a>" * 5000,
        "<a><b/></a>" + "\0",
        '<?xml version="1.0" encoding="no-such-charset"?><a/>',
        "<a>" + "<b/>" * 120_000 + "</a>",
        "<a " + " ".join(f"a{i}='1'" for i in range(120_000)) + "/>",
    ],
)
def test_documents_that_attack_are_text(text: str) -> None:
    """No entity is expanded or fetched; bombs, wells and floods are compared as text, and in time."""
    started = time.process_time()
    assert named(compare(xml(text), xml(text + "<!-- -->x"))) == [("/body", "body")]
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "text",
    [
        "<div>" * 5000 + "{}",
        "".join(f"<b a={i}>" for i in range(300)) + "<p>" * 300 + "{}",
        "<b/>" * 120_000 + "{}",
        "\0<p>\0{}",
        "<p {} =\"'<<>&#xFFFFFFF;&#0;&bogus",
        "<table><tr><p>{}<td></table></p></b></i>",
        "<svg><template><select><frameset>{}",
        "<" * 1000 + "{}",
        "<script>let a = '{}'",
        "<p " + " ".join(f"a{i}=x" for i in range(5000)) + " b={}>",
        "<x" + "y" * 70_000 + "><p>{}",
        "<p a='" + "y" * 700_000 + "'>{}",
        "{}" + "y" * 900_000,
    ],
)
def test_a_broken_page_hides_no_difference(text: str) -> None:
    """Whatever the parser makes of it, two pages that differ in a word differ, and it takes no time."""
    started = time.process_time()
    found = compare(answer(text.format("one"), kind=HTML), answer(text.format("two"), kind=HTML))
    assert named(found)
    assert compare(answer(text.format("one"), kind=HTML), answer(text.format("one"), kind=HTML)) == []
    assert time.process_time() - started < 10


WORDS = st.sampled_from(["one", "two", "é", "a b", "&amp;", "1 < 2"])
TREES = st.recursive(
    WORDS,
    lambda inner: st.tuples(
        st.sampled_from(["div", "ul", "section", "b"]),
        st.dictionaries(st.sampled_from(["id", "class", "data-x"]), WORDS, max_size=2),
        st.lists(inner, max_size=3),
    ),
    max_leaves=12,
)


def written(tree: Any, *, is_other: bool = False) -> str:
    """*tree* as markup; the other way it has other quotes, order of attributes, spaces and comments."""
    if isinstance(tree, str):
        return html.escape(tree)
    tag, attributes, children = tree
    quote = "'" if is_other else '"'
    pairs = sorted(attributes.items(), reverse=is_other)
    fields = "".join(f" {name}={quote}{html.escape(value)}{quote}" for name, value in pairs)
    gap = "\n  <!-- c -->" if is_other else ""
    inner = "".join(f"{gap}{written(child, is_other=is_other)}" for child in children)
    return f"<{tag}{fields}>{inner}</{tag}>"


@settings(max_examples=50)
@given(st.tuples(st.just("div"), st.just({}), st.lists(TREES, max_size=4)))
def test_the_same_elements_in_another_spelling_are_equal(tree: Any) -> None:
    """In pages and in documents; runs of text that follow one another are put apart by a tag."""
    apart = _apart(tree)
    for kind in (HTML, XML):
        a, b = (answer(written(apart, is_other=is_other), kind=kind) for is_other in (False, True))
        assert compare(a, b) == []
        more = answer(written((tree[0], {}, [*apart[2], ("i", {}, ["more"])])), kind=kind)
        assert named(compare(a, more)) != []


def _apart(tree: Any) -> Any:
    if isinstance(tree, str):
        return ("span", {}, [tree])
    return (tree[0], tree[1], [_apart(child) for child in tree[2]])


@settings(max_examples=50)
@given(st.text(alphabet="<>/a b='\"&;!-[]?x\0\n", max_size=60), st.sampled_from([HTML, XML, "image/svg+xml"]))
def test_no_markup_is_too_broken(text: str, kind: str) -> None:
    """Whatever stands there, two such bodies are compared, and a word more on a page that goes on is seen."""
    compare(answer(text, kind=kind), answer("<p>" + text, kind=kind))
    a, b = (answer(f"{text}<p>{word}</p>", kind=HTML) for word in ("one", "two"))
    inside_a_comment_or_tag = text.rfind("<") >= 0
    assert named(compare(a, b)) or inside_a_comment_or_tag


def test_words_that_move_across_an_element_are_seen() -> None:
    """The same words around the same element, but not in the same places."""
    a, b = xml("<p>Pay 10 <b>USD</b> 20</p>"), xml("<p>Pay <b>USD</b> 10 20</p>")
    assert named(compare(a, b)) == [("/body/p", "value")]
    listed = [xml(f"<l>{p}<p id='1'>x</p></l>") for p in ("<p>1 <b/>2 3</p>", "<p>1 2 <b/>3</p>")]
    assert named(compare(*listed, {"unordered": ["/l/p"], "ignore": ["/l/p/*/@x"]})) == [
        ("/body/l/p/*", "value")
    ]


@pytest.mark.parametrize("rule", [{"unordered": ["/r"]}, {"key": {"/r": "id"}}])
def test_the_order_of_tags_can_be_forgiven(rule: dict[str, Any]) -> None:
    """By the rule that the report's own path makes."""
    found = compare(xml("<r><a/><b/></r>"), xml("<r><b/><a/></r>"), rule)
    assert (named(found), forgiven(found)) == ([], [("/body/r", "order")])


def test_a_page_with_the_mark_of_its_end_is_compared_as_text() -> None:
    """Nothing can stand behind a mark that the service itself has written."""
    a, b = (answer(f"<p>x<understudy-end>{word}</understudy-end>", kind=HTML) for word in ("one", "two"))
    assert named(compare(a, b)) == [("/body", "body")]
