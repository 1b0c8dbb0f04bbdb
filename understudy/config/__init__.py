"""Text → values: the configuration file becomes settings and a rules document, or a list of problems."""

from understudy.config.app import APP
from understudy.config.certificate import CertificateError, server_context
from understudy.config.endpoints import EndpointSettings
from understudy.config.environment import DEFAULT_ENVIRONMENT, ENVIRONMENT_PATTERN, read_environment
from understudy.config.exposures import ExposureSettings
from understudy.config.kill_file import KillFile, Kills
from understudy.config.listener import Listener, listeners
from understudy.config.loading import load, parse_settings
from understudy.config.origin_tls import client_context
from understudy.config.origins import Ejection, HealthCheck, OriginTls
from understudy.config.place import Refused
from understudy.config.reloading import Reloaded, reloaded
from understudy.config.routed import routed
from understudy.config.rules import Rules, parse_rules
from understudy.config.schema import json_schema
from understudy.config.services import first_origins
from understudy.config.settings import (
    AUTO,
    AccessLogSettings,
    AdminSettings,
    Limits,
    RedactSettings,
    Service,
    Settings,
    ShadowSettings,
    TlsSettings,
)
from understudy.config.store import (
    LAST_GOOD_FILE,
    Layers,
    PostgresPlace,
    RedisPlace,
    StorePlace,
    postgres_place,
    read_store,
    redis_place,
    store_mark,
    store_text,
)
from understudy.config.summary import Summary, summary
from understudy.config.text import MOST_BYTES, parse_bytes, parse_json, parse_yaml, read_file, write_yaml

__all__ = [
    "APP",
    "AUTO",
    "DEFAULT_ENVIRONMENT",
    "ENVIRONMENT_PATTERN",
    "LAST_GOOD_FILE",
    "MOST_BYTES",
    "AccessLogSettings",
    "AdminSettings",
    "CertificateError",
    "Ejection",
    "EndpointSettings",
    "ExposureSettings",
    "HealthCheck",
    "KillFile",
    "Kills",
    "Layers",
    "Limits",
    "Listener",
    "OriginTls",
    "PostgresPlace",
    "RedactSettings",
    "RedisPlace",
    "Refused",
    "Reloaded",
    "Rules",
    "Service",
    "Settings",
    "ShadowSettings",
    "StorePlace",
    "Summary",
    "TlsSettings",
    "client_context",
    "first_origins",
    "json_schema",
    "listeners",
    "load",
    "parse_bytes",
    "parse_json",
    "parse_rules",
    "parse_settings",
    "parse_yaml",
    "postgres_place",
    "read_environment",
    "read_file",
    "read_store",
    "redis_place",
    "reloaded",
    "routed",
    "server_context",
    "store_mark",
    "store_text",
    "summary",
    "write_yaml",
]
