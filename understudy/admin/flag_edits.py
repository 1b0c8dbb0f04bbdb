"""What can be done to one flag of a rules document. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from understudy.admin.edits import FLAGS, Edit, existing, merged, mistake, with_part, without_part
from understudy.admin.references import Document, part

SHOWN: Final = ("key", "killed")
"""Keys that an answer has beside the definition. Who sends them back must not mean to change them."""


def shown(document: Document, key: str) -> dict[str, Any]:
    """Flag *key*, which is there, as answers show it: ``key``, ``killed``, and its definition."""
    flag = part(document, FLAGS)[key]
    own = flag if isinstance(flag, Mapping) else {"definition": flag}
    return {"key": key, "killed": is_killed(document, key), **own}


def is_killed(document: Document, key: str) -> bool:
    """Whether the kill switch of flag *key* is on."""
    killed = document.get("killed")
    return isinstance(killed, list) and key in killed


def put_flag(key: str, given: Any) -> Edit:
    """Create flag *key*, or replace its definition. It stays killed if it is."""

    def apply(document: Document) -> Document:
        return with_part(document, FLAGS, key, _definition(document, key, given))

    return Edit(
        action="flag.put",
        target=key,
        words=f"put flag {key}",
        apply=apply,
        part=(FLAGS, key),
        replaces=True,
    )


def patch_flag(key: str, patch: Any) -> Edit:
    """Change what *patch* (RFC 7396) names of flag *key*."""

    def apply(document: Document) -> Document:
        before = existing(document, FLAGS, key)
        named = _definition(document, key, patch) if isinstance(patch, Mapping) else patch
        return with_part(document, FLAGS, key, merged(before, named))

    return Edit(action="flag.patch", target=key, words=f"patch flag {key}", apply=apply, part=(FLAGS, key))


def delete_flag(key: str) -> Edit:
    """Take flag *key* out, with its kill switch."""

    def apply(document: Document) -> Document:
        existing(document, FLAGS, key)
        return _with_switch(without_part(document, FLAGS, key), key, is_on=False)

    return Edit(
        action="flag.delete",
        target=key,
        words=f"delete flag {key}",
        apply=apply,
        part=(FLAGS, key),
        gone=frozenset({(FLAGS, key)}),
    )


def restore_flag(key: str, version: int, past: Document) -> Edit:
    """Flag *key* as it was in *past*, the document of *version*. It stays killed if it is."""

    def apply(document: Document) -> Document:
        found = part(past, FLAGS)
        if key not in found:
            hint = "DELETE the flag if it shall be gone"
            raise mistake("version", f"version {version} has no flag {key!r}", hint)
        return with_part(document, FLAGS, key, found[key])

    return Edit(
        action="flag.restore",
        target=key,
        words=f"restore flag {key} of version {version}",
        apply=apply,
        part=(FLAGS, key),
    )


def switch_flag(key: str, *, is_on: bool) -> Edit:
    """Kill flag *key*, or revive it."""

    def apply(document: Document) -> Document:
        existing(document, FLAGS, key)
        return _with_switch(document, key, is_on=is_on)

    word = "kill" if is_on else "revive"
    return Edit(action=f"flag.{word}", target=key, words=f"{word} {key}", apply=apply, part=(FLAGS, key))


def weigh_flag(key: str, weights: Any) -> Edit:
    """Change the weights of the one ``fractional`` of flag *key*.

    Entries stay in their order, so that a variant which grows at the cost of the stable one only gains
    units; a new variant is put beside the stable one (the default variant).
    """
    words = f"weights of {key}"
    if isinstance(weights, Mapping):
        words += ": " + ", ".join(f"{name} {weight}" for name, weight in list(weights.items())[:20])

    def apply(document: Document) -> Document:
        flag = existing(document, FLAGS, key)
        return with_part(document, FLAGS, key, _weighed(key, flag, _read_weights(weights)))

    return Edit(action="flag.weights", target=key, words=words, apply=apply, part=(FLAGS, key))


def _definition(document: Document, key: str, given: Any) -> Any:
    """*given* without what answers add. Raises: Refusal 422 when these say something else than is so."""
    if not isinstance(given, Mapping):
        raise mistake("", "a flag is an object with state, variants, defaultVariant, targeting, metadata")
    if given.get("key", key) != key:
        raise mistake("key", "is another one than the path's", "PUT the flag at a path of its own")
    switch = is_killed(document, key)
    if given.get("killed", switch) is not switch:
        raise mistake("killed", "cannot be written", "POST …/kill or …/revive")
    return {name: value for name, value in given.items() if name not in SHOWN}


def _with_switch(document: Document, key: str, *, is_on: bool) -> Document:
    given = document.get("killed")
    killed = {name for name in given if isinstance(name, str)} if isinstance(given, list) else set()
    return {**document, "killed": sorted(killed | {key} if is_on else killed - {key})}


def _read_weights(given: Any) -> Mapping[str, int]:
    if not isinstance(given, Mapping) or not given:
        raise mistake("weights", 'must name variants and their weights, like {"canary": 5, "stable": 95}')
    for name, weight in given.items():
        if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight < 2**31:
            raise mistake(f"weights.{name}", "must be a whole number from 0", "multiply all until they are")
    if not any(given.values()):
        raise mistake("weights", "add up to 0, so that nobody would get anything")
    return given


def _weighed(key: str, flag: Any, weights: Mapping[str, int]) -> dict[str, Any]:
    targeting = flag.get("targeting") if isinstance(flag, Mapping) else None
    found = dict(_fractionals(targeting, f"flags.{key}.targeting"))
    if len(found) != 1:
        hint = "PATCH targeting instead" + (f": there are {', '.join(found)}" if found else "")
        how_many = f"has {len(found)}" if found else "has none of its own"
        raise mistake(f"flags.{key}.targeting", f"must have one fractional, and {how_many}", hint)
    ((path, arguments),) = found.items()
    entries = _new_entries(path, arguments, weights, stable=flag.get("defaultVariant"))
    return {**flag, "targeting": _replaced(targeting, arguments, entries)}


def _fractionals(rule: Any, path: str) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(rule, list):
        for index, item in enumerate(rule):
            yield from _fractionals(item, f"{path}[{index}]")
    elif isinstance(rule, Mapping):
        for name, value in rule.items():
            if name == "fractional" and isinstance(value, list):
                yield f"{path}.fractional", value
            yield from _fractionals(value, f"{path}.{name}")


def _new_entries(path: str, arguments: list[Any], weights: Mapping[str, int], *, stable: Any) -> list[Any]:
    start = next((at for at, item in enumerate(arguments) if isinstance(item, list)), len(arguments))
    names = [_name(f"{path}[{start + at}]", entry) for at, entry in enumerate(arguments[start:])]
    for name in names:
        if names.count(name) > 1:
            raise mistake(path, f"{name} stands there twice", "PATCH targeting instead")
        if name not in weights:
            raise mistake(f"weights.{name}", "is missing", "0 takes it out of the draw")
    new = [name for name in weights if name not in names]
    at = _place_of_new(names, stable)
    order = [*names[:at], *new, *names[at:]]
    return [*arguments[:start], *([name, weights[name]] for name in order)]


def _place_of_new(names: list[str], stable: Any) -> int:
    """Where new entries go: beside the stable one, so that the others keep their units."""
    if stable not in names:
        return len(names)
    at = names.index(stable)
    return at if at else min(1, len(names))


def _name(path: str, entry: Any) -> str:
    if not isinstance(entry, list) or len(entry) not in (1, 2) or not isinstance(entry[0], str):
        raise mistake(path, "is no variant with a weight", "PATCH targeting instead")
    if len(entry) == 2 and isinstance(entry[1], Mapping):
        raise mistake(path, "computes its weight", "PATCH targeting instead")
    return entry[0]


def _replaced(rule: Any, old: list[Any], new: list[Any]) -> Any:
    """*rule* with *new* in the place of *old*, the very list."""
    if rule is old:
        return new
    if isinstance(rule, list):
        return [_replaced(item, old, new) for item in rule]
    if isinstance(rule, Mapping):
        return {name: _replaced(value, old, new) for name, value in rule.items()}
    return rule
