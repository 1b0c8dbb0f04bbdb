"""What a setting is: a dataclass field that knows how it is read, described and overridden.

One declaration feeds the reader of the file, the environment variables and the JSON Schema, so that
the three cannot drift apart.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass
from typing import Any, Final

from understudy.config.address import read_listen, read_network, read_origin
from understudy.config.environment import ENVIRONMENT_PATTERN, read_environment
from understudy.config.listener import read_listener
from understudy.config.place import Place, Refused, shown, suggestion
from understudy.config.quantity import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    duration_text,
    read_count,
    read_duration,
    read_share,
    read_size,
    read_switch,
    size_text,
)
from understudy.config.store import read_store_place

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How one kind of value is read from a document.

    ``read`` leaves problems at its place, or raises Refused for the value as a whole. ``from_text``
    turns the text of an environment variable into what the document would have said; None for kinds
    that no variable can override. ``written`` is the inverse of ``read``, for defaults in the schema.
    ``section`` is the dataclass that holds the settings below, one for each name when ``is_named``.
    """

    read: Callable[[object, Place], Any]
    schema: Schema
    from_text: Callable[[str], object] | None = None
    written: Callable[[Any], object] = lambda value: value
    section: type | None = None
    is_named: bool = False


_KIND: Final = "kind"
_KEY: Final = "key"
_WHAT: Final = "what"
_WHY: Final = "why"


def setting(
    kind: Kind,
    *,
    what: str,
    why: str = "",
    default: Any = MISSING,
    factory: Any = MISSING,
    key: str = "",
) -> Any:
    """A dataclass field read as *kind*: ``what`` it does, ``why`` its default is what it is, its *key* in
    the file when that is not the field's name.
    """
    metadata = {_KIND: kind, _WHAT: what, _WHY: why, _KEY: key}
    if factory is not MISSING:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def settings_of(section: type) -> Iterator[tuple[str, Kind, "Field[Any]"]]:
    """Key in the file, kind and field of every setting in the dataclass *section*."""
    for entry in dataclasses.fields(section):
        if _KIND in entry.metadata:
            yield entry.metadata[_KEY] or entry.name, entry.metadata[_KIND], entry


def description(entry: "Field[Any]") -> str:
    """What the setting does and why its default is what it is."""
    what, why = entry.metadata[_WHAT], entry.metadata[_WHY]
    return f"{what} Default: {why}" if why else what


def reason(entry: "Field[Any]") -> str:
    """Why the default of the setting is what it is; empty for a setting without one."""
    return str(entry.metadata[_WHY])


def default_of(entry: "Field[Any]") -> Any:
    """The default of the setting; MISSING when it must be given."""
    return entry.default_factory() if entry.default_factory is not MISSING else entry.default


def read_values(
    section: type, value: object, place: Place, *, beside: Collection[str] = ()
) -> dict[str, Any]:
    """Field name → value for every setting of *section* that *value* gives and that could be read.

    Keys *beside* the settings are known, but somebody else's to read.
    """
    given = place.mapping(value, _instead_of(section, value))
    later: Mapping[str, tuple[str, str]] = getattr(section, "LATER", {})
    kinds = {key: (kind, entry) for key, kind, entry in settings_of(section)}
    place.known_keys({key: given[key] for key in given if key not in later}, (*kinds, *beside))
    for key, (message, hint) in later.items():
        if key in given:
            place.key(key).refuse(message, hint)
    if isinstance(value, Mapping):
        _check_alternatives(section, given, place)
    values: dict[str, Any] = {}
    for key, (kind, entry) in kinds.items():
        if key not in given:
            if default_of(entry) is MISSING and isinstance(value, Mapping):
                place.key(key).refuse("is missing", entry.metadata[_WHAT])
            continue
        try:
            values[entry.name] = kind.read(given[key], place.key(key))
        except Refused as refused:
            place.key(key).refuse(refused.message, refused.hint)
    return values


def _instead_of(section: type, value: object) -> str:
    """What was probably meant by a *value* that is no mapping: the first alternative, else the keys."""
    if isinstance(value, str) and alternatives_of(section):
        return f"did you mean {{{alternatives_of(section)[0]}: {value}}}?"
    return suggestion("", (key for key, _, _ in settings_of(section)))


def alternatives_of(section: type) -> tuple[str, ...]:
    """Keys of which exactly one must be given: the section's ``ONE_OF``."""
    return tuple(getattr(section, "ONE_OF", ()))


def _check_alternatives(section: type, given: Mapping[str, object], place: Place) -> None:
    keys = alternatives_of(section)
    named = [key for key in keys if key in given]
    if keys and not named:
        hints = {key: entry.metadata[_WHAT] for key, _, entry in settings_of(section)}
        place.key(keys[0]).refuse("is missing", hints[keys[0]])
    elif len(named) > 1:
        place.key(named[1]).refuse(f"stands beside {named[0]}", "give one of them")


def section(cls: type) -> Kind:
    """A mapping read into the dataclass *cls*; None in its place when a required setting is missing."""

    def read(value: object, place: Place) -> object:
        values = read_values(cls, value, place)
        required = [entry.name for _, _, entry in settings_of(cls) if default_of(entry) is MISSING]
        return cls(**values) if all(name in values for name in required) else None

    return Kind(read=read, schema={}, section=cls)


def _scalar(read: Callable[[object], Any], schema: Schema, **more: Any) -> Kind:
    return Kind(read=lambda value, _place: read(value), schema=schema, **{"from_text": str, **more})


def _number_from(text: str) -> object:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


def count(*, least: int, most: int) -> Kind:
    """A whole number from *least* to *most*."""
    return _scalar(
        lambda value: read_count(value, least=least, most=most),
        {"type": "integer", "minimum": least, "maximum": most},
        from_text=_number_from,
    )


def size(*, least: int = 0, most: int = 2**40) -> Kind:
    """Bytes."""

    def read(value: object) -> int:
        got = read_size(value)
        if not least <= got <= most:
            raise Refused(f"must be {size_text(least)} to {size_text(most)}, not {shown(value)}")
        return got

    schema = {"anyOf": [{"type": "integer", "minimum": least}, {"type": "string", "pattern": SIZE_PATTERN}]}
    return _scalar(read, schema, written=size_text)


def listed(kind: Kind, *, one_alone: bool = False, at_least_one: bool = False) -> Kind:
    """A list of *kind* without repetitions; with *one_alone*, a single entry needs no list."""
    needs_one = one_alone or at_least_one

    def read(value: object, place: Place) -> tuple[Any, ...]:
        if one_alone and not isinstance(value, list | tuple):
            return (kind.read(value, place),)
        if needs_one and isinstance(value, list | tuple) and not value:
            raise Refused("must name at least one")
        found: list[Any] = []
        for at, entry in place.items(value):
            try:
                item = kind.read(entry, at)
            except Refused as refused:
                at.refuse(refused.message, refused.hint)
                continue
            if item in found:
                at.refuse(f"{shown(entry)} stands here twice")
                continue
            found.append(item)
        return tuple(found)

    def from_text(text: str) -> object:
        parts = [part.strip() for part in text.split(",")] if text.strip() else []
        return [kind.from_text(part) if kind.from_text else part for part in parts]

    array: dict[str, Any] = {"type": "array", "items": kind.schema, "uniqueItems": True}
    if needs_one:
        array["minItems"] = 1
    schema = {"anyOf": [kind.schema, array]} if one_alone else array
    return Kind(read=read, schema=schema, from_text=from_text, written=list)


def named(kind: Kind, *, check_name: Callable[[str, Place], None], pattern: str, needed: str = "") -> Kind:
    """A mapping of names to values of *kind*; *needed* is the complaint about an empty one."""

    def read(value: object, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, entry in place.mapping(value).items():
            check_name(name, place.key(name))
            try:
                found[name] = kind.read(entry, place.key(name))
            except Refused as refused:
                place.key(name).refuse(refused.message, refused.hint)
        if needed and isinstance(value, Mapping) and not value:
            place.refuse(needed)
        return found

    schema: dict[str, Any] = {"type": "object", "propertyNames": {"pattern": pattern}}
    if kind.section is None:
        schema["additionalProperties"] = kind.schema
    if needed:
        schema["minProperties"] = 1
    return Kind(read=read, schema=schema, section=kind.section, is_named=True)


def choice(names: Iterable[str], what: str) -> Kind:
    """One of *names*."""
    known = tuple(names)

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise Refused(f"must be a {what}, not {shown(value)}", suggestion("", known))
        if value.lower() not in known:
            raise Refused(f"unknown {what} {shown(value)}", suggestion(value, known))
        return value.lower()

    return _scalar(read, {"type": "string", "enum": list(known)})


def _read_file_name(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\x00" in value:
        raise Refused(f"must be the name of a file, not {shown(value)}")
    return value


def or_word(kind: Kind, words: Mapping[str, int]) -> Kind:
    """*kind*, or one of *words*, each with the number that stands for it."""

    def read(value: object, place: Place) -> object:
        word = words.get(value.lower()) if isinstance(value, str) else None
        return kind.read(value, place) if word is None else word

    names = {number: word for word, number in words.items()}
    return Kind(
        read=read,
        schema={"anyOf": [{"enum": list(words)}, kind.schema]},
        from_text=lambda text: (
            text if text.lower() in words or kind.from_text is None else kind.from_text(text)
        ),
        written=lambda value: names.get(value) or kind.written(value),
    )


DURATION = _scalar(
    read_duration,
    {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": DURATION_PATTERN}]},
    written=duration_text,
)
SHARE = _scalar(read_share, {"type": "number", "minimum": 0, "maximum": 1}, from_text=_number_from)
SWITCH = _scalar(
    read_switch,
    {"type": "boolean"},
    from_text=lambda text: {"true": True, "false": False}.get(text.lower(), text),
)
LISTEN = _scalar(read_listen, {"type": "string", "pattern": r"^.+:[0-9]{1,5}$"})
ORIGIN = _scalar(read_origin, {"type": "string", "pattern": r"^(https?://[^/?#@]+/?|unix:/.+)$"})
LISTENER = _scalar(read_listener, {"type": "string", "pattern": r"^(unix:.+|(https?://)?.+:[0-9]{1,5}/?)$"})
NETWORK = _scalar(read_network, {"type": "string"})
STORE = Kind(
    read=read_store_place,
    schema={
        "anyOf": [
            {
                "type": "string",
                "pattern": (
                    r"^(memory://|sqlite:///.+|postgres(ql)?://.+|rediss?(\+sentinel|\+cluster)?://.+)$"
                ),
            },
            {
                "type": "object",
                "properties": {
                    "sql": {"type": "string", "pattern": r"^(sqlite:///.+|postgres(ql)?://.+)$"},
                    "redis": {"type": "string", "pattern": r"^rediss?(\+sentinel|\+cluster)?://.+$"},
                    "file": {"type": "string", "minLength": 1},
                },
                "required": ["sql", "redis"],
                "additionalProperties": False,
            },
        ]
    },
    from_text=str,
)
ENVIRONMENT = _scalar(read_environment, {"type": "string", "pattern": ENVIRONMENT_PATTERN})
FILE = _scalar(_read_file_name, {"type": "string", "minLength": 1})
