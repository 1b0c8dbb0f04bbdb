"""The settings: what a process of Understudy is told once, at its start.

Every default names its reason or the proxy it follows. Times are seconds, sizes bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from understudy.config.address import read_page_origin, read_sync
from understudy.config.endpoints import EndpointSettings
from understudy.config.environment import DEFAULT_ENVIRONMENT
from understudy.config.exposures import ExposureSettings
from understudy.config.issuer import IssuerSettings
from understudy.config.names import (
    FIELD_NAME_PATTERN,
    NAME_PATTERN,
    check_name,
    read_credential,
    read_field_name,
    read_request_id,
    read_set_headers,
)
from understudy.config.origins import Ejection, HealthCheck, OriginTls
from understudy.config.place import Place, Refused, shown
from understudy.config.rules import Rules
from understudy.config.setting import (
    DURATION,
    ENVIRONMENT,
    FILE,
    LISTEN,
    LISTENER,
    NETWORK,
    ORIGIN,
    SHARE,
    STORE,
    SWITCH,
    Kind,
    choice,
    count,
    listed,
    named,
    or_word,
    section,
    setting,
    size,
)
from understudy.config.store import StorePlace

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

BALANCES = ("round_robin", "least_connections")
DETECTORS = ("token", "card", "email")
AUTO = -1
"""A bound that is worked out at the start from what the machine allows."""
FORWARDED_FORMS = ("x-forwarded", "rfc7239", "both")
REDACTED_HEADERS = ("authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key")


def _read_log(value: object, _place: Place) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise Refused(f"must be the name of a file, not {shown(value)}", "for example access.log, - or off")
    return "" if value.lower() == "off" else value


def _read_kill_file(value: object, _place: Place) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise Refused(
            f"must be the name of a file, not {shown(value)}", "for example understudy.kill, or off"
        )
    return "" if value.lower() == "off" else value


def _read_pointer(value: object, _place: Place) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        inner = value.removeprefix("$").removeprefix(".") if isinstance(value, str) else ""
        meant = f"did you mean /body/{inner.removeprefix('body.').replace('.', '/')}?" if inner else ""
        raise Refused(f"must be a path such as /body/card/number, not {shown(value)}", meant)
    return value


_FIELD_NAME = Kind(
    read=lambda value, _place: read_field_name(value),
    schema={"type": "string", "pattern": FIELD_NAME_PATTERN},
    from_text=str,
)
_CREDENTIAL = Kind(
    read=lambda value, _place: read_credential(value), schema={"type": "string"}, from_text=str
)
_REQUEST_ID = Kind(
    read=lambda value, _place: read_request_id(value),
    schema={"type": "string", "pattern": FIELD_NAME_PATTERN},
    from_text=str,
    written=lambda name: name or "off",
)
_LOG = Kind(
    read=_read_log,
    schema={"type": "string", "minLength": 1},
    from_text=str,
    written=lambda path: path or "off",
)
_KILL_FILE = Kind(
    read=_read_kill_file,
    schema={"type": "string", "minLength": 1},
    from_text=str,
    written=lambda path: path or "off",
)
_PAGES = Kind(
    read=lambda value, _place: read_page_origin(value),
    schema={"type": "string", "pattern": r"^(\*|https?://[^/?#]+)$"},
    from_text=str,
)
_SYNC = Kind(
    read=lambda value, _place: read_sync(value),
    schema={"type": "string", "pattern": r"^(off|.+:[0-9]{1,5})$"},
    from_text=str,
    written=lambda address: address or "off",
)
_POINTER = Kind(read=_read_pointer, schema={"type": "string", "pattern": "^/"}, from_text=str)
_SET_HEADERS = Kind(
    read=read_set_headers,
    schema={
        "type": "object",
        "propertyNames": {"pattern": FIELD_NAME_PATTERN},
        "additionalProperties": {"type": "string"},
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings:
    """The control process's own listener: API, metrics, report."""

    LATER: ClassVar = {
        "tls": ("TLS on the admin listener is not in this version", "keep it on loopback"),
        "tokens": ("API tokens are kept in the store", "`understudy token create NAME --role admin`"),
    }

    listen: str = setting(
        LISTEN,
        default="127.0.0.1:9090",
        what="Address of the admin API. Loopback only, until it has TLS.",
        why="only this machine, because a token must not travel in the clear.",
    )
    issuer: IssuerSettings | None = setting(  # noqa: RUF009 - setting() is dataclasses.field()
        section(IssuerSettings),
        default=None,
        what="Whose JSON Web Tokens are believed, beside API tokens. With it the API is never open.",
    )
    origins: tuple[str, ...] = setting(
        listed(_PAGES),
        default=(),
        what=(
            "Origins whose pages may evaluate flags from a browser (CORS on /ofrep/ alone), such as"
            " https://app.example.com; * is every page."
        ),
        why="none, because any page that a user of this machine visits could read the flags otherwise.",
    )
    sync: str = setting(
        _SYNC,
        default="",
        what=(
            "Address of flagd's gRPC sync, for providers that evaluate in their own process: they look at"
            " 127.0.0.1:8015. Needs the extra flagd. Loopback only, until it has tokens."
        ),
        why="off, because OFREP serves every SDK without it.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A named upstream."""

    ONE_OF: ClassVar = ("url", "origins")

    url: str = setting(
        ORIGIN,
        default="",
        what="The origin: http://host:port or https://host:port, nothing behind it; or unix:/path/of.sock.",
    )
    origins: tuple[str, ...] = setting(
        listed(ORIGIN, at_least_one=True),
        default=(),
        what="Instead of url, several of them; each request goes to one.",
    )
    balance: str = setting(
        choice(BALANCES, "way to balance"),
        default="round_robin",
        what="Which origin is asked: round_robin, or least_connections, that with the fewest requests.",
        why="round_robin, as NGINX and Envoy: it needs to know nothing of the origins.",
    )
    tls: OriginTls | None = setting(  # noqa: RUF009 - setting() is dataclasses.field()
        section(OriginTls), default=None, what="How the certificates of https:// origins are checked."
    )
    health: HealthCheck | None = setting(  # noqa: RUF009 - setting() is dataclasses.field()
        section(HealthCheck),
        default=None,
        what="Active checks of each origin by each worker; none unless given.",
    )
    eject: Ejection = setting(  # noqa: RUF009 - setting() is dataclasses.field()
        section(Ejection), factory=Ejection, what="When failing requests take an origin out for a while."
    )
    connect_timeout: float = setting(
        DURATION,
        default=2.0,
        what="Longest wait for a connection.",
        why="2s survives one lost SYN, sent again after 1 s (RFC 6298 2.1); Envoy waits 5 s, linkerd 1 s.",
    )
    first_byte_timeout: float = setting(
        DURATION,
        default=15.0,
        what="Longest wait from the sent request to the head of the answer; then 504.",
        why="15s, as Envoy's route timeout.",
    )
    idle_timeout: float = setting(
        DURATION,
        default=60.0,
        what="Longest silence inside an answer; then the client's connection is cut.",
        why="60s between reads, as NGINX's proxy_read_timeout.",
    )
    connections: int = setting(
        count(least=1, most=65535),
        default=1024,
        what="Most connections of one worker to this service, over all its origins; a tunnel holds one.",
        why="1024, as Envoy's circuit breaker.",
    )
    queue: int = setting(
        count(least=0, most=1_000_000),
        default=1024,
        what="Most requests that wait for a connection; then 503.",
        why="1024, as Envoy's max_pending_requests.",
    )
    pool_idle: float = setting(
        DURATION,
        default=4.0,
        what="How long an unused connection is kept.",
        why="4s, below the 5 s after which uvicorn and Node close theirs; linkerd keeps 3 s.",
    )
    forward_credentials: tuple[str, ...] = setting(
        listed(_CREDENTIAL),
        default=(),
        what="Credential fields that copies to this service keep: authorization, cookie, x-api-key.",
        why="none, because a service that nobody vouches for yet gets no one's session.",
    )
    set_headers: Mapping[str, str] = setting(
        _SET_HEADERS,
        factory=dict,
        what="Fields that replace the client's on each copy to this service, such as its own Authorization.",
        why="none: unknown fields pass as they came (RFC 9110 7.6).",
    )

    @property
    def all_origins(self) -> tuple[str, ...]:
        """Every origin, in the order given; at least one."""
        return self.origins or (self.url,)

    @property
    def has_tls(self) -> bool:
        """Whether any origin is https://."""
        return any(origin.startswith("https://") for origin in self.all_origins)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowSettings:
    """What mirroring may cost. Shadow work may be late, lost or wrong; it may never be felt."""

    control: float = setting(
        SHARE,
        default=0.1,
        what="Share of mirrored requests that the primary's version is asked twice, to learn the noise.",
        why="0.1: one more request in ten is what a noisy path costs to be told from a wrong one.",
    )
    timeout: float = setting(
        DURATION,
        default=5.0,
        what="Longest life of one copy, from sending to its last byte.",
        why="5s, a third of the primary's wait for a first byte; a slower answer is a finding already.",
    )
    in_flight: int = setting(
        count(least=1, most=65535),
        default=64,
        what="Most copies under way to one shadow service; more are dropped and counted.",
        why="64: at 50 ms an answer that is 1,280 copies a second, and a dead shadow holds no more sockets.",
    )
    budget_bytes: int = setting(
        size(least=64 * KIB),
        default=64 * MIB,
        key="budget",
        what="Most memory for copied bodies in one worker; over it, copies are dropped and counted.",
        why="64MiB is each copy in flight at its cap of 1 MiB; Traefik's mirror has no bound at all.",
    )
    body_cap_bytes: int = setting(
        size(least=KIB, most=256 * MIB),
        default=MIB,
        key="body_cap",
        what="Most bytes kept of one request body or answer.",
        why="1MiB, as NGINX's client_max_body_size and Envoy's buffer limit.",
    )
    confirm: bool = setting(
        SWITCH,
        default=False,
        what="Ask all sides of a safe request once more when they differ: what differs twice counts.",
        why="off: each difference costs the primary's version one more request, two with a control answer.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may ask of a worker."""

    head_timeout: float = setting(
        DURATION,
        default=10.0,
        what="Longest time for a whole request head, from its first byte.",
        why="10s in total, not idle, against slowloris; linkerd detects for 10 s.",
    )
    body_idle_timeout: float = setting(
        DURATION,
        default=30.0,
        what="Longest silence inside a request body.",
        why="30s, half of NGINX's client_body_timeout: a sender silent for that long has gone.",
    )
    body_rate_bytes: int = setting(
        size(most=GIB),
        default=240,
        key="body_rate",
        what="Fewest bytes a second of a request body; who is body_idle_timeout behind gets 408. 0: any.",
        why="240B, as IIS and Kestrel; httpd asks for 500. Else a byte in 29 s holds a connection for ever.",
    )
    keep_alive_timeout: float = setting(
        DURATION,
        default=60.0,
        what="How long an idle client connection is kept.",
        why="60s; NGINX keeps 75 s, and load balancers close at 60 s.",
    )
    tunnel_idle_timeout: float = setting(
        DURATION,
        default=300.0,
        what="Longest silence in a tunnel (a WebSocket), in both directions together.",
        why="5m, as Envoy's stream_idle_timeout; most WebSocket libraries ping every 20 to 60 s.",
    )
    target_bytes: int = setting(
        size(least=256, most=MIB),
        default=8 * KIB,
        what="Longest request target; then 414.",
        why="8KiB: RFC 9112 3 recommends at least 8000 octets, NGINX's buffer has 8 KiB.",
    )
    header_bytes: int = setting(
        size(least=KIB, most=MIB),
        default=32 * KIB,
        what="Most bytes of all header fields together; then 431.",
        why="32KiB, as NGINX's four buffers of 8 KiB; Envoy allows 60 KiB.",
    )
    header_fields: int = setting(
        count(least=8, most=10_000),
        default=100,
        what="Most header fields; then 431.",
        why="100, as Envoy and gunicorn.",
    )
    client_connections: int = setting(
        or_word(count(least=1, most=1_000_000), {"auto": AUTO}),
        default=AUTO,
        what="Most client connections of one worker; who comes then waits in the kernel's queue.",
        why="auto: half of the open files that are left beside copies, as Envoy advises for its edge.",
    )
    memory_bytes: int = setting(
        or_word(size(least=32 * MIB), {"auto": AUTO, "off": 0}),
        default=AUTO,
        key="memory",
        what="Most memory of one worker: from 90 % on no copies are sent, over it requests get 503.",
        why="auto: half of the container's memory shared by the workers, at least 128MiB; else off.",
    )
    drain_timeout: float = setting(
        DURATION,
        default=30.0,
        what="Longest time to finish running requests after SIGTERM.",
        why="30s, as gunicorn's graceful timeout and the grace period of a Kubernetes pod.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactSettings:
    """What is hidden before a sample is kept or logged. A keyed hash stays, so that equal stays visible."""

    headers: tuple[str, ...] = setting(
        listed(_FIELD_NAME),
        default=REDACTED_HEADERS,
        what="Header fields whose values are hidden, lower case.",
        why="the credential fields, and Set-Cookie, which hands them out.",
    )
    paths: tuple[str, ...] = setting(
        listed(_POINTER),
        default=(),
        what="Paths whose values are hidden, with all below: /body/card/number, /body/items/*/email.",
        why="none: only the owner of an API knows what is private in it; the detectors catch the usual.",
    )
    detectors: tuple[str, ...] = setting(
        listed(choice(DETECTORS, "detector")),
        default=DETECTORS,
        what="Shapes that are hidden wherever they stand: token, card, email.",
        why="all, because a stored sample outlives the request.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLogSettings:
    """A line of JSON for each request, once it has ended (a tunnel, too). Of its fields only the user agent
    is told, of its body the size."""

    path: str = setting(
        _LOG,
        default="",
        what="File that lines are appended to, beside this one unless absolute; - for standard output; off.",
        why="off, since metrics count everything, and a disk is filled by whom one does not know.",
    )
    sample: float = setting(
        SHARE,
        default=1.0,
        what="Share of requests that are told, drawn by chance.",
        why="1: all, so that a line that is missing was not asked for.",
    )
    query: bool = setting(
        SWITCH,
        default=False,
        what="Whether the query is told, its secrets hidden as far as names and detectors know them.",
        why="false, because queries carry tokens.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """The certificate that the proxy shows. Read again on a reload, and when the files change."""

    cert: str = setting(FILE, what="PEM file of the certificate, then those that lead to its root.")
    key: str = setting(FILE, what="PEM file of its private key, unencrypted.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One configuration file, read and checked; valid by construction when it comes from `parse_settings`.

    ``document`` is the plain document that says them, environment variables laid over it, without rules.
    """

    listen: tuple[str, ...] = setting(
        listed(LISTENER, one_alone=True),
        default=("127.0.0.1:8080",),
        what=(
            "Address of the proxy, or a list of them. Port 0 takes a free one. With tls, http://ADDRESS stays"
            " plain. unix:PATH (beside this file unless absolute) is a Unix socket, always plain."
        ),
        why="loopback, so that nothing is open to the network unasked; 8080 needs no privilege.",
    )
    tls: TlsSettings | None = setting(  # noqa: RUF009 - setting() is dataclasses.field()
        section(TlsSettings),
        default=None,
        what="With it, TCP addresses in listen speak TLS. Files beside this one unless absolute.",
    )
    workers: int = setting(
        count(least=1, most=256),
        default=1,
        what="Worker processes that share the listeners.",
        why="1, as NGINX's worker_processes; more workers take more memory, so they are a choice.",
    )
    admin: AdminSettings = setting(  # noqa: RUF009 - setting() is dataclasses.field()
        section(AdminSettings), factory=AdminSettings, what="The control process's own listener."
    )
    store: StorePlace = setting(  # noqa: RUF009 - setting() is dataclasses.field()
        STORE,
        default="sqlite:///understudy.db",
        what="Where rules and evidence are kept: sqlite:///FILE (beside this file unless absolute),"
        " postgresql://USER:PASSWORD@HOST/DATABASE or redis://USER:PASSWORD@HOST/DATABASE for several hosts,"
        " or memory://. With {sql: URL, redis: URL, file: NAME} SQL is the truth, Redis its fast copy and the"
        " bell that tells every host, and the file keeps the last good rules for a start without both.",
        why="one file beside the configuration survives a restart and needs no server.",
    )
    environment: str = setting(
        ENVIRONMENT,
        default=DEFAULT_ENVIRONMENT,
        what="Whose rules, evidence and samples of the store these are: dev, staging, prod.",
        why="default, which holds what a store held before it could hold several.",
    )
    kill_file: str = setting(
        _KILL_FILE,
        default="understudy.kill",
        what=(
            "File, beside this one unless absolute, whose lines are flags that this host kills by itself,"
            " with the control process and every store away; * is every flag that a route names. It need"
            " not exist; or off."
        ),
        why="a file beside the configuration, so that `understudy kill --local` works unprepared.",
    )
    services: Mapping[str, Service] = setting(
        named(
            section(Service),
            check_name=check_name,
            pattern=NAME_PATTERN,
            needed="must name at least one service",
        ),
        what="The upstreams by name, for example shop-v1: {url: http://127.0.0.1:9001}",
    )
    shadow: ShadowSettings = setting(  # noqa: RUF009 - setting() is dataclasses.field()
        section(ShadowSettings), factory=ShadowSettings, what="What mirroring may cost."
    )
    exposures: ExposureSettings = setting(  # noqa: RUF009 - setting() is dataclasses.field()
        section(ExposureSettings), factory=ExposureSettings, what="What is kept of who met which variant."
    )
    endpoints: EndpointSettings = setting(  # noqa: RUF009 - setting() is dataclasses.field()
        section(EndpointSettings), factory=EndpointSettings, what="How requests are told apart."
    )
    limits: Limits = setting(  # noqa: RUF009 - setting() is dataclasses.field()
        section(Limits), factory=Limits, what="What one client may ask of a worker."
    )
    trusted_proxies: tuple[str, ...] = setting(
        listed(NETWORK),
        default=(),
        what=(
            "Networks whose Forwarded and X-Forwarded-* fields are believed;"
            " unix is everybody who connects to a Unix socket."
        ),
        why="none, because any client can write them (RFC 7239 8.1).",
    )
    forwarded: str = setting(
        choice(FORWARDED_FORMS, "form"),
        default="x-forwarded",
        what="How services are told of the client: x-forwarded (X-Forwarded-*), rfc7239 (Forwarded) or both.",
        why="x-forwarded, which is what frameworks and servers read unasked.",
    )
    request_id: str = setting(
        _REQUEST_ID,
        default="x-request-id",
        what="Field in which a request gets an id when it comes without one, the same on its copies; or off.",
        why="x-request-id, as Envoy and Heroku name it.",
    )
    access_log: AccessLogSettings = setting(  # noqa: RUF009 - setting() is dataclasses.field()
        section(AccessLogSettings), factory=AccessLogSettings, what="A line of JSON for each request."
    )
    redact: RedactSettings = setting(  # noqa: RUF009 - setting() is dataclasses.field()
        section(RedactSettings), factory=RedactSettings, what="What is hidden in stored samples."
    )
    rules: Rules = field(default_factory=Rules)
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
