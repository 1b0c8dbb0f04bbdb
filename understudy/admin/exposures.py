"""Exposures over HTTP: applications tell who met which variant; people ask how flags are used."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import Response

from understudy.access import Role
from understudy.admin.control import ControlPlane
from understudy.admin.decider import in_force
from understudy.admin.definition import flag_set
from understudy.admin.payload import JSON, parse_body, read_body
from understudy.admin.refusal import Refusal
from understudy.admin.request import author, caller_of, json_answer, origin, role_of, within
from understudy.config import Rules
from understudy.store import FlagUsage

MOST_EXPOSURES: Final = 1000
MOST_BYTES: Final = 1024 * 1024
_MOST_BATCH_CHARACTERS: Final = 128
_MOST_UNIT_CHARACTERS: Final = 512
MOST_EVALUATIONS: Final = 1_000_000_000
"""In one row: more than anybody counts in an hour."""
_KEYS: Final = ("flag", "variant", "unit", "at", "evaluations")
_EXAMPLE: Final = (
    '{"exposures": [{"flag": "shop", "variant": "canary", "unit": "ann"}], "batch": "a new name"}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """*unit*, as it is (empty: none), met *variant* of *flag* at Unix time *at* (0: now).

    ``evaluations`` are counted for it: 0 for a unit whose evaluations were told without it.
    """

    flag: str
    variant: str
    unit: str = ""
    at: float = 0.0
    evaluations: int = 1


class ExposurePlane(Protocol):
    """What the admin server asks of who keeps exposures."""

    @property
    def share(self) -> float:
        """Of units whose exposures are kept."""

    @property
    def retention_seconds(self) -> float:
        """How long exposures are kept."""

    def see(self, flag: str, variant: str, unit: str) -> None:
        """*unit* was told that *flag* has *variant* for it. Never waits, never raises."""

    async def add(self, met: Sequence[Met], *, batch: str) -> bool:
        """Store what a client tells; False when *batch* was stored before. Raises: StoreError."""

    async def usage(self, *, flag: str | None) -> list[FlagUsage]:
        """What was met, of *flag* or of all. Raises: StoreError."""

    async def forget(self, *, unit: str, author: str = "", origin: str = "") -> int:
        """Forget what *unit* (its text) met; of how many variants. Raises: StoreError."""


class ExposureEndpoints:
    """``/api/v1/exposures`` and ``/api/v1/usage``. Without a *plane* nothing is kept: 503."""

    def __init__(self, control: ControlPlane, plane: ExposurePlane | None) -> None:
        self._control = control
        self._plane = plane

    async def exposures(self, request: Request) -> Response:
        """POST who met which variant: ``{"exposures": [{"flag", "variant", "unit", "at"}], "batch"}``.

        A row may have ``evaluations``, how many it stands for: 1 if it does not say, more only by operators.
        A ``batch`` that was sent before counts once. What names no variant of the rules in force is not kept,
        and counted as ``unknown``. DELETE ``?unit=`` forgets what one unit met; the counts stay.
        """
        plane = self._kept()
        if request.method == "DELETE":
            unit = _unit(request)
            forgetting = plane.forget(unit=unit, author=author(request), origin=origin(request))
            return json_answer({"deleted": await within(forgetting)})
        body = await read_body(request, most_bytes=MOST_BYTES)
        given, batch = _read(await parse_body(request, body, kinds=(JSON,)))
        if any(met.evaluations > 1 for met in given) and not role_of(request).may(Role.OPERATOR):
            raise Refusal(403, "an exposure that stands for several evaluations is an operator's to tell")
        rules, caller = in_force(self._control).rules, caller_of(request)
        known = [met for met in given if _is_known(rules, met, only=caller.flag_set)]
        # A name that another caller has chosen, too, is another batch.
        name = hashlib.sha256(f"{caller.selector or caller.name}\0{batch}".encode()).hexdigest()
        is_new = await within(plane.add(known, batch=name))
        told = {"accepted": len(known) if is_new else 0, "unknown": len(given) - len(known)}
        return json_answer({**told, "repeated": not is_new})

    async def usage(self, request: Request) -> Response:
        """GET how flags are used: evaluations, units and when last, by variant; ``?flag=`` of one.

        ``units`` is estimated from the share of units that are kept (``sample``); null when none are.
        """
        plane, wanted = self._kept(), request.query_params.get("flag")
        found = {row.flag: row for row in await within(plane.usage(flag=wanted))}
        flags = in_force(self._control).rules.flags
        if wanted is not None and wanted not in found and wanted not in flags:
            raise Refusal(404, f"there is no flag {wanted!r}, and none of this name was used")
        names = sorted({*found, *flags}) if wanted is None else [wanted]
        nothing = FlagUsage(flag="", units=0, variants=())
        told = [_told(name, found.get(name, nothing), plane.share) for name in names]
        return json_answer(
            {"sample": plane.share, "retention_seconds": plane.retention_seconds, "flags": told}
        )

    def _kept(self) -> ExposurePlane:
        if self._plane is None:
            raise Refusal(503, "this process keeps no exposures")
        return self._plane


def _told(flag: str, usage: FlagUsage, share: float) -> dict[str, Any]:
    variants = [
        {
            "variant": row.variant,
            "evaluations": row.evaluations,
            "units": _units(row.units, share),
            "units_kept": row.units,
            "last_seen": row.last_at or None,
        }
        for row in usage.variants
    ]
    return {
        "flag": flag,
        "evaluations": sum(row.evaluations for row in usage.variants),
        "units": _units(usage.units, share),
        "units_kept": usage.units,
        "last_seen": max((row.last_at for row in usage.variants), default=0.0) or None,
        "variants": variants,
    }


def _units(kept: int, share: float) -> int | None:
    return round(kept / share) if share > 0 else None


def _is_known(rules: Rules, met: Met, *, only: str) -> bool:
    flag = rules.flags.get(met.flag)
    is_variant = flag is not None and met.variant in flag.get("variants", {})
    return is_variant and (not only or flag_set(rules, met.flag) == only)


def _unit(request: Request) -> str:
    given = request.query_params
    if set(given) == {"unit"} and len(given.multi_items()) == 1 and given["unit"]:
        return given["unit"]
    raise Refusal(400, "whose exposures? ?unit=TEXT deletes those of one unit")


def _read(given: object) -> tuple[list[Met], str]:
    """Exposures and the name of the batch. Raises: Refusal 422 with every mistake."""
    errors: list[dict[str, str]] = []
    if not isinstance(given, Mapping) or not isinstance(given.get("exposures"), list):
        raise _refused([_error("exposures", "must be a list", _EXAMPLE)])
    known = ("exposures", "batch")
    errors += [_error(str(key), "unknown key", " or ".join(known)) for key in given if key not in known]
    batch = given.get("batch")
    if not isinstance(batch, str) or not 0 < len(batch) <= _MOST_BATCH_CHARACTERS:
        message = (
            f"must be text, of {_MOST_BATCH_CHARACTERS} characters at most: the same when it is sent again"
        )
        errors.append(_error("batch", message, "a UUID, for example"))
    rows = given["exposures"]
    if len(rows) > MOST_EXPOSURES:
        errors.append(_error("exposures", f"are {len(rows):,}, more than {MOST_EXPOSURES:,}", "send several"))
        rows = []
    met: list[Met] = []
    for number, row in enumerate(rows):
        mistakes = list(_mistakes(row))
        errors += [_error(f"exposures[{number}]{place}", message) for place, message in mistakes]
        if not mistakes:
            met.append(_met(row))
    if errors:
        raise _refused(errors)
    return met, str(batch)


def _mistakes(row: object) -> list[tuple[str, str]]:
    if not isinstance(row, Mapping):
        return [("", f"must be an object with {', '.join(_KEYS)}")]
    found = [(f".{key}", "unknown key") for key in row if key not in _KEYS]
    for key in ("flag", "variant"):
        if not isinstance(row.get(key), str) or not row[key]:
            found += [(f".{key}", "must be text")]
    unit, at = row.get("unit"), row.get("at")
    if unit is not None and (not isinstance(unit, str) or len(unit) > _MOST_UNIT_CHARACTERS):
        found.append((".unit", f"must be text, of {_MOST_UNIT_CHARACTERS} characters at most"))
    is_number = isinstance(at, int | float) and not isinstance(at, bool)
    if at is not None and not (is_number and math.isfinite(at) and at >= 0):
        found.append((".at", "must be seconds since 1970"))
    evaluations = row.get("evaluations", 1)
    if type(evaluations) is not int or not 0 <= evaluations <= MOST_EVALUATIONS:
        found.append((".evaluations", f"must be a whole number from 0 to {MOST_EVALUATIONS:,}"))
    return found


def _met(row: Mapping[str, Any]) -> Met:
    return Met(
        flag=row["flag"],
        variant=row["variant"],
        unit=row.get("unit") or "",
        at=float(row.get("at") or 0.0),
        evaluations=row.get("evaluations", 1),
    )


def _error(path: str, message: str, hint: str = "") -> dict[str, str]:
    return {"path": path, "message": message, "hint": hint}


def _refused(errors: list[dict[str, str]]) -> Refusal:
    told = "; ".join(f"{error['path']} {error['message']}" for error in errors[:5])
    return Refusal(422, f"nothing was kept: {told}", errors=errors)
