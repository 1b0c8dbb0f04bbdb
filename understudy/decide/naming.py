"""Comparisons with a name that never comes: of another flag's variant, of a layer's share."""

from collections.abc import Collection

from understudy.decide.coercion import Json
from understudy.decide.logic import Arguments, Compiler, closest


def check_names(compiler: Compiler, arguments: Arguments) -> None:
    """Note a text among two *arguments* that the other one cannot be: such a comparison decides nothing."""
    if len(arguments.items) != 2:
        return
    for place, other in ((0, 1), (1, 0)):
        name, whole = arguments.items[place], arguments.items[other]
        if not isinstance(name, str) or not isinstance(whole, dict) or len(whole) != 1:
            continue
        what, known = _names(compiler, whole)
        if known and name not in known:
            compiler.problem(arguments.paths[place], f"{what} is never {name!r}", closest(name, list(known)))


def _names(compiler: Compiler, rule: dict[str, Json]) -> tuple[str, Collection[str]]:
    """What *rule* is, to read, and all that it can be; nothing when that is not written down."""
    operator, given = next(iter(rule.items()))
    key = given[0] if isinstance(given, list) and len(given) == 1 else given
    if not isinstance(key, str):
        return "", ()
    if operator == "flag":
        flag = compiler.document.flag(key)
        return f"flag {key!r}", () if flag is None else [str(name) for name in flag.variants]
    if operator == "$ref":
        return f"evaluator {key!r}", _shares(compiler.evaluators.get(key))
    return "", ()


def _shares(rule: Json) -> Collection[str]:
    """The names that a layer gives; none when it computes one."""
    entries = rule.get("fractional") if isinstance(rule, dict) and len(rule) == 1 else None
    if not isinstance(entries, list):
        return ()
    names = [entry[0] for entry in entries if isinstance(entry, list) and entry]
    return names if all(isinstance(name, str) for name in names) else ()
