"""The kill file: what its lines say, what is wrong with it, and that nothing wrong revives anybody."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.config import KillFile, Kills, Rules, parse_rules
from understudy.config.kill_file import (
    MOST_BYTES,
    add_lines,
    is_line,
    read_kills,
    replace_file,
    told,
    without_lines,
)


def kills(*flags: str, every: bool = False) -> Kills:
    return Kills(flags=frozenset(flags), is_every=every)


def rules(**more: Any) -> Rules:
    """``shop`` and ``search`` route, ``banner`` does not."""
    routing = {
        "variants": {"stable": {"serve": "v1"}, "canary": {"serve": "v2"}},
        "defaultVariant": "canary",
        "metadata": {"safeVariant": "stable"},
    }
    banner = {"variants": {"on": True, "off": False}, "defaultVariant": "on"}
    document = {
        "flags": {"shop": routing, "search": routing, "banner": banner},
        "routes": [
            {"path": "/search", "flag": "search"},
            {"path": "/health", "serve": "v1"},
            {"path": "/", "flag": "shop"},
        ],
        **more,
    }
    return parse_rules(document, services={"v1", "v2"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", kills()),
        (b"\n\n  \n", kills()),
        (b"# nothing yet\n", kills()),
        (b"shop", kills("shop")),
        (b"shop\nsearch\n", kills("shop", "search")),
        (b"\xef\xbb\xbfshop\r\nsearch\r\n", kills("shop", "search")),
        (b"  shop  \n# why\nshop\n", kills("shop")),
        (b"*\n", kills(every=True)),
        (b"*\nshop\n", kills("shop", every=True)),
        ("prüfung\n".encode(), kills("prüfung")),
    ],
)
def test_each_line_is_a_flag(content: bytes, said: Kills) -> None:
    """Blank lines, comments, spaces around, a BOM and the line ends of Windows say nothing."""
    assert read_kills(content) == (said, [])


@pytest.mark.parametrize(
    ("content", "said", "where"),
    [
        (b"shop\n\xff\xfe\n", kills("shop"), "line 2"),
        (b"\0\0\0\nshop\n", kills("shop"), "line 1"),
        (b"a\tb\nshop", kills("shop"), "line 1"),
        (b"shop\n" + b"x" * MOST_BYTES, kills("shop", "x" * (MOST_BYTES - 5)), ""),
    ],
)
def test_what_cannot_be_understood_is_told_with_its_line(content: bytes, said: Kills, where: str) -> None:
    """The lines beside it count all the same."""
    found, problems = read_kills(content)
    assert (found, [problem.path for problem in problems]) == (said, [where])


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_are_read(content: bytes) -> None:
    """Whatever is read can be written down and read again."""
    found, _ = read_kills(content)
    assert read_kills(found.text().encode()) == (found, [])


@settings(max_examples=50)
@given(st.text(max_size=20))
def test_a_key_that_may_stand_in_a_line_is_read_from_it(key: str) -> None:
    """Else it is refused before it is written."""
    if is_line(key) and key != "*":
        assert read_kills(f"{key}\n".encode()) == (kills(key), [])


def test_every_is_each_flag_that_a_route_names() -> None:
    """A flag that routes nothing is killed by its own name alone."""
    assert kills(every=True).among(rules()) == {"shop", "search"}
    assert kills("banner", "gone").among(rules()) == {"banner"}
    assert kills("banner", "gone").unknown(rules()) == ["gone"]


def test_kills_are_laid_over_rules_and_their_document() -> None:
    """Beside what the rules kill; rules that say so already are the same object."""
    plain = rules(killed=["banner"])
    laid = kills("shop").laid_over(plain)
    assert laid.killed == ("banner", "shop")
    assert laid.document == {**plain.document, "killed": ["banner", "shop"]}
    assert kills("banner").laid_over(plain) is plain
    assert plain.killed == ("banner",)


def test_the_words_say_what_is_killed_where() -> None:
    """And what was probably a slip."""
    place = [Path("/etc/understudy.kill")]
    assert list(told(kills("shop", "shpo"), rules(), place)) == [
        "shop killed on this host by /etc/understudy.kill",
        "/etc/understudy.kill names what is no flag: shpo",
    ]
    assert list(told(kills(every=True), Rules(), place)) == [
        "/etc/understudy.kill kills every flag that a route names; none does"
    ]
    assert list(told(Kills(), rules(), place)) == []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "understudy.kill"


def test_a_file_kills_while_it_is_there(path: Path) -> None:
    """Made, changed and removed; a look that finds nothing new says so."""
    file = KillFile([path])
    assert (file.look(), file.kills) == (False, Kills())
    path.write_text("shop\n")
    assert (file.look(), file.kills, file.saying) == (True, kills("shop"), (path,))
    assert not file.look()
    path.write_text("search\n")
    assert (file.look(), file.kills) == (True, kills("search"))
    path.unlink()
    assert (file.look(), file.kills, file.saying) == (True, Kills(), ())


def test_garbage_is_told_and_revives_nobody(path: Path) -> None:
    """What can be read of it kills too; once it is mended, what it says is all that is killed."""
    path.write_text("shop\n")
    file = KillFile([path])
    file.look()
    path.write_bytes(b"\xff\nsearch\n")
    assert (file.look(), file.kills) == (True, kills("shop", "search"))
    assert file.trouble == f"{path}: line 1: is not text in UTF-8"
    path.write_text("search\n")
    assert (file.look(), file.kills, file.trouble, file.troubles) == (True, kills("search"), "", 1)


@pytest.mark.parametrize("harm", ["folder", "pipe", "link", "gone", "nowhere"])
def test_a_file_that_cannot_be_read_keeps_what_was_killed(path: Path, harm: str) -> None:
    """A folder or a pipe in its place, a link that leads nowhere, its folder moved away: told, not obeyed."""
    inside = path.parent / "inside"
    inside.mkdir()
    path = inside / "understudy.kill"
    path.write_text("shop\n")
    file = KillFile([path])
    file.look()
    path.unlink()
    if harm == "folder":
        path.mkdir()
    elif harm == "pipe":
        os.mkfifo(path)
    elif harm == "link":
        path.symlink_to(inside / "nothing")
    elif harm == "gone":
        inside.rename(inside.with_name("aside"))
    else:
        inside.rmdir()
        inside.touch()
    assert (file.look(), file.kills) == (True, kills("shop"))
    assert file.trouble.startswith(f"{path}: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_keeps_what_was_killed(path: Path) -> None:
    """As any other that cannot be read."""
    path.write_text("shop\n")
    file = KillFile([path])
    file.look()
    path.chmod(0)
    assert (file.look(), file.kills) == (True, kills("shop"))
    assert "Permission denied" in file.trouble


def test_a_folder_that_never_was_is_no_trouble(tmp_path: Path) -> None:
    """There is nothing that could have been killed."""
    file = KillFile([tmp_path / "none" / "understudy.kill"])
    assert (file.look(), file.trouble) == (False, "")


def test_a_process_that_starts_while_the_file_is_unreadable_knows_what_others_know(
    path: Path, tmp_path: Path
) -> None:
    """From the memory of the run; without trouble the file alone counts."""
    memory = tmp_path / "memory"
    path.write_text("shop\n")
    first = KillFile([path], memory=memory)
    first.look()
    path.write_bytes(b"\xff\n")
    later = KillFile([path], memory=memory)
    later.look()
    assert (later.kills, bool(later.trouble)) == (kills("shop"), True)
    path.unlink()
    fresh = KillFile([path], memory=memory)
    assert not fresh.look()
    path.write_bytes(b"\xff\n")
    last = KillFile([path], memory=memory)
    last.look()
    assert last.kills == Kills()


def test_two_files_kill_together(tmp_path: Path) -> None:
    """Trouble with one of them keeps what both killed, and does not hide what the other says."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("shop\n")
    two.write_text("*\n")
    file = KillFile([one, two])
    file.look()
    assert file.kills == kills("shop", every=True)
    one.write_bytes(b"\xff")
    two.write_text("search\n")
    file.look()
    assert file.kills == kills("shop", "search", every=True)


def test_lines_are_appended_to_whatever_is_there(path: Path) -> None:
    """Also after a last line that nobody ended."""
    add_lines(path, ["# why", "shop"])
    path.write_text(path.read_text() + "search")
    add_lines(path, ["*"])
    assert path.read_text() == "# why\nshop\nsearch\n*\n"


def test_lines_are_taken_out() -> None:
    """The rest stays as it is; comments alone are nothing worth keeping."""
    assert without_lines(b"# why\nshop\n search \n", ["search"]) == "# why\nshop\n"
    assert without_lines(b"# why\nshop\n", ["shop"]) == ""


def test_a_file_is_replaced_whole_or_not_at_all(path: Path, tmp_path: Path) -> None:
    """What could not be put in place leaves nothing behind."""
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(path, "shop\n")
    assert list(tmp_path.iterdir()) == [path]
