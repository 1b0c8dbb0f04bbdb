"""One flag in the flagd definition format: what it says, and every mistake in it."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from understudy.decide.coercion import Json, joined
from understudy.decide.definition import Document, Flag, read_flag
from understudy.decide.fields import DataResolver
from understudy.decide.hashing import DEFAULT_GENERATION, GENERATIONS
from understudy.decide.logic import Compiler, Node, Resolver, closest
from understudy.decide.operators import OPERATORS
from understudy.errors import Problem

KEYS = ("state", "variants", "defaultVariant", "targeting", "metadata")
_LABELS = ("owner", "description", "tags")
_MEANT = ("safeVariant", "hashVersion")
"""Metadata is free, but a slip in these would go unnoticed until the kill switch is needed."""
STATES = ("ENABLED", "DISABLED")
ROUTING_KEYS = ("serve", "mirror", "control")


def compiler_of(flag: Flag, resolver: Resolver, document: Document) -> Compiler:
    """A fresh compiler for rules of *flag*."""
    return Compiler(
        operators=OPERATORS,
        document=document,
        resolver=resolver,
        generation=flag.generation,
        flags=(flag.key,),
    )


def compile_flag(flag: Flag, resolver: Resolver, document: Document) -> tuple[Compiler, Node]:
    """The targeting rule for *resolver*, and the compiler that knows what is wrong with it."""
    compiler = compiler_of(flag, resolver, document)
    node = compiler.compile(flag.targeting, "targeting")
    if not compiler.work.is_needed:
        return compiler, node
    begin, run = compiler.work.begin, node.run

    def begun(data: Any) -> Json:
        begin()
        return run(data)

    return compiler, Node(begun, boolean=node.boolean)


def check_flag(key: str, flag: Any, document: Document) -> list[Problem]:
    """Every mistake in one flag definition, with paths inside it: ``targeting.if[1].fractional[2]``."""
    if not isinstance(flag, Mapping):
        return [Problem(path="", message="a flag is an object", hint="with variants and defaultVariant")]
    problems = [*_check_shape(flag), *_check_variants(flag)]
    targeting = flag.get("targeting")
    if targeting is not None and not isinstance(targeting, Mapping):
        return [*problems, Problem(path="targeting", message="a rule is an object", hint="like {if: […]}")]
    parsed = read_flag(key, flag, document.metadata)
    if parsed.targeting is not None:
        compiler, _ = compile_flag(parsed, DataResolver(key), document)
        problems += compiler.problems
        if not compiler.fatal:
            problems += _unknown_results(parsed, parsed.targeting, "targeting", document.evaluators)
    return problems


def check_evaluators(document: Document) -> list[Problem]:
    """Every mistake in the shared rules (``$evaluators``), with paths ``$evaluators.NAME…``."""
    flag = read_flag("", {}, document.metadata)
    problems: list[Problem] = []
    for name, rule in document.evaluators.items():
        compiler = compiler_of(flag, DataResolver("flag"), document)
        if isinstance(rule, Mapping):
            compiler.compile(rule, f"$evaluators.{name}")
            problems += compiler.problems
        else:
            problems.append(Problem(path=f"$evaluators.{name}", message="a rule is an object"))
    return problems


def check_routing_flag(flag: Any) -> list[Problem]:
    """What keeps a flag from routing: variants that serve nothing, no default variant."""
    problems: list[Problem] = []
    variants = flag.get("variants") if isinstance(flag, Mapping) else None
    for name, variant in (variants if isinstance(variants, Mapping) else {}).items():
        problems += _check_routing_variant(f"variants.{name}", variant)
    if isinstance(flag, Mapping) and is_archived(flag):
        message, hint = "an archived flag routes nothing", "bring it back, or take it from the route"
        problems.append(Problem(path="metadata.archived", message=message, hint=hint))
    if isinstance(flag, Mapping) and flag.get("defaultVariant") is None:
        known = ", ".join(map(str, variants)) if isinstance(variants, Mapping) else ""
        message = "a flag that routes needs a default variant"
        problems.append(Problem(path="defaultVariant", message=message, hint=f"one of {known}"))
    return problems


def is_archived(flag: Mapping[str, Any]) -> bool:
    """Whether the definition *flag* says that it is kept for the record alone."""
    metadata = flag.get("metadata")
    return isinstance(metadata, Mapping) and metadata.get("archived") is True


def _check_shape(flag: Mapping[str, Any]) -> Iterator[Problem]:
    for name in flag:
        if name not in KEYS:
            yield Problem(path=str(name), message="unknown key", hint=closest(str(name), KEYS))
    state = flag.get("state", "ENABLED")
    if state not in STATES:
        yield Problem(path="state", message=f"{state!r} is not a state", hint="ENABLED or DISABLED")
    metadata = flag.get("metadata")
    yield from check_metadata(metadata, "metadata")
    if isinstance(metadata, Mapping):
        yield from _check_labels(metadata, state)


def _check_labels(metadata: Mapping[str, Any], state: Json) -> Iterator[Problem]:
    """What is kept for the record alone is off, and the names that mean something are spelled right."""
    archived = metadata.get("archived", False)
    if not isinstance(archived, bool):
        yield Problem(path="metadata.archived", message=f"{archived!r} is not true or false")
    elif archived and state != "DISABLED":
        hint = "state: DISABLED, so that providers that evaluate by themselves leave it off too"
        yield Problem(path="state", message="an archived flag is disabled", hint=hint)
    for name in metadata:
        if name not in _MEANT and str(name)[:4].lower() in ("safe", "hash"):
            meant = get_close_matches(str(name), _MEANT, n=1, cutoff=0.8)
            if meant:
                hint = f"did you mean {meant[0]}?"
                yield Problem(path=f"metadata.{name}", message="would have no effect", hint=hint)


def check_metadata(metadata: Any, path: str) -> Iterator[Problem]:
    """Metadata is flat: text, numbers, booleans; ``hashVersion`` is 1, 2 or 3; owner, description and tags
    are text."""
    if metadata is None:
        return
    if not isinstance(metadata, Mapping):
        yield Problem(path=path, message="metadata is an object")
        return
    for name, value in metadata.items():
        if name in _LABELS and not isinstance(value, str):
            hint = "one text, with commas: flagd's metadata is flat" if name == "tags" else "quote it"
            yield Problem(path=f"{path}.{name}", message=f"{name} is a text", hint=hint)
        elif not isinstance(value, str | bool | int | float):
            yield Problem(path=f"{path}.{name}", message="metadata is text, a number or a boolean")
    version = metadata.get("hashVersion", DEFAULT_GENERATION)
    if type(version) is not int or version not in GENERATIONS:
        hint = "2 is what the flagd daemon computes"
        yield Problem(path=f"{path}.hashVersion", message=f"{version!r} is not 1, 2 or 3", hint=hint)


def _check_variants(flag: Mapping[str, Any]) -> Iterator[Problem]:
    variants = flag.get("variants")
    if not isinstance(variants, Mapping) or not variants:
        yield Problem(path="variants", message="a flag has at least one variant")
        return
    for name in variants:
        if not isinstance(name, str):
            hint = "quote it: YAML reads on, off, yes, no and digits as something else"
            yield Problem(path=f"variants.{name}", message=f"the name {name!r} is not text", hint=hint)
        elif not name:
            yield Problem(path="variants", message="a variant's name is empty")
    kinds = {_kind(value) for value in variants.values()}
    if len(kinds) > 1:
        yield Problem(path="variants", message=f"values of one type, not {' and '.join(sorted(kinds))}")
    metadata = flag.get("metadata")
    safe = metadata.get("safeVariant") if isinstance(metadata, Mapping) else None
    for path, name in (("defaultVariant", flag.get("defaultVariant")), ("metadata.safeVariant", safe)):
        if name is not None and (not isinstance(name, str) or name not in variants):
            hint = closest(str(name), [word for word in variants if isinstance(word, str)])
            yield Problem(path=path, message=f"there is no variant {name!r}", hint=hint)


def _kind(value: Json) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {str: "text", dict: "object", list: "list", type(None): "null"}.get(type(value), "something else")


def _check_routing_variant(path: str, variant: Any) -> Iterator[Problem]:
    if not isinstance(variant, Mapping):
        yield Problem(path=path, message="a routing variant is an object", hint="like {serve: SERVICE}")
        return
    for name in variant:
        if name not in ROUTING_KEYS:
            yield Problem(path=f"{path}.{name}", message="unknown key", hint=closest(str(name), ROUTING_KEYS))
    serve, control = variant.get("serve"), variant.get("control")
    if not isinstance(serve, str) or not serve:
        yield Problem(path=f"{path}.serve", message="a routing variant names the service that answers")
    if control is not None and (not isinstance(control, str) or not control):
        yield Problem(path=f"{path}.control", message="control names one service")
    mirror = variant.get("mirror", [])
    if not isinstance(mirror, list) or not all(isinstance(name, str) and name for name in mirror):
        yield Problem(path=f"{path}.mirror", message="mirror is a list of services", hint="like [shop-v2]")
    elif len(set(mirror)) < len(mirror):
        yield Problem(path=f"{path}.mirror", message="a service is named twice")


def _unknown_results(flag: Flag, rule: Json, path: str, evaluators: Mapping[str, Any]) -> Iterator[Problem]:
    """Constants that the rule can answer but no variant is called."""
    if isinstance(rule, dict) and len(rule) == 1:
        operator, given = next(iter(rule.items()))
        items = given if isinstance(given, list) else [given]
        where = f"{path}.{operator}"
        if operator in ("if", "?:"):
            for index, item in enumerate(items):
                if index % 2 or index == len(items) - 1:
                    yield from _unknown_results(flag, item, f"{where}[{index}]", evaluators)
        elif operator == "fractional":
            for index, item in enumerate(items):
                if isinstance(item, list) and item:
                    yield from _unknown_results(flag, item[0], f"{where}[{index}][0]", evaluators)
    elif isinstance(rule, str | bool | int | float) and joined(rule) not in flag.variants:
        hint = closest(joined(rule), [str(name) for name in flag.variants])
        yield Problem(path=path, message=f"there is no variant {joined(rule)!r}", hint=hint)
