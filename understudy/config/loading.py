"""File and environment → settings, or every mistake in them at once."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from understudy.config.address import is_loopback, overlap
from understudy.config.app import APP, check_app, with_app, with_rules
from understudy.config.certificate import CertificateError, server_context
from understudy.config.endpoints import EndpointSettings, in_document, with_openapi
from understudy.config.environ import override
from understudy.config.listener import Listener, check_listeners, clash, listeners, resolve_listen
from understudy.config.place import Place
from understudy.config.plain import plain
from understudy.config.rules import RULES_KEYS, Rules, read_rules
from understudy.config.services import check_services, locate
from understudy.config.setting import read_values
from understudy.config.settings import AdminSettings, Service, Settings, ShadowSettings, TlsSettings
from understudy.config.store import resolve_store
from understudy.config.text import read_file
from understudy.errors import ConfigError, Problem


def load(path: Path, environ: Mapping[str, str], *, has_app: bool = False) -> Settings:
    """The settings in the file at *path*, with the UNDERSTUDY_* variables of *environ* laid over it.

    Raises: ConfigError with every mistake found.
    """
    return parse_settings(read_file(path), base=path.parent, environ=environ, has_app=has_app)


def parse_settings(
    document: object, *, base: Path, environ: Mapping[str, str], has_app: bool = False
) -> Settings:
    """The settings that the plain *document* says; a relative store file lies in *base*.

    With *has_app* they are for a middleware: ``app`` is a service, and what a variant serves that names none;
    so it is for the proxy where ``services.app`` says where the application answers.

    Raises: ConfigError with every mistake found; never anything else.
    """
    place = Place()
    copied = place.mapping(plain(document, place))
    changed, origins = override(Settings, copied, environ, place)
    if has_app:
        changed = with_app(changed)
        check_app(changed, place)
    services = changed.get("services")
    if isinstance(services, Mapping) and APP in services:
        changed = with_rules(changed)
    names = frozenset(services) if isinstance(services, Mapping) else frozenset[str]()
    values = read_values(Settings, changed, place, beside=RULES_KEYS)
    rules = read_rules(changed, place, services=names)
    check_listeners(_listen(values), changed, base, place)
    _check_listeners(values, base, place)
    _check_certificate(values, base, place)
    _check_shadow(values, place)
    endpoints = with_openapi(values.get("endpoints") or EndpointSettings(), base, place.key("endpoints"))
    values = {**_located(values, base), "endpoints": endpoints}
    ours = {listener.address for listener in _listeners(values, base)}
    check_services(values.get("services", {}), place.key("services"), listening=ours)
    if place.problems:
        raise ConfigError(tuple(_from_variable(problem, origins) for problem in place.problems))
    document = {key: value for key, value in in_document(changed, endpoints).items() if key not in RULES_KEYS}
    return _settings(values, rules, base, document)


def _settings(values: dict[str, Any], rules: Rules, base: Path, document: Mapping[str, object]) -> Settings:
    settings = Settings(**values, rules=rules, document=document)
    log = settings.access_log
    if log.path not in ("", "-"):
        log = replace(log, path=str((base / log.path).absolute()))
    return replace(
        settings,
        access_log=log,
        kill_file=settings.kill_file and str((base / settings.kill_file).absolute()),
        listen=resolve_listen(settings.listen, base),
        tls=settings.tls and resolve_tls(settings.tls, base),
        store=resolve_store(settings.store, base),
    )


def resolve_tls(tls: TlsSettings, base: Path) -> TlsSettings:
    """*tls* with its files made absolute: relative ones lie beside the configuration in *base*."""
    return TlsSettings(cert=str((base / tls.cert).absolute()), key=str((base / tls.key).absolute()))


def _from_variable(problem: Problem, origins: Mapping[str, str]) -> Problem:
    """*problem* under the name of the environment variable whose value it complains about."""
    variable = origins.get(problem.path.partition("[")[0])
    return Problem(path=variable, message=problem.message, hint=problem.hint) if variable else problem


def _listen(values: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(values.get("listen", Settings.__dataclass_fields__["listen"].default))


def _listeners(values: Mapping[str, Any], base: Path) -> tuple[Listener, ...]:
    return listeners(resolve_listen(_listen(values), base), has_tls="tls" in values)


def _check_listeners(values: Mapping[str, Any], base: Path, place: Place) -> None:
    """No two listeners may want the same port, and the admin API stays on this machine."""
    listen, ours = _listen(values), _listeners(values, base)
    for (one, first), (other, second) in combinations(enumerate(ours), 2):
        if clash(first, second):
            at = place.key("listen").item(other)
            at.refuse(f"{listen[other]} and listen[{one}], {listen[one]}, cannot both be bound")
    admin = values.get("admin") or AdminSettings()
    at = place.key("admin").key("listen")
    for listener in ours:
        if not listener.is_unix and overlap(listener.address, admin.listen):
            at.refuse(f"{admin.listen} is taken by listen", "give the admin API its own port")
    taken = [listener.address for listener in ours if not listener.is_unix] + [admin.listen]
    if admin.sync and any(overlap(address, admin.sync) for address in taken):
        place.key("admin").key("sync").refuse(
            f"{admin.sync} is taken", "127.0.0.1:8015 is where providers look"
        )
    if not is_loopback(admin.listen):
        hint = "did you mean 127.0.0.1:" + admin.listen.rpartition(":")[2] + "?"
        message = "can be reached from other machines, and without TLS tokens can be read on the way"
        at.refuse(f"{admin.listen} {message}", hint)


def _check_certificate(values: Mapping[str, Any], base: Path, place: Place) -> None:
    tls = values.get("tls")
    if tls is None:
        return
    tls = resolve_tls(tls, base)
    try:
        server_context(Path(tls.cert), Path(tls.key))
    except CertificateError as error:
        place.key("tls").key(error.key).refuse(error.message, error.hint)


def _check_shadow(values: Mapping[str, Any], place: Place) -> None:
    shadow = values.get("shadow") or ShadowSettings()
    if shadow.budget_bytes < shadow.body_cap_bytes:
        at = place.key("shadow").key("budget")
        at.refuse("is less than body_cap, so a capped copy would never fit", "raise budget or lower body_cap")


def _located(values: dict[str, Any], base: Path) -> dict[str, Any]:
    """*values* with what services name by a path found beside the configuration."""
    services: Mapping[str, Service | None] = values.get("services") or {}
    found = {name: service and locate(service, base) for name, service in services.items()}
    return {**values, "services": found} if found else values
