"""What was read of another product's flags: definitions, and everything that could not be kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from understudy.errors import Problem

FORMATS: Final = ("flagd", "unleash", "growthbook")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Flags in our format, and what their file says that they do not.

    ``problems`` say, by the place in the file, what has no equal meaning here; the flags they belong to
    are named in ``refused`` and are not in ``flags``. ``notes`` tell of lesser differences of flags that
    are there. ``moved`` names those whose percentages keep their shares but fall on other units,
    because the products hash differently. ``killed`` are flags that are switched off.
    """

    flags: Mapping[str, Any]
    evaluators: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    killed: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    refused: tuple[str, ...] = ()
    notes: tuple[Problem, ...] = ()
    moved: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Draft:
    """One flag while it is read: ``key``, whether its ``units move``, and what else is to be told of it."""

    key: str
    unit: str
    """The attribute that is the unit here: ``targetingKey``."""
    moves: bool = False
    notes: list[str] = field(default_factory=list)

    def note(self, message: str) -> None:
        """Tell *message* once."""
        if message not in self.notes:
            self.notes.append(message)
