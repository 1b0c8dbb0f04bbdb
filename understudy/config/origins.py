"""What may be said of a service's origins: how they are trusted, watched and left alone for a while."""

import re
from dataclasses import dataclass, field

from understudy.config.address import is_host
from understudy.config.place import Place, Refused, shown
from understudy.config.setting import DURATION, FILE, SWITCH, Kind, count, listed, setting

_PATH = re.compile(r"/[!-~]{0,1023}\Z")
_CLASS = re.compile(r"[2-5]xx\Z")
_STATUS_HINT = "for example [200, 204] or [2xx]"


def _read_path(value: object, _place: Place) -> str:
    if not isinstance(value, str) or not _PATH.match(value) or "#" in value:
        inner = (
            value.lstrip("/") if isinstance(value, str) and re.fullmatch(r"[\w/.-]+", value) else "healthz"
        )
        raise Refused(f"must be a path such as /healthz, not {shown(value)}", f"did you mean /{inner}?")
    return value


def _read_status(value: object, _place: Place) -> int | str:
    if isinstance(value, str) and _CLASS.match(value.lower()):
        return value.lower()
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(f"must be a status or a class of them, not {shown(value)}", _STATUS_HINT)
    if not 200 <= value <= 599:
        raise Refused(f"must be 200 to 599, not {value}", _STATUS_HINT)
    return value


def _read_server_name(value: object, _place: Place) -> str:
    if not isinstance(value, str) or not is_host(value):
        raise Refused(f"must be a host name, not {shown(value)}", "for example shop.internal")
    return value


PATH = Kind(read=_read_path, schema={"type": "string", "pattern": "^/[^# ]*$"}, from_text=str)
SERVER_NAME = Kind(read=_read_server_name, schema={"type": "string"}, from_text=str)
STATUS = Kind(
    read=_read_status,
    schema={
        "anyOf": [
            {"type": "integer", "minimum": 200, "maximum": 599},
            {"type": "string", "pattern": "^[2-5]xx$"},
        ]
    },
    from_text=lambda text: int(text) if text.isdecimal() else text,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginTls:
    """How https:// origins are trusted. ``fingerprint`` tells when the content of a file has changed."""

    ca: str = setting(
        FILE,
        default="",
        what="Authorities that vouch for the origins, in PEM; a file beside this one unless absolute.",
        why="those that the system trusts.",
    )
    server_name: str = setting(
        SERVER_NAME,
        default="",
        what="The name that the origins' certificate must have, also sent as SNI.",
        why="the host in the origin's URL.",
    )
    verify: bool = setting(
        SWITCH,
        default=True,
        what="Whether the certificate and its name are checked at all.",
        why="true: unchecked, anyone on the way may read and answer.",
    )
    cert: str = setting(
        FILE,
        default="",
        what="Our own certificate with its chain, in PEM, for origins that ask for one.",
        why="none: most origins do not ask who calls.",
    )
    key: str = setting(
        FILE,
        default="",
        what="The private key of cert, in PEM, without a passphrase.",
        why="the file of cert, where both may stand.",
    )
    fingerprint: str = field(default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """How an origin is asked whether it is well. Each worker asks each origin by itself."""

    path: str = setting(
        PATH,
        default="/",
        what="What is asked for, with GET.",
        why="/, because every server has it; name a page that tells more.",
    )
    interval: float = setting(
        DURATION,
        default=5.0,
        what="Time between two checks of an origin, a tenth more or less, so that workers keep out of step.",
        why="5s, as NGINX Plus; HAProxy asks every 2 s.",
    )
    timeout: float = setting(
        DURATION,
        default=2.0,
        what="Longest wait for the status, connecting included; then the check has failed.",
        why="2s, as connect_timeout.",
    )
    healthy: int = setting(
        count(least=1, most=100),
        default=2,
        what="Checks in a row that must pass before an unhealthy origin is asked again.",
        why="2, as HAProxy's rise.",
    )
    unhealthy: int = setting(
        count(least=1, most=100),
        default=3,
        what="Checks in a row that must fail before an origin is left out.",
        why="3, as HAProxy's fall.",
    )
    status: tuple[int | str, ...] = setting(
        listed(STATUS, at_least_one=True),
        default=(200,),
        what="Statuses that pass: numbers, or classes such as 2xx.",
        why="200, as Envoy; a redirect to a login page is no sign of health.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ejection:
    """When real requests show that an origin is ill. Each worker judges by what it saw itself."""

    failures: int = setting(
        count(least=0, most=1000),
        default=5,
        what="Attempts in a row that must fail (no connection, no valid answer in time, 502, 503, 504) "
        "before an origin is left out for a while; 0 never does.",
        why="5, as Envoy's consecutive_5xx.",
    )
    seconds: float = setting(
        DURATION,
        default=30.0,
        what="How long; then it is tried again, and its next failure ejects it again.",
        why="30s, as Envoy's base_ejection_time.",
    )
